//! An inode's 256 bytes.
//!
//! ```text
//!   0 u16 type and mode   2 u16 uid low      4 u32 size low     8 u32 atime    12 u32 ctime    16 u32 mtime
//!  20 u32 0              24 u16 gid low     26 u16 links       28 u32 sectors  32 u32 flags    36 u32 0
//!  40 60 bytes: extent tree, a short link's target, or a device's number
//! 104 u32 attribute block   108 u32 size high   120 u16 uid high   122 u16 gid high
//! 128 u16 32 (bytes of these fields)   132 u32 ctime extra   136 u32 mtime extra   140 u32 atime extra
//! 144 u32 creation time    148 u32 its extra    160 96 bytes for attributes
//! ```
//! All four times are the modification time: a layer knows no other, and a clock would make the bytes differ.

use super::extents::TOP_BYTES;
use super::{BLOCK_BYTES, Fields, INODE_BYTES};
use crate::layer::DeviceNumber;
use crate::tree::{Metadata, NodeKind, Timestamp};

const FLAG_INDEX: u32 = 0x1000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const SECTORS_PER_BLOCK: u32 = (BLOCK_BYTES / 512) as u32;
/// The times that 34 bits hold when they count from -2^31.
const SECONDS_MIN: i64 = i32::MIN as i64;
const SECONDS_MAX: i64 = SECONDS_MIN + (1 << 34) - 1;

/// What goes into an inode besides attributes.
pub(super) struct InodeFields<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) kind: &'a NodeKind,
    pub(super) links: u32,
    pub(super) bytes: u64,
    /// Blocks that belong to it: data, extent tree, attributes.
    pub(super) blocks: u32,
    pub(super) attribute_block: u32,
    pub(super) body: Body,
}

/// The 60 bytes in the middle.
pub(super) enum Body {
    /// An extent tree's top.
    Extents([u8; TOP_BYTES]),
    /// The same, of a directory with a hash tree.
    IndexedExtents([u8; TOP_BYTES]),
    /// A link's target, or a device's number.
    Inline([u8; TOP_BYTES]),
}

impl Body {
    pub(super) fn of_target(target: &[u8]) -> Self {
        let mut bytes = [0; TOP_BYTES];
        bytes[..target.len()].copy_from_slice(target);
        Self::Inline(bytes)
    }

    /// Small numbers in the old form, which has 8 bits for each half, others in the new one.
    pub(super) fn of_device(number: DeviceNumber) -> Self {
        let DeviceNumber { major, minor } = number;
        let mut bytes = [0; TOP_BYTES];
        if major < 256 && minor < 256 {
            Fields(&mut bytes).u32(0, (major << 8) | minor);
        } else {
            Fields(&mut bytes).u32(4, (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12));
        }
        Self::Inline(bytes)
    }
}

/// Whether a link's target lies in the inode: a NUL must fit behind it.
pub(super) const fn is_fast_symlink(target: &[u8]) -> bool {
    target.len() < TOP_BYTES
}

/// ext4's number for a kind of file in a directory.
pub(super) const fn file_type(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::File { .. } => 1,
        NodeKind::Directory(_) => 2,
        NodeKind::CharDevice(_) => 3,
        NodeKind::BlockDevice(_) => 4,
        NodeKind::Fifo => 5,
        NodeKind::Symlink(_) => 7,
    }
}

const fn type_bits(kind: &NodeKind) -> u16 {
    match kind {
        NodeKind::Fifo => 0o010_000,
        NodeKind::CharDevice(_) => 0o020_000,
        NodeKind::Directory(_) => 0o040_000,
        NodeKind::BlockDevice(_) => 0o060_000,
        NodeKind::File { .. } => 0o100_000,
        NodeKind::Symlink(_) => 0o120_000,
    }
}

/// Encodes an inode without its attributes.
pub(super) fn encode(inode: &InodeFields<'_>) -> [u8; INODE_BYTES] {
    let mut bytes = [0; INODE_BYTES];
    let mut fields = Fields(&mut bytes);
    let Metadata {
        mode,
        uid,
        gid,
        modified,
    } = *inode.metadata;
    fields.u16(0, type_bits(inode.kind) | mode);
    fields.u16(2, uid as u16);
    fields.u16(120, (uid >> 16) as u16);
    fields.u16(24, gid as u16);
    fields.u16(122, (gid >> 16) as u16);
    fields.u32(4, inode.bytes as u32);
    fields.u32(108, (inode.bytes >> 32) as u32);
    let (seconds, extra) = encode_time(modified);
    [8, 12, 16, 144].into_iter().for_each(|at| fields.u32(at, seconds));
    [132, 136, 140, 148].into_iter().for_each(|at| fields.u32(at, extra));
    // A directory with more subdirectories than fit says 1, which means that nobody counted (`dir_nlink`).
    fields.u16(26, if inode.links > 65_000 { 1 } else { inode.links as u16 });
    let sectors = u64::from(inode.blocks) * u64::from(SECTORS_PER_BLOCK);
    fields.u32(28, sectors as u32);
    fields.u16(116, (sectors >> 32) as u16);
    let (flags, body) = match &inode.body {
        Body::Extents(body) => (FLAG_EXTENTS, body),
        Body::IndexedExtents(body) => (FLAG_EXTENTS | FLAG_INDEX, body),
        Body::Inline(body) => (0, body),
    };
    fields.u32(32, flags);
    fields.bytes(40, body);
    fields.u32(104, inode.attribute_block);
    fields.u16(128, 32);
    bytes
}

/// The low 32 bits of the seconds, and the two bits above them with the nanoseconds.
fn encode_time(time: Timestamp) -> (u32, u32) {
    let seconds = time.seconds.clamp(SECONDS_MIN, SECONDS_MAX);
    let low = seconds as i32;
    let epoch = ((seconds - i64::from(low)) >> 32) as u32 & 3;
    (low as u32, epoch | (time.nanoseconds << 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_encoded_as_the_kernel_documents() {
        // From the table in Documentation/filesystems/ext4/inodes.rst.
        let cases = [
            (-1, u32::MAX, 0),
            (0, 0, 0),
            (0x8000_0000, 0x8000_0000, 1),
            (0x1_0000_0000, 0, 1),
        ];
        for (seconds, low, epoch) in cases {
            assert_eq!(
                encode_time(Timestamp {
                    seconds,
                    nanoseconds: 5
                }),
                (low, epoch | 5 << 2),
                "{seconds}"
            );
        }
        assert_eq!(
            encode_time(Timestamp::from_seconds(i64::MAX)),
            encode_time(Timestamp::from_seconds(SECONDS_MAX))
        );
    }
}
