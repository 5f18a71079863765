//! Every node's inode number and every block's purpose, before a byte is written.

use super::geometry::Geometry;
use super::{FIRST_INODE, ROOT_INODE, attributes, directory, extents};
use crate::layer::Piece;
use crate::placement::{Place, Placement, PlacementSizes};
use crate::tree::{DisplayPath, LayerNumber, NodeId, NodeKind, Tree};

/// A tree's place in its file system.
#[derive(Debug)]
pub struct Layout {
    pub(super) geometry: Geometry,
    /// The nodes in path order, each once; the root first.
    pub(super) order: Vec<NodeId>,
    /// Each node's inode, by node; 0 for nodes that no name reaches.
    inodes: Vec<u32>,
    /// First data block of a file, or of a directory's or a long symbolic link's blocks, by node.
    pub(super) blocks: Vec<u32>,
    /// First block of an extent tree's blocks; few files have any.
    pub(super) extent_blocks: Vec<(NodeId, u32)>,
    /// For each set of attributes that needs blocks: the first of them, and how many inodes refer to the set.
    pub(super) attribute_blocks: Vec<AttributeBlocks>,
    /// Files with data in device order.
    pub(super) data: Vec<NodeId>,
}

/// The blocks of one set of attributes: as many equal ones as its references need.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttributeBlocks {
    pub(super) first: u32,
    pub(super) references: u32,
}

/// A run of the device's bytes that comes from a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRun {
    /// Offset on the device.
    pub device_offset: u64,
    /// Which layer holds the bytes.
    pub layer: LayerNumber,
    /// Where in its plain stream.
    pub layer_offset: u64,
    /// How many.
    pub bytes: u64,
}

/// A tree that ext4 cannot hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More data than 2^32 blocks.
    #[error("the image's files need more than 16 TiB, which this ext4 cannot address")]
    TooLarge,
    /// A directory beyond the hash tree's two levels.
    #[error("directory {} has too many names for ext4's hash tree", DisplayPath(name))]
    DirectoryTooLarge {
        /// The directory's name in its parent.
        name: Vec<u8>,
    },
}

/// Decides where everything goes.
pub fn lay_out(tree: &Tree, sizes: PlacementSizes) -> Result<Layout, LayoutError> {
    let mut plan = Plan {
        tree,
        inodes: vec![0; tree.nodes_len()],
        order: Vec::with_capacity(tree.nodes_len()),
        places: vec![Place::Small(0); tree.nodes_len()],
        placement: Placement::new(sizes),
    };
    plan.visit(Tree::ROOT, b"", b"")?;
    plan.finish()
}

/// The walk in path order.
struct Plan<'a> {
    tree: &'a Tree,
    inodes: Vec<u32>,
    order: Vec<NodeId>,
    places: Vec<Place>,
    placement: Placement,
}

impl Plan<'_> {
    fn visit(&mut self, id: NodeId, parent: &[u8], name: &[u8]) -> Result<(), LayoutError> {
        if self.inodes[id.index()] != 0 {
            return Ok(());
        }
        self.inodes[id.index()] = match self.order.len() as u32 {
            0 => ROOT_INODE,
            before => FIRST_INODE - 1 + before,
        };
        self.order.push(id);
        let blocks = data_blocks(self.tree, id);
        if blocks > 0 {
            let place = self
                .placement
                .place(parent, name, blocks)
                .map_err(|_| LayoutError::TooLarge)?;
            self.places[id.index()] = place;
        }
        let tree = self.tree;
        tree.children(id)
            .try_for_each(|(child_name, child)| self.visit(child, name, child_name))
    }

    fn finish(self) -> Result<Layout, LayoutError> {
        let (large_start, data_blocks_all) = self.placement.finish().map_err(|_| LayoutError::TooLarge)?;
        let nodes = self.order.len() as u32;
        let mut layout = Layout {
            geometry: Geometry::new(nodes, 0, 0).ok_or(LayoutError::TooLarge)?,
            order: self.order,
            inodes: self.inodes,
            blocks: vec![0; self.tree.nodes_len()],
            extent_blocks: Vec::new(),
            attribute_blocks: vec![AttributeBlocks::default(); self.tree.xattr_sets_len()],
            data: Vec::new(),
        };
        let extras = layout.number_extras(self.tree)?;
        layout.geometry = Geometry::new(nodes, extras, data_blocks_all).ok_or(LayoutError::TooLarge)?;
        layout.shift_extras(self.tree);
        layout.place_data(self.tree, &self.places, large_start);
        Ok(layout)
    }
}

impl Layout {
    /// The file system's measures.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Inodes in use.
    #[must_use]
    pub const fn nodes(&self) -> u64 {
        self.order.len() as u64
    }

    pub(super) fn inode(&self, id: NodeId) -> u32 {
        self.inodes[id.index()]
    }

    /// The runs of the device that hold files' data, by ascending offset.
    pub fn runs(&self, tree: &Tree) -> Vec<DeviceRun> {
        let mut runs = Vec::with_capacity(self.data.len());
        for id in &self.data {
            let (layer, pieces) = tree.node(*id).pieces();
            let start = u64::from(self.blocks[id.index()]) * super::BLOCK_BYTES as u64;
            append_runs(&mut runs, start, layer, &pieces);
        }
        runs
    }

    /// Numbers the blocks of directories, extent trees, long links and attributes from 0; gives their count.
    fn number_extras(&mut self, tree: &Tree) -> Result<u32, LayoutError> {
        let mut next = 0_u32;
        let mut take = |blocks: u32| {
            let first = next;
            next = next.checked_add(blocks).ok_or(LayoutError::TooLarge)?;
            Ok(first)
        };
        for id in &self.order {
            let node = tree.node(*id);
            self.attribute_blocks[node.xattrs.index()].references += 1;
            match &node.kind {
                NodeKind::Directory(_) => {
                    let blocks = directory::blocks_needed(super::write::names(tree, self, *id));
                    let too_large = || LayoutError::DirectoryTooLarge {
                        name: name_of(tree, *id),
                    };
                    self.blocks[id.index()] = take(blocks.ok_or_else(too_large)?)?;
                }
                NodeKind::Symlink(target) if !super::inode::is_fast_symlink(target) => {
                    self.blocks[id.index()] = take(1)?;
                }
                NodeKind::File { .. } => match extents::tree_blocks(&extents::runs(&node.pieces().1)) {
                    0 => {}
                    blocks => self.extent_blocks.push((*id, take(blocks)?)),
                },
                _ => {}
            }
        }
        for (set, blocks) in self.attribute_blocks.iter_mut().enumerate() {
            if has_attribute_block(tree, set) {
                blocks.first = take(blocks.references.div_ceil(attributes::BLOCK_REFERENCES_MAX))?;
            }
        }
        Ok(next)
    }

    /// Turns numbers from 0 into blocks of the device, now that the geometry is known.
    fn shift_extras(&mut self, tree: &Tree) {
        let extras = self.geometry.extras();
        for id in &self.order {
            match &tree.node(*id).kind {
                NodeKind::Directory(_) => self.blocks[id.index()] += extras,
                NodeKind::Symlink(target) if !super::inode::is_fast_symlink(target) => {
                    self.blocks[id.index()] += extras;
                }
                _ => {}
            }
        }
        self.extent_blocks.iter_mut().for_each(|(_, block)| *block += extras);
        self.attribute_blocks
            .iter_mut()
            .for_each(|blocks| blocks.first += extras);
    }

    fn place_data(&mut self, tree: &Tree, places: &[Place], large_start: u32) {
        for id in &self.order {
            if data_blocks(tree, *id) > 0 {
                self.blocks[id.index()] = self.geometry.data_start
                    + match places[id.index()] {
                        Place::Small(block) => block,
                        Place::Large(block) => large_start + block,
                    };
                self.data.push(*id);
            }
        }
        let blocks = &self.blocks;
        self.data.sort_unstable_by_key(|id| blocks[id.index()]);
    }
}

/// Blocks of a file that hold data.
pub(super) fn data_blocks(tree: &Tree, id: NodeId) -> u32 {
    extents::runs(&tree.node(id).pieces().1)
        .iter()
        .map(|run| run.blocks)
        .sum()
}

pub(super) fn has_attribute_block(tree: &Tree, set: usize) -> bool {
    attributes::fit(tree.xattrs_at(set)).is_some_and(|fit| !fit.in_block.is_empty())
}

/// Cuts a file's pieces where its blocks stop being neighbours on the device.
fn append_runs(runs: &mut Vec<DeviceRun>, start: u64, layer: LayerNumber, pieces: &[Piece]) {
    let mut file_runs = extents::runs(pieces).into_iter();
    let mut before = 0_u64;
    let mut current = file_runs.next();
    for piece in pieces {
        let in_run = |run: &extents::Run| {
            let end = u64::from(run.file_block + run.blocks) * super::BLOCK_BYTES as u64;
            piece.file_offset < end
        };
        while let Some(run) = current.filter(|run| !in_run(run)) {
            before += u64::from(run.blocks) * super::BLOCK_BYTES as u64;
            current = file_runs.next();
        }
        let run = current.expect("every piece lies in one of the runs that were made from the pieces");
        let in_file = piece.file_offset - u64::from(run.file_block) * super::BLOCK_BYTES as u64;
        runs.push(DeviceRun {
            device_offset: start + before + in_file,
            layer,
            layer_offset: piece.layer_offset,
            bytes: piece.bytes,
        });
    }
}

/// A directory's name, for a message; searched, since messages are rare and names are many.
fn name_of(tree: &Tree, wanted: NodeId) -> Vec<u8> {
    fn search(tree: &Tree, directory: NodeId, wanted: NodeId) -> Option<Vec<u8>> {
        tree.children(directory)
            .find_map(|(name, child)| match child == wanted {
                true => Some(name.to_vec()),
                false => search(tree, child, wanted),
            })
    }
    search(tree, Tree::ROOT, wanted).unwrap_or_else(|| b"/".to_vec())
}
