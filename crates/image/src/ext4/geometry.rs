//! How many blocks and groups the file system has, and where each kind of metadata lies.

use super::{BLOCK_BYTES, CHUNK_BLOCKS, FIRST_INODE, INODE_BYTES};

/// ext4's block groups: as many blocks as a bitmap of one block has bits.
pub(super) const GROUP_BLOCKS: u32 = BLOCK_BYTES as u32 * 8;
pub(super) const DESCRIPTOR_BYTES: usize = 32;
const INODES_PER_BLOCK: u32 = (BLOCK_BYTES / INODE_BYTES) as u32;

/// The file system's measures, all in blocks of [`BLOCK_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Block groups.
    pub groups: u32,
    /// Inodes in each group.
    pub inodes_per_group: u32,
    /// Highest inode in use.
    pub last_inode: u32,
    /// All blocks; a whole number of chunks.
    pub blocks: u32,
    /// Blocks at the front that hold metadata.
    pub metadata_blocks: u32,
    /// Directory, extent, symbolic link and attribute blocks, at the end of the metadata.
    pub extra_blocks: u32,
    /// Where file data starts: the first chunk boundary behind the metadata.
    pub data_start: u32,
}

impl Geometry {
    /// The smallest file system for these counts; `None` when it would pass 2^32 blocks (16 TiB).
    ///
    /// Groups cost metadata and metadata costs groups, so this looks for the fixed point from below.
    pub(super) fn new(nodes: u32, extra_blocks: u32, data_blocks: u32) -> Option<Self> {
        // The root has inode 2; the other nodes follow the reserved inodes.
        let last_inode = FIRST_INODE.checked_add(nodes)?.checked_sub(2)?;
        let mut groups = 1;
        loop {
            let inodes_per_group = last_inode.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK);
            let table_blocks = groups * (inodes_per_group / INODES_PER_BLOCK);
            let metadata_blocks = (1 + descriptor_blocks(groups) + 2 * groups)
                .checked_add(table_blocks)?
                .checked_add(extra_blocks)?;
            let data_start = metadata_blocks.checked_next_multiple_of(CHUNK_BLOCKS)?;
            let blocks = data_start.checked_add(data_blocks.checked_next_multiple_of(CHUNK_BLOCKS)?)?;
            let groups_needed = blocks.div_ceil(GROUP_BLOCKS).max(last_inode.div_ceil(GROUP_BLOCKS));
            if groups_needed <= groups {
                // More groups than the blocks fill: the device grows by free blocks into the last group.
                let blocks = blocks.max((groups - 1).checked_mul(GROUP_BLOCKS)?.checked_add(CHUNK_BLOCKS)?);
                let all = Self {
                    groups,
                    inodes_per_group,
                    last_inode,
                    blocks,
                    metadata_blocks,
                    extra_blocks,
                    data_start,
                };
                return Some(all);
            }
            groups = groups_needed;
        }
    }

    pub(super) const fn block_bitmaps(&self) -> u32 {
        1 + descriptor_blocks(self.groups)
    }

    pub(super) const fn inode_bitmaps(&self) -> u32 {
        self.block_bitmaps() + self.groups
    }

    pub(super) const fn inode_tables(&self) -> u32 {
        self.inode_bitmaps() + self.groups
    }

    pub(super) const fn table_blocks_per_group(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// First of the extra blocks.
    pub(super) const fn extras(&self) -> u32 {
        self.metadata_blocks - self.extra_blocks
    }

    /// Chunks at the front that hold metadata.
    #[must_use]
    pub const fn metadata_chunks(&self) -> u32 {
        self.data_start / CHUNK_BLOCKS
    }

    /// Chunks of the whole device.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.blocks / CHUNK_BLOCKS
    }
}

const fn descriptor_blocks(groups: u32) -> u32 {
    (groups * DESCRIPTOR_BYTES as u32).div_ceil(BLOCK_BYTES as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_room_and_all_inodes_fit() {
        for nodes in [1, 2, 7, 100, 32_758, 32_759, 40_000, 500_000] {
            for data_blocks in [0, 1, 128, 32_768, 2_621_440] {
                let geometry = Geometry::new(nodes, 77, data_blocks).expect("far below the limit");
                assert!(
                    geometry.last_inode <= geometry.groups * geometry.inodes_per_group,
                    "{geometry:?}"
                );
                assert!(geometry.inodes_per_group <= GROUP_BLOCKS, "{geometry:?}");
                assert_eq!(geometry.groups, geometry.blocks.div_ceil(GROUP_BLOCKS), "{geometry:?}");
                assert!(geometry.data_start + data_blocks <= geometry.blocks, "{geometry:?}");
                assert_eq!(geometry.blocks % CHUNK_BLOCKS, 0, "{geometry:?}");
            }
        }
    }

    #[test]
    fn a_device_beyond_16_tib_is_refused() {
        assert_eq!(Geometry::new(100, 10, u32::MAX - 5), None);
    }
}
