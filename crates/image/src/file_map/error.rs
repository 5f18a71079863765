//! What can be wrong with an image's metadata.

use std::io;
use std::ops::Range;

/// Metadata that is not that of one of our images, and where.
#[derive(Debug, thiserror::Error)]
#[error("byte {offset} of the device: {fault}")]
pub struct FileMapError {
    /// Offset on the device of what is wrong.
    pub offset: u64,
    /// What is wrong with it.
    #[source]
    pub fault: FileMapFault,
}

/// What is wrong with a piece of metadata.
#[derive(Debug, thiserror::Error)]
pub enum FileMapFault {
    /// The device could not be read.
    #[error("cannot read the metadata: {0}")]
    Read(#[source] io::Error),
    /// A region that cannot be metadata of ours.
    #[error("a metadata region of {bytes} bytes; {bytes_min} to {bytes_max} are possible")]
    RegionSize {
        /// What the caller gave.
        bytes: u64,
        /// One block.
        bytes_min: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Another file system, or none.
    #[error("not an ext4 file system: the magic number is {magic:#06x}")]
    NotExt4 {
        /// What stands in its place.
        magic: u16,
    },
    /// A feature that our writer never sets.
    #[error("the file system has the feature {name} ({set} {bit:#x}), which no image of ours has")]
    FeatureForeign {
        /// As `tune2fs` calls it.
        name: &'static str,
        /// The superblock's field.
        set: &'static str,
        /// Its bit in the field.
        bit: u32,
    },
    /// A feature that our writer always sets.
    #[error("the file system lacks the feature {name} ({set} {bit:#x}), which all images of ours have")]
    FeatureMissing {
        /// As `tune2fs` calls it.
        name: &'static str,
        /// The superblock's field.
        set: &'static str,
        /// Its bit in the field.
        bit: u32,
    },
    /// A number that our writer never writes there.
    #[error("the {field} cannot be {value}")]
    BadField {
        /// What the number means.
        field: &'static str,
        /// The number.
        value: u64,
    },
    /// A pointer to where nothing of the kind can be.
    #[error(
        "a pointer to blocks {} to {}, which are not all among {} to {}",
        blocks.start, blocks.end, allowed.start, allowed.end
    )]
    BlocksOutside {
        /// Where it points, the end exclusive.
        blocks: Range<u64>,
        /// Where it may point, the end exclusive.
        allowed: Range<u32>,
    },
    /// A block with two owners.
    #[error("block {block} belongs to two owners")]
    BlockTwice {
        /// The block.
        block: u32,
    },
    /// Extents out of order, or behind the file's end.
    #[error("an extent of {blocks} blocks at block {file_block} of a file, where none can be")]
    ExtentMisplaced {
        /// First block in the file.
        file_block: u32,
        /// How many.
        blocks: u32,
    },
    /// A file that is not one run of blocks.
    #[error("a file's extent is at block {found} of the device; our files are one run, and it would be {expected}")]
    Scattered {
        /// Where the extent before ends.
        expected: u32,
        /// Where the extent begins.
        found: u32,
    },
    /// A directory with holes.
    #[error("a directory of {blocks} blocks, {mapped} of which are mapped")]
    DirectoryHole {
        /// By its size.
        blocks: u64,
        /// By its extents.
        mapped: u64,
    },
    /// The root is something else.
    #[error("the root is not a directory")]
    RootNotDirectory,
    /// A directory with two names, which makes a cycle possible.
    #[error("directory inode {inode} has a second name")]
    DirectoryTwice {
        /// The directory.
        inode: u32,
    },
    /// A name and its inode disagree on what the file is.
    #[error("a name says that inode {inode} is another kind of file than the inode itself says")]
    TypesDiffer {
        /// The inode.
        inode: u32,
    },
    /// A directory that does not begin with itself and its parent.
    #[error("the directory does not begin with {expected:?} for inode {inode}")]
    DotsWrong {
        /// `.` or `..`.
        expected: &'static str,
        /// The directory itself, or its parent.
        inode: u32,
    },
    /// A name that no path can have.
    #[error("the name \"{}\" cannot be a file's", name.escape_ascii())]
    BadName {
        /// The name.
        name: Vec<u8>,
    },
    /// The same name twice.
    #[error("the directory has the name \"{}\" twice", name.escape_ascii())]
    NameTwice {
        /// The name.
        name: Vec<u8>,
    },
    /// Deeper than any image of ours.
    #[error("more than {levels_max} directories within each other")]
    TooDeep {
        /// The limit.
        levels_max: usize,
    },
    /// More text than memory is meant for.
    #[error("all paths together have more than {bytes_max} bytes")]
    PathsTooLong {
        /// The limit.
        bytes_max: usize,
    },
}

impl FileMapFault {
    /// The fault at this place of the device.
    pub(super) fn at(self, offset: u64) -> FileMapError {
        FileMapError { offset, fault: self }
    }
}
