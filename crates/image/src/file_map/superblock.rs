//! The superblock and the group descriptors: whether this is an image of ours, and where its parts lie.
//!
//! Field offsets: the kernel's `Documentation/filesystems/ext4/super.rst`; feature names: `tune2fs`(8), `ext4`(5).

use super::error::{FileMapError, FileMapFault};
use super::metadata::{Area, Blocks};
use super::{FIRST_INODE, INODE_BYTES};
use crate::ext4::BLOCK_BYTES;
use std::ops::Range;

const SUPERBLOCK: Range<usize> = 1024..2048;
const MAGIC: u16 = 0xEF53;
const GROUP_BLOCKS: u32 = BLOCK_BYTES as u32 * 8;
const DESCRIPTOR_BYTES: usize = 32;
const DESCRIPTORS_PER_BLOCK: u32 = (BLOCK_BYTES / DESCRIPTOR_BYTES) as u32;
const INODES_PER_BLOCK: u32 = (BLOCK_BYTES / INODE_BYTES) as u32;

/// One of the superblock's three words of features.
struct FeatureSet {
    name: &'static str,
    at: usize,
    /// What our writer sets, all of it and nothing else.
    ours: u32,
    names: &'static [(u32, &'static str)],
}

const FEATURES: [FeatureSet; 3] = [
    FeatureSet {
        name: "compat",
        at: 92,
        ours: 0x8 | 0x20 | 0x200,
        names: &[
            (0x1, "dir_prealloc"),
            (0x2, "imagic_inodes"),
            (0x4, "has_journal"),
            (0x8, "ext_attr"),
            (0x10, "resize_inode"),
            (0x20, "dir_index"),
            (0x200, "sparse_super2"),
            (0x400, "fast_commit"),
            (0x800, "stable_inodes"),
            (0x1000, "orphan_file"),
        ],
    },
    FeatureSet {
        name: "incompat",
        at: 96,
        ours: 0x2 | 0x40 | 0x200,
        names: &[
            (0x1, "compression"),
            (0x2, "filetype"),
            (0x4, "needs_recovery"),
            (0x8, "journal_dev"),
            (0x10, "meta_bg"),
            (0x40, "extent"),
            (0x80, "64bit"),
            (0x100, "mmp"),
            (0x200, "flex_bg"),
            (0x400, "ea_inode"),
            (0x1000, "dirdata"),
            (0x2000, "metadata_csum_seed"),
            (0x4000, "large_dir"),
            (0x8000, "inline_data"),
            (0x1_0000, "encrypt"),
            (0x2_0000, "casefold"),
        ],
    },
    FeatureSet {
        name: "ro_compat",
        at: 100,
        ours: 0x2 | 0x8 | 0x20 | 0x40,
        names: &[
            (0x1, "sparse_super"),
            (0x2, "large_file"),
            (0x8, "huge_file"),
            (0x10, "uninit_bg"),
            (0x20, "dir_nlink"),
            (0x40, "extra_isize"),
            (0x100, "quota"),
            (0x200, "bigalloc"),
            (0x400, "metadata_csum"),
            (0x800, "replica"),
            (0x1000, "read-only"),
            (0x2000, "project"),
            (0x4000, "shared_blocks"),
            (0x8000, "verity"),
            (0x1_0000, "orphan_present"),
        ],
    },
];

/// Where the parts of a sound file system lie, in blocks.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// All blocks of the device.
    blocks: u32,
    /// Those of the metadata region.
    metadata_blocks: u32,
    /// The inode tables of all groups, one behind the other; all of it lies in the region.
    tables: Range<u32>,
    /// How many inodes they hold; the first has the number 1.
    pub(super) inodes: u32,
}

impl Volume {
    /// Where directories and extent trees lie.
    pub(super) const fn extras(&self) -> Range<u32> {
        self.tables.end..self.metadata_blocks
    }

    /// Where files' content lies.
    pub(super) const fn data(&self) -> Range<u32> {
        self.metadata_blocks..self.blocks
    }

    /// The inodes that a name may give.
    pub(super) fn is_file_inode(&self, number: u32) -> bool {
        (FIRST_INODE..=self.inodes).contains(&number)
    }

    /// Where an inode's bytes begin.
    pub(super) fn inode_offset(&self, number: u32) -> u64 {
        assert!((1..=self.inodes).contains(&number), "inode {number} does not exist");
        u64::from(self.tables.start) * BLOCK_BYTES as u64 + u64::from(number - 1) * INODE_BYTES as u64
    }
}

/// Reads and checks superblock and descriptors.
pub(super) fn read(blocks: &mut Blocks<'_>) -> Result<Volume, FileMapError> {
    let block = blocks.block(0)?;
    let area = block.area().part(SUPERBLOCK);
    let magic = area.u16(56);
    if magic != MAGIC {
        return Err(area.fault(56, FileMapFault::NotExt4 { magic }));
    }
    FEATURES.iter().try_for_each(|set| check_features(&area, set))?;
    let fixed = [
        (20, "first data block", 0),
        (24, "block size's logarithm", 2),
        (28, "cluster size's logarithm", 2),
        (32, "count of blocks in a group", GROUP_BLOCKS),
        (36, "count of clusters in a group", GROUP_BLOCKS),
        (76, "revision", 1),
        (84, "first inode that is not reserved", FIRST_INODE),
    ];
    for (at, field, expected) in fixed {
        area.ensure(area.u32(at) == expected, at, field, area.u32(at))?;
    }
    area.ensure(
        usize::from(area.u16(88)) == INODE_BYTES,
        88,
        "size of an inode",
        area.u16(88),
    )?;
    layout(&area, blocks)
}

fn check_features(superblock: &Area<'_>, set: &FeatureSet) -> Result<(), FileMapError> {
    let found = superblock.u32(set.at);
    let difference = found ^ set.ours;
    if difference == 0 {
        return Ok(());
    }
    // The lowest bit that differs stands for all.
    let bit = difference & difference.wrapping_neg();
    let known = set.names.iter().find(|(named, _)| *named == bit);
    let (set, name, at) = (set.name, known.map_or("without a name", |(_, name)| name), set.at);
    let fault = match found & bit {
        0 => FileMapFault::FeatureMissing { name, set, bit },
        _ => FileMapFault::FeatureForeign { name, set, bit },
    };
    Err(superblock.fault(at, fault))
}

fn layout(superblock: &Area<'_>, blocks: &mut Blocks<'_>) -> Result<Volume, FileMapError> {
    let device_blocks = superblock.u32(4);
    superblock.ensure(device_blocks >= blocks.count, 4, "count of blocks", device_blocks)?;
    let groups = device_blocks.div_ceil(GROUP_BLOCKS);
    let group_inodes = superblock.u32(40);
    let sound =
        (INODES_PER_BLOCK..=GROUP_BLOCKS).contains(&group_inodes) && group_inodes.is_multiple_of(INODES_PER_BLOCK);
    superblock.ensure(sound, 40, "count of inodes in a group", group_inodes)?;
    // Neither product nor sum below comes near 2^32 and 2^64: there are at most 2^17 groups of 2^15 inodes.
    let inodes = superblock.u32(0);
    let expected = u64::from(groups) * u64::from(group_inodes);
    superblock.ensure(u64::from(inodes) == expected, 0, "count of inodes", inodes)?;
    let tables = read_descriptors(groups, group_inodes / INODES_PER_BLOCK, blocks)?;
    Ok(Volume {
        blocks: device_blocks,
        metadata_blocks: blocks.count,
        tables,
        inodes,
    })
}

/// The run of all groups' inode tables.
fn read_descriptors(groups: u32, table_blocks: u32, blocks: &mut Blocks<'_>) -> Result<Range<u32>, FileMapError> {
    let allowed = 1 + groups.div_ceil(DESCRIPTORS_PER_BLOCK)..blocks.count;
    let mut first = None;
    for number in 1..allowed.start {
        if number >= blocks.count {
            let blocks = u64::from(number)..u64::from(allowed.start);
            let allowed = 1..allowed.end;
            return Err(FileMapFault::BlocksOutside { blocks, allowed }.at(SUPERBLOCK.start as u64 + 4));
        }
        let block = blocks.block(number)?;
        let groups_before = (number - 1) * DESCRIPTORS_PER_BLOCK;
        let here = (groups - groups_before).min(DESCRIPTORS_PER_BLOCK);
        for (descriptor, group) in (0..here as usize).zip(groups_before..) {
            let at = descriptor * DESCRIPTOR_BYTES + 8;
            let table = block.area().u32(at);
            let all = u64::from(*first.get_or_insert(table));
            let expected = all + u64::from(group) * u64::from(table_blocks);
            block
                .area()
                .ensure(u64::from(table) == expected, at, "block of an inode table", table)?;
            let end = expected + u64::from(table_blocks);
            if table < allowed.start || end > u64::from(allowed.end) {
                let blocks = expected..end;
                return Err(block.area().fault(at, FileMapFault::BlocksOutside { blocks, allowed }));
            }
        }
    }
    let start = first.expect("a device has a block, so it has a group");
    Ok(start..start + groups * table_blocks)
}
