//! The metadata region, written from front to back.

use super::attributes::{self, BLOCK_REFERENCES_MAX};
use super::directory::{self, Name, Own};
use super::geometry::{DESCRIPTOR_BYTES, GROUP_BLOCKS};
use super::inode::{self, Body, InodeFields};
use super::layout::{AttributeBlocks, Layout, data_blocks, has_attribute_block};
use super::superblock::{self, Free, SUPERBLOCK_OFFSET};
use super::{BLOCK_BYTES, FIRST_INODE, Fields, INODE_BYTES, ROOT_INODE, extents};
use crate::tree::{Node, NodeId, NodeKind, Tree};
use std::collections::HashMap;
use std::io::{self, Write};

/// Writes the blocks before the data region: [`super::Geometry::metadata_blocks`] of them.
pub fn write_metadata(tree: &Tree, layout: &Layout, out: &mut impl Write) -> io::Result<()> {
    let usage = Usage::new(tree, layout);
    write_superblock_and_descriptors(layout, &usage, out)?;
    out.write_all(&usage.block_bitmap)?;
    out.write_all(&usage.inode_bitmap)?;
    write_inode_tables(tree, layout, out)?;
    write_extras(tree, layout, out)
}

/// Which blocks and inodes are in use, as ext4's bitmaps say it: a block of bits for each group.
struct Usage {
    block_bitmap: Vec<u8>,
    inode_bitmap: Vec<u8>,
    /// Directories by group.
    directories: Vec<u16>,
}

impl Usage {
    fn new(tree: &Tree, layout: &Layout) -> Self {
        let geometry = &layout.geometry;
        let bitmap_bytes = geometry.groups as usize * BLOCK_BYTES;
        let mut usage = Self {
            block_bitmap: vec![0; bitmap_bytes],
            inode_bitmap: vec![0; bitmap_bytes],
            directories: vec![0; geometry.groups as usize],
        };
        set_bits(&mut usage.block_bitmap, 0, geometry.metadata_blocks);
        for id in &layout.data {
            let first = layout.blocks[id.index()];
            set_bits(&mut usage.block_bitmap, first, first + data_blocks(tree, *id));
        }
        // Bits beyond the device, and beyond each group's inodes, count as used.
        set_bits(&mut usage.block_bitmap, geometry.blocks, geometry.groups * GROUP_BLOCKS);
        for group in 0..geometry.groups {
            let used = geometry
                .last_inode
                .saturating_sub(group * geometry.inodes_per_group)
                .min(geometry.inodes_per_group);
            let start = group * GROUP_BLOCKS;
            set_bits(&mut usage.inode_bitmap, start, start + used);
            set_bits(
                &mut usage.inode_bitmap,
                start + geometry.inodes_per_group,
                start + GROUP_BLOCKS,
            );
        }
        for id in layout.order.iter().filter(|id| tree.node(**id).is_directory()) {
            usage.directories[((layout.inode(*id) - 1) / geometry.inodes_per_group) as usize] += 1;
        }
        usage
    }

    /// What is free in one group.
    fn free(&self, group: u32) -> Free {
        let bits = group as usize * BLOCK_BYTES..(group as usize + 1) * BLOCK_BYTES;
        let zeros = |bitmap: &[u8]| bitmap[bits.clone()].iter().map(|byte| byte.count_zeros()).sum();
        Free {
            blocks: zeros(&self.block_bitmap),
            inodes: zeros(&self.inode_bitmap),
        }
    }
}

fn set_bits(bitmap: &mut [u8], start: u32, end: u32) {
    let mut bit = start;
    while bit < end {
        let byte = &mut bitmap[(bit / 8) as usize];
        if bit.is_multiple_of(8) && end - bit >= 8 {
            *byte = 0xff;
            bit += 8;
        } else {
            *byte |= 1 << (bit % 8);
            bit += 1;
        }
    }
}

fn write_superblock_and_descriptors(layout: &Layout, usage: &Usage, out: &mut impl Write) -> io::Result<()> {
    let geometry = &layout.geometry;
    let free: Vec<Free> = (0..geometry.groups).map(|group| usage.free(group)).collect();
    let all = Free {
        blocks: free.iter().map(|free| free.blocks).sum(),
        inodes: free.iter().map(|free| free.inodes).sum(),
    };
    let mut bytes = vec![0; geometry.block_bitmaps() as usize * BLOCK_BYTES];
    Fields(&mut bytes).bytes(SUPERBLOCK_OFFSET, &superblock::encode(geometry, all));
    for (group, free) in (0..).zip(&free) {
        let at = BLOCK_BYTES + group as usize * DESCRIPTOR_BYTES;
        let mut fields = Fields(&mut bytes[at..at + DESCRIPTOR_BYTES]);
        fields.u32(0, geometry.block_bitmaps() + group);
        fields.u32(4, geometry.inode_bitmaps() + group);
        fields.u32(8, geometry.inode_tables() + group * geometry.table_blocks_per_group());
        fields.u16(12, free.blocks as u16);
        fields.u16(14, free.inodes as u16);
        fields.u16(16, usage.directories[group as usize]);
    }
    out.write_all(&bytes)
}

fn write_inode_tables(tree: &Tree, layout: &Layout, out: &mut impl Write) -> io::Result<()> {
    let mut inodes = InodeWriter::new(tree, layout);
    let empty = [0; INODE_BYTES];
    let (root, others) = layout.order.split_first().expect("a tree has a root");
    for number in 1..FIRST_INODE {
        out.write_all(
            if number == ROOT_INODE {
                inodes.encode(*root)
            } else {
                empty
            }
            .as_slice(),
        )?;
    }
    for id in others {
        out.write_all(&inodes.encode(*id))?;
    }
    for _ in layout.geometry.last_inode..layout.geometry.groups * layout.geometry.inodes_per_group {
        out.write_all(&empty)?;
    }
    Ok(())
}

/// Encodes inodes in order; remembers how often each attribute block was referred to.
struct InodeWriter<'a> {
    tree: &'a Tree,
    layout: &'a Layout,
    extent_blocks: HashMap<NodeId, u32>,
    attribute_references: Vec<u32>,
}

impl<'a> InodeWriter<'a> {
    fn new(tree: &'a Tree, layout: &'a Layout) -> Self {
        let extent_blocks = layout.extent_blocks.iter().copied().collect();
        Self {
            tree,
            layout,
            extent_blocks,
            attribute_references: vec![0; tree.xattr_sets_len()],
        }
    }

    fn encode(&mut self, id: NodeId) -> [u8; INODE_BYTES] {
        let node = self.tree.node(id);
        let attribute_block = self.attribute_block(node);
        let (body, bytes, blocks) = self.body(id, node);
        let mut encoded = inode::encode(&InodeFields {
            metadata: &node.metadata,
            kind: &node.kind,
            links: self.links(id, node),
            bytes,
            blocks: blocks + u32::from(attribute_block != 0),
            attribute_block,
            body,
        });
        let fit = attributes::fit(self.tree.xattrs(node.xattrs)).expect("the tree refuses sets that do not fit");
        attributes::write_in_inode(&mut encoded[attributes::INODE_AREA_START..], &fit.in_inode);
        encoded
    }

    fn attribute_block(&mut self, node: &Node) -> u32 {
        let set = node.xattrs.index();
        if !has_attribute_block(self.tree, set) {
            return 0;
        }
        let before = self.attribute_references[set];
        self.attribute_references[set] += 1;
        self.layout.attribute_blocks[set].first + before / BLOCK_REFERENCES_MAX
    }

    /// A directory is counted by itself, by its name, and by the `..` of each directory in it.
    fn links(&self, id: NodeId, node: &Node) -> u32 {
        match node.is_directory() {
            true => {
                2 + self
                    .tree
                    .children(id)
                    .filter(|(_, child)| self.tree.node(*child).is_directory())
                    .count() as u32
            }
            false => node.links,
        }
    }

    /// The middle of the inode, the size, and the blocks of data and extent tree.
    fn body(&self, id: NodeId, node: &Node) -> (Body, u64, u32) {
        let first = self.layout.blocks[id.index()];
        let one_run = |blocks| extents::tree(&[extents::Run { file_block: 0, blocks }], first, 0).0;
        match &node.kind {
            NodeKind::File { bytes, .. } => {
                let runs = extents::runs(&node.pieces().1);
                let tree_start = self.extent_blocks.get(&id).copied().unwrap_or(0);
                let (top, tree_blocks) = extents::tree(&runs, first, tree_start);
                let data_blocks: u32 = runs.iter().map(|run| run.blocks).sum();
                (Body::Extents(top), *bytes, data_blocks + tree_blocks.len() as u32)
            }
            NodeKind::Directory(_) => {
                let blocks = directory::blocks_needed(names(self.tree, self.layout, id));
                let blocks = blocks.expect("the layout refuses directories that are too large");
                let body = if blocks > 1 {
                    Body::IndexedExtents(one_run(blocks))
                } else {
                    Body::Extents(one_run(1))
                };
                (body, u64::from(blocks) * BLOCK_BYTES as u64, blocks)
            }
            NodeKind::Symlink(target) if inode::is_fast_symlink(target) => {
                (Body::of_target(target), target.len() as u64, 0)
            }
            NodeKind::Symlink(target) => (Body::Extents(one_run(1)), target.len() as u64, 1),
            NodeKind::CharDevice(number) | NodeKind::BlockDevice(number) => (Body::of_device(*number), 0, 0),
            NodeKind::Fifo => (Body::Inline([0; extents::TOP_BYTES]), 0, 0),
        }
    }
}

/// Directories, long links and extent trees in path order, then attributes: the order in which they were numbered.
fn write_extras(tree: &Tree, layout: &Layout, out: &mut impl Write) -> io::Result<()> {
    let parents = parents(tree, layout);
    let extent_blocks: HashMap<_, _> = layout.extent_blocks.iter().copied().collect();
    for id in &layout.order {
        let node = tree.node(*id);
        match &node.kind {
            NodeKind::Directory(_) => {
                let own = Own {
                    inode: layout.inode(*id),
                    parent: parents[&layout.inode(*id)],
                };
                let (blocks, _) = directory::blocks(own, names(tree, layout, *id));
                blocks.iter().try_for_each(|block| out.write_all(block))?;
            }
            NodeKind::Symlink(target) if !inode::is_fast_symlink(target) => {
                let mut block = [0; BLOCK_BYTES];
                block[..target.len()].copy_from_slice(target);
                out.write_all(&block)?;
            }
            NodeKind::File { .. } => {
                if let Some(start) = extent_blocks.get(id) {
                    let (_, blocks) =
                        extents::tree(&extents::runs(&node.pieces().1), layout.blocks[id.index()], *start);
                    blocks.iter().try_for_each(|block| out.write_all(block))?;
                }
            }
            _ => {}
        }
    }
    for (set, blocks) in layout.attribute_blocks.iter().enumerate() {
        if has_attribute_block(tree, set) {
            write_attribute_blocks(tree, set, *blocks, out)?;
        }
    }
    Ok(())
}

fn write_attribute_blocks(tree: &Tree, set: usize, blocks: AttributeBlocks, out: &mut impl Write) -> io::Result<()> {
    let fit = attributes::fit(tree.xattrs_at(set)).expect("the tree refuses sets that do not fit");
    let mut left = blocks.references;
    while left > 0 {
        let references = left.min(BLOCK_REFERENCES_MAX);
        out.write_all(&attributes::block(&fit.in_block, references))?;
        left -= references;
    }
    Ok(())
}

/// Each directory's parent, by inode; the root is its own.
fn parents(tree: &Tree, layout: &Layout) -> HashMap<u32, u32> {
    let mut parents = HashMap::from([(ROOT_INODE, ROOT_INODE)]);
    for id in &layout.order {
        let directories = tree.children(*id).filter(|(_, child)| tree.node(*child).is_directory());
        parents.extend(directories.map(|(_, child)| (layout.inode(child), layout.inode(*id))));
    }
    parents
}

/// A directory's names as its blocks hold them. While inodes are still 0 this gives the same lengths.
pub(super) fn names<'a>(tree: &'a Tree, layout: &'a Layout, id: NodeId) -> impl Iterator<Item = Name<'a>> + Clone {
    tree.children(id).map(|(name, child)| Name {
        name,
        inode: layout.inode(child),
        file_type: inode::file_type(&tree.node(child).kind),
    })
}
