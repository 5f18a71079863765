//! Directory blocks.
//!
//! A directory that fits one block is a list. A larger one is a hash tree, so that a name among 100,000 is found in
//! three blocks and not in hundreds: block 0 is the root, then come index blocks if one root is not enough, then the
//! leaves, whose names are ordered by hash.
//!
//! ```text
//! name:  u32 inode, u16 length of this record, u8 length of the name, u8 type, name padded to 4
//! root:  `.` (12 bytes), `..` (the rest of the block as far as old readers see), then at 24:
//!        u32 0, u8 hash version, u8 8, u8 levels, u8 0; at 32 the index entries
//! index: a record without a name over the whole block; at 8 the index entries
//! index entries: u16 limit, u16 count, u32 block; then for each further entry u32 hash, u32 block
//! ```
//! Source: the kernel's `Documentation/filesystems/ext4/directory.rst`.

use super::{BLOCK_BYTES, Fields, hash};

/// Half MD4; the superblock says that characters are unsigned.
pub(super) const HASH_VERSION: u8 = 1;
const RECORD_HEADER_BYTES: usize = 8;
const ROOT_ENTRIES_START: usize = 32;
const NODE_ENTRIES_START: usize = 8;
const INDEX_ENTRY_BYTES: usize = 8;
const ROOT_ENTRIES_MAX: usize = (BLOCK_BYTES - ROOT_ENTRIES_START) / INDEX_ENTRY_BYTES;
const NODE_ENTRIES_MAX: usize = (BLOCK_BYTES - NODE_ENTRIES_START) / INDEX_ENTRY_BYTES;
const DOT_BYTES: usize = 12;
const TYPE_DIRECTORY: u8 = 2;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    /// ext4's number for the kind of file.
    pub(super) file_type: u8,
}

/// What a directory's own entries point to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) inode: u32,
    pub(super) parent: u32,
}

/// How a directory is cut into blocks.
struct Shape<'a> {
    /// The names of each leaf, in hash order, with the hash by which the index finds the leaf.
    leaves: Vec<(u32, Vec<(u32, Name<'a>)>)>,
    /// Index blocks between root and leaves; 0 when the root holds all.
    nodes: usize,
}

/// Blocks that a directory with these names takes; `None` when it is beyond two levels of index.
pub(super) fn blocks_needed<'a>(names: impl Iterator<Item = Name<'a>> + Clone) -> Option<u32> {
    if fits_one_block(names.clone()) {
        return Some(1);
    }
    let shape = shape(names);
    let blocks = 1 + shape.nodes + shape.leaves.len();
    (shape.nodes <= ROOT_ENTRIES_MAX)
        .then(|| u32::try_from(blocks).ok())
        .flatten()
}

/// The directory's blocks, and whether they are a hash tree.
pub(super) fn blocks<'a>(own: Own, names: impl Iterator<Item = Name<'a>> + Clone) -> (Vec<[u8; BLOCK_BYTES]>, bool) {
    if fits_one_block(names.clone()) {
        return (vec![list(own, names)], false);
    }
    let shape = shape(names);
    let first_leaf = 1 + shape.nodes as u32;
    let leaf_index: Vec<_> = shape
        .leaves
        .iter()
        .zip(first_leaf..)
        .map(|((hash, _), block)| (*hash, block))
        .collect();
    let mut blocks = Vec::with_capacity(first_leaf as usize + shape.leaves.len());
    if shape.nodes == 0 {
        blocks.push(root(own, 0, &leaf_index));
    } else {
        let nodes: Vec<_> = leaf_index.chunks(NODE_ENTRIES_MAX).collect();
        let root_index: Vec<_> = nodes.iter().zip(1..).map(|(node, block)| (node[0].0, block)).collect();
        blocks.push(root(own, 1, &root_index));
        blocks.extend(nodes.into_iter().map(node));
    }
    blocks.extend(
        shape
            .leaves
            .iter()
            .map(|(_, names)| leaf(names.iter().map(|(_, name)| *name))),
    );
    (blocks, true)
}

const fn record_bytes(name: &[u8]) -> usize {
    (RECORD_HEADER_BYTES + name.len()).next_multiple_of(4)
}

fn fits_one_block<'a>(names: impl Iterator<Item = Name<'a>>) -> bool {
    let mut left = BLOCK_BYTES - 2 * DOT_BYTES;
    for name in names {
        match left.checked_sub(record_bytes(name.name)) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

fn shape<'a>(names: impl Iterator<Item = Name<'a>>) -> Shape<'a> {
    let mut hashed: Vec<_> = names.map(|name| (hash::half_md4(name.name), name)).collect();
    hashed.sort_by_key(|(hash, name)| (*hash, name.name));
    let mut leaves: Vec<(u32, Vec<_>)> = Vec::new();
    let mut left = 0;
    for (hash, name) in hashed {
        let bytes = record_bytes(name.name);
        if bytes > left {
            // Odd marks a leaf that begins in the middle of names with one hash: the search goes on from the leaf before.
            let continued = leaves
                .last()
                .and_then(|(_, names)| names.last())
                .is_some_and(|(last, _)| *last == hash);
            leaves.push((hash | u32::from(continued), Vec::new()));
            left = BLOCK_BYTES;
        }
        left -= bytes;
        leaves
            .last_mut()
            .expect("the first name opens a leaf")
            .1
            .push((hash, name));
    }
    let nodes = if leaves.len() <= ROOT_ENTRIES_MAX {
        0
    } else {
        leaves.len().div_ceil(NODE_ENTRIES_MAX)
    };
    Shape { leaves, nodes }
}

fn list<'a>(own: Own, names: impl Iterator<Item = Name<'a>>) -> [u8; BLOCK_BYTES] {
    let dots = [(b".".as_slice(), own.inode), (b"..", own.parent)];
    let dots = dots.map(|(name, inode)| Name {
        name,
        inode,
        file_type: TYPE_DIRECTORY,
    });
    leaf(dots.into_iter().chain(names))
}

/// Records one after the other; the last one reaches to the end of the block.
fn leaf<'a>(names: impl Iterator<Item = Name<'a>>) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut at = 0;
    let mut last = 0;
    for name in names {
        write_record(&mut block, at, name, record_bytes(name.name));
        last = at;
        at += record_bytes(name.name);
    }
    Fields(&mut block).u16(last + 4, (BLOCK_BYTES - last) as u16);
    block
}

fn root(own: Own, levels: u8, index: &[(u32, u32)]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    write_record(
        &mut block,
        0,
        Name {
            name: b".",
            inode: own.inode,
            file_type: TYPE_DIRECTORY,
        },
        DOT_BYTES,
    );
    let parent = Name {
        name: b"..",
        inode: own.parent,
        file_type: TYPE_DIRECTORY,
    };
    write_record(&mut block, DOT_BYTES, parent, BLOCK_BYTES - DOT_BYTES);
    let mut fields = Fields(&mut block);
    fields.u8(28, HASH_VERSION);
    fields.u8(29, 8);
    fields.u8(30, levels);
    write_index(&mut block, ROOT_ENTRIES_START, ROOT_ENTRIES_MAX, index);
    block
}

fn node(index: &[(u32, u32)]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    Fields(&mut block).u16(4, BLOCK_BYTES as u16);
    write_index(&mut block, NODE_ENTRIES_START, NODE_ENTRIES_MAX, index);
    block
}

fn write_index(block: &mut [u8], start: usize, entries_max: usize, index: &[(u32, u32)]) {
    let mut fields = Fields(block);
    for (number, (hash, below)) in index.iter().enumerate() {
        fields.u32(start + number * INDEX_ENTRY_BYTES, *hash);
        fields.u32(start + number * INDEX_ENTRY_BYTES + 4, *below);
    }
    // The first entry's hash is never compared; limit and count stand in its place.
    fields.u16(start, entries_max as u16);
    fields.u16(start + 2, index.len() as u16);
}

fn write_record(block: &mut [u8], at: usize, name: Name<'_>, record_bytes: usize) {
    let mut fields = Fields(block);
    fields.u32(at, name.inode);
    fields.u16(at + 4, record_bytes as u16);
    fields.u8(at + 6, name.name.len() as u8);
    fields.u8(at + 7, name.file_type);
    fields.bytes(at + RECORD_HEADER_BYTES, name.name);
}
