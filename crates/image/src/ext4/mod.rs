//! The merged tree as an ext4 file system.
//!
//! Written directly, because the layout is the point: chunks are cut at fixed offsets, so a byte that is inserted early
//! must not move what follows. From front to back:
//!
//! ```text
//! block 0          superblock (at byte 1,024)
//!                  group descriptors, 32 bytes each
//!                  block bitmaps, inode bitmaps, inode tables: each kind in one run over all groups
//!                  directories, extent blocks, long symbolic links, in path order; then attribute blocks
//! next chunk       file data, in groups that start on chunk boundaries (module `placement`)
//! ```
//! Everything before the data is metadata, read as one piece at mount; the data region holds nothing else: no backups
//! of the superblock (`sparse_super2` without any), no journal, bitmaps elsewhere (`flex_bg`). Every file's data is one
//! run of blocks.
//!
//! Same tree in, same bytes out: UUID, hash seed and all times of the file system itself are constants.
//!
//! Checksums of metadata are left out on purpose: each chunk is authenticated by its hash before a byte of it is seen.
//!
//! Source: the kernel's `Documentation/filesystems/ext4`, `fs/ext4/ext4.h`; `e2fsck` is the judge.

mod attributes;
mod directory;
mod extents;
mod geometry;
mod hash;
mod inode;
mod layout;
mod superblock;
mod write;

pub(crate) use attributes::fit as xattrs_fit;
pub use geometry::Geometry;
pub use layout::{DeviceRun, Layout, LayoutError, lay_out};
pub use write::write_metadata;

/// Bytes in a block. 4 KiB is the page size, so that a page of a file is one block.
pub const BLOCK_BYTES: usize = 4096;

/// Blocks in a chunk.
pub const CHUNK_BLOCKS: u32 = (chunk::CHUNK_BYTES / BLOCK_BYTES) as u32;

const INODE_BYTES: usize = 256;
const ROOT_INODE: u32 = 2;
/// Inodes below this one are reserved by ext4.
const FIRST_INODE: u32 = 11;

/// Writes little-endian fields at their offsets.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn u8(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }

    fn u16(&mut self, at: usize, value: u16) {
        self.bytes(at, &value.to_le_bytes());
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }

    fn bytes(&mut self, at: usize, value: &[u8]) {
        self.0[at..at + value.len()].copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests;
