//! Which blocks of a file lie where.
//!
//! Every file's blocks are one run on the device, so its extents are the file's own runs of data, cut at 32,768 blocks.
//! Up to four extents stand in the inode; more go to leaf blocks, and those to index blocks, all full but the last.
//!
//! ```text
//! header: u16 magic 0xF30A, u16 entries, u16 entries that fit, u16 depth, u32 0
//! extent: u32 first file block, u16 blocks, u16 device block (high half, 0 here), u32 device block
//! index:  u32 first file block, u32 block of the node below, u16 0, u16 0
//! ```

use super::{BLOCK_BYTES, Fields};
use crate::layer::Piece;

const MAGIC: u16 = 0xF30A;
const ENTRY_BYTES: usize = 12;
/// Bytes of an inode in which the tree's top lies.
pub(super) const TOP_BYTES: usize = 60;
const EXTENT_BLOCKS_MAX: u32 = 32_768;
const NODE_ENTRIES_MAX: usize = (BLOCK_BYTES - ENTRY_BYTES) / ENTRY_BYTES;
const TOP_ENTRIES_MAX: usize = (TOP_BYTES - ENTRY_BYTES) / ENTRY_BYTES;

/// A run of a file's blocks that hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) file_block: u32,
    pub(crate) blocks: u32,
}

/// The blocks that the pieces of a file touch, joined where they meet.
pub(crate) fn runs(pieces: &[Piece]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces {
        let block = |bytes: u64| u32::try_from(bytes / BLOCK_BYTES as u64).expect("files have fewer than 2^32 blocks");
        let start = block(piece.file_offset);
        let end = block(piece.file_offset + piece.bytes - 1) + 1;
        match runs.last_mut() {
            Some(last) if start <= last.file_block + last.blocks => last.blocks = end - last.file_block,
            _ => runs.push(Run {
                file_block: start,
                blocks: end - start,
            }),
        }
    }
    runs
}

/// Blocks that the tree takes besides the inode.
pub(super) fn tree_blocks(runs: &[Run]) -> u32 {
    let mut entries: usize = runs
        .iter()
        .map(|run| run.blocks.div_ceil(EXTENT_BLOCKS_MAX) as usize)
        .sum();
    let mut blocks = 0;
    while entries > TOP_ENTRIES_MAX {
        entries = entries.div_ceil(NODE_ENTRIES_MAX);
        blocks += entries;
    }
    u32::try_from(blocks).expect("a file has fewer than 2^32 extents")
}

/// A file's extent tree: the part in the inode, and the blocks that follow `first_tree_block`.
pub(super) fn tree(
    runs: &[Run],
    first_data_block: u32,
    first_tree_block: u32,
) -> ([u8; TOP_BYTES], Vec<[u8; BLOCK_BYTES]>) {
    let mut entries = extents(runs, first_data_block);
    let mut blocks = Vec::new();
    let mut depth = 0;
    while entries.len() > TOP_ENTRIES_MAX {
        let mut above = Vec::with_capacity(entries.len().div_ceil(NODE_ENTRIES_MAX));
        for below in entries.chunks(NODE_ENTRIES_MAX) {
            let number = first_tree_block + blocks.len() as u32;
            let mut block = [0; BLOCK_BYTES];
            write_node(&mut block, below, NODE_ENTRIES_MAX, depth);
            blocks.push(block);
            above.push(index(&below[0], number));
        }
        entries = above;
        depth += 1;
    }
    let mut top = [0; TOP_BYTES];
    write_node(&mut top, &entries, TOP_ENTRIES_MAX, depth);
    (top, blocks)
}

type Entry = [u8; ENTRY_BYTES];

fn extents(runs: &[Run], first_data_block: u32) -> Vec<Entry> {
    let mut device_block = first_data_block;
    let mut entries = Vec::with_capacity(runs.len());
    for run in runs {
        let mut done = 0;
        while done < run.blocks {
            let blocks = (run.blocks - done).min(EXTENT_BLOCKS_MAX);
            let mut entry = [0; ENTRY_BYTES];
            let mut fields = Fields(&mut entry);
            fields.u32(0, run.file_block + done);
            // 32,768 itself is the longest initialised extent; above it the length would mean an unwritten one.
            fields.u16(4, blocks as u16);
            fields.u32(8, device_block);
            entries.push(entry);
            done += blocks;
            device_block += blocks;
        }
    }
    entries
}

fn index(first_below: &Entry, block: u32) -> Entry {
    let mut entry = [0; ENTRY_BYTES];
    let mut fields = Fields(&mut entry);
    fields.bytes(0, &first_below[..4]);
    fields.u32(4, block);
    entry
}

fn write_node(node: &mut [u8], entries: &[Entry], entries_max: usize, depth: u16) {
    let mut fields = Fields(node);
    fields.u16(0, MAGIC);
    fields.u16(2, entries.len() as u16);
    fields.u16(4, entries_max as u16);
    fields.u16(6, depth);
    for (number, entry) in entries.iter().enumerate() {
        fields.bytes((number + 1) * ENTRY_BYTES, entry);
    }
}
