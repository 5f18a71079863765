//! An inode's extent tree. The layout is that of `ext4::extents`.

use super::error::{FileMapError, FileMapFault};
use super::inode::Inode;
use super::metadata::{Area, Metadata};
use crate::ext4::BLOCK_BYTES;
use std::ops::Range;

const MAGIC: u16 = 0xF30A;
const ENTRY_BYTES: usize = 12;
/// Above it a length would mean blocks that were never written, which our files do not have.
const EXTENT_BLOCKS_MAX: u16 = 32_768;
/// ext4's EXT4_MAX_EXTENT_DEPTH; it also bounds the recursion here.
const DEPTH_MAX: u16 = 5;

/// The blocks of the device that hold an inode's content, in file order; all of them are `allowed`.
pub(super) fn read(
    inode: &Inode,
    allowed: &Range<u32>,
    metadata: &mut Metadata<'_>,
) -> Result<Vec<Range<u32>>, FileMapError> {
    let top = inode.extents_top();
    let depth = top.u16(6);
    top.ensure(depth <= DEPTH_MAX, 6, "depth of an extent tree", depth)?;
    let mut tree = Tree {
        metadata,
        allowed,
        file_blocks: inode.bytes.div_ceil(BLOCK_BYTES as u64),
        next_file_block: 0,
        extents: Vec::new(),
    };
    tree.node(top, depth)?;
    tree.extents.shrink_to_fit();
    Ok(tree.extents)
}

/// A tree that is being read from left to right.
struct Tree<'t, 'm> {
    metadata: &'t mut Metadata<'m>,
    allowed: &'t Range<u32>,
    /// How many the file has by its size.
    file_blocks: u64,
    /// Behind the last extent; every entry must be at it or after it.
    next_file_block: u64,
    extents: Vec<Range<u32>>,
}

impl Tree<'_, '_> {
    fn node(&mut self, node: Area<'_>, depth: u16) -> Result<(), FileMapError> {
        let (magic, entries, entries_max) = (node.u16(0), node.u16(2), node.u16(4));
        let room = node.bytes.len() / ENTRY_BYTES - 1;
        node.ensure(magic == MAGIC, 0, "magic number of an extent node", magic)?;
        node.ensure(
            usize::from(entries_max) == room,
            4,
            "room of an extent node",
            entries_max,
        )?;
        node.ensure(entries <= entries_max, 2, "count of entries of an extent node", entries)?;
        node.ensure(node.u16(6) == depth, 6, "depth of an extent node", node.u16(6))?;
        for number in 1..=usize::from(entries) {
            let entry = node.part(number * ENTRY_BYTES..(number + 1) * ENTRY_BYTES);
            match depth {
                0 => self.extent(entry)?,
                _ => self.below(entry, depth - 1)?,
            }
        }
        Ok(())
    }

    fn below(&mut self, entry: Area<'_>, depth: u16) -> Result<(), FileMapError> {
        entry.ensure(entry.u16(8) == 0, 8, "high half of a block's number", entry.u16(8))?;
        let block = self.metadata.take_block(entry.u32(4), entry.offset + 4)?;
        let node = block.area();
        node.ensure(node.u16(2) > 0, 2, "count of entries below the top", node.u16(2))?;
        let first = node.u32(ENTRY_BYTES);
        node.ensure(
            first == entry.u32(0),
            ENTRY_BYTES,
            "first file block of an extent node",
            first,
        )?;
        self.node(node, depth)
    }

    fn extent(&mut self, entry: Area<'_>) -> Result<(), FileMapError> {
        let (file_block, blocks, high, start) = (entry.u32(0), entry.u16(4), entry.u16(6), entry.u32(8));
        let blocks_sound = (1..=EXTENT_BLOCKS_MAX).contains(&blocks);
        entry.ensure(blocks_sound, 4, "count of blocks of an extent", blocks)?;
        entry.ensure(high == 0, 6, "high half of a block's number", high)?;
        let blocks = u32::from(blocks);
        let file_end = u64::from(file_block) + u64::from(blocks);
        if u64::from(file_block) < self.next_file_block || file_end > self.file_blocks {
            return Err(entry.fault(0, FileMapFault::ExtentMisplaced { file_block, blocks }));
        }
        self.next_file_block = file_end;
        let end = u64::from(start) + u64::from(blocks);
        if start < self.allowed.start || end > u64::from(self.allowed.end) {
            let (blocks, allowed) = (u64::from(start)..end, self.allowed.clone());
            return Err(entry.fault(8, FileMapFault::BlocksOutside { blocks, allowed }));
        }
        match self.extents.last() {
            Some(before) if before.end != start => Err(entry.fault(
                8,
                FileMapFault::Scattered {
                    expected: before.end,
                    found: start,
                },
            )),
            _ => {
                self.extents.push(start..start + blocks);
                Ok(())
            }
        }
    }
}
