//! An inode: what it is, how large, and the top of its extent tree. The layout is that of `ext4::inode`.

use super::INODE_BYTES;
use super::error::{FileMapError, FileMapFault};
use super::metadata::Area;

const FLAG_INDEX: u32 = 0x1000;
const FLAG_EXTENTS: u32 = 0x8_0000;
/// ext4's largest file of 4 KiB blocks, as the tree allows it.
const FILE_BYTES_MAX: u64 = (u32::MAX as u64 - 1) * 4096;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    File,
    Directory,
    CharDevice,
    BlockDevice,
    Fifo,
    Symlink,
}

/// An inode whose fields are sound.
pub(super) struct Inode {
    pub(super) number: u32,
    /// Where it lies on the device.
    pub(super) offset: u64,
    pub(super) file_type: FileType,
    pub(super) bytes: u64,
    encoded: [u8; INODE_BYTES],
}

impl FileType {
    /// By ext4's number in a directory.
    pub(super) const fn of_name(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::File),
            2 => Some(Self::Directory),
            3 => Some(Self::CharDevice),
            4 => Some(Self::BlockDevice),
            5 => Some(Self::Fifo),
            7 => Some(Self::Symlink),
            _ => None,
        }
    }

    const fn of_mode(mode: u16) -> Option<Self> {
        match mode & 0o170_000 {
            0o010_000 => Some(Self::Fifo),
            0o020_000 => Some(Self::CharDevice),
            0o040_000 => Some(Self::Directory),
            0o060_000 => Some(Self::BlockDevice),
            0o100_000 => Some(Self::File),
            0o120_000 => Some(Self::Symlink),
            _ => None,
        }
    }
}

impl Inode {
    pub(super) fn decode(number: u32, area: Area<'_>) -> Result<Self, FileMapError> {
        let (mode, flags) = (area.u16(0), area.u32(32));
        let bytes = u64::from(area.u32(4)) | u64::from(area.u32(108)) << 32;
        let Some(file_type) = FileType::of_mode(mode) else {
            let (field, value) = ("mode of a file in use", mode.into());
            return Err(area.fault(0, FileMapFault::BadField { field, value }));
        };
        // What else has flags or a size is not looked into: a link's target is metadata, and a device has no content.
        let flags_sound = match file_type {
            FileType::File => flags == FLAG_EXTENTS,
            FileType::Directory => flags & !FLAG_INDEX == FLAG_EXTENTS,
            _ => true,
        };
        area.ensure(flags_sound, 32, "set of flags of a file", flags)?;
        area.ensure(bytes <= FILE_BYTES_MAX, 4, "size of a file", bytes)?;
        let mut encoded = [0; INODE_BYTES];
        encoded.copy_from_slice(area.bytes);
        Ok(Self {
            number,
            offset: area.offset,
            file_type,
            bytes,
            encoded,
        })
    }

    /// The whole inode.
    pub(super) const fn area(&self) -> Area<'_> {
        Area {
            bytes: &self.encoded,
            offset: self.offset,
        }
    }

    /// The 60 bytes in which the extent tree begins.
    pub(super) fn extents_top(&self) -> Area<'_> {
        self.area().part(40..100)
    }
}
