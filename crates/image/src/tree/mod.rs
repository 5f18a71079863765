//! The merged tree: what all layers together say the root file system is.
//!
//! An image of 10 GiB can have half a million files, and memory must stay bounded, so a node is small
//! and a file's content is only a place in a layer. Nodes live in one vector and are named by index; directories map
//! names to nodes in byte order, which is the order of everything that follows. A node that lost its last name stays in
//! the vector, unreachable.

mod apply;
mod error;

pub use apply::{LayerNumber, TreeBuilder, TreeLimits, Warning};
pub use error::{DisplayPath, TreeError, TreeFault};

use crate::layer::{DeviceNumber, Piece};
use crate::xattr::Xattr;
use std::collections::BTreeMap;

/// Mode, owner and time of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Permissions with set-user-id, set-group-id and sticky bits: the low 12 bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub modified: Timestamp,
}

/// A point in time, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that, below 10^9.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    /// Reads PAX's decimal form, such as `-1.25`; digits beyond the ninth are cut off.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let nanoseconds: u32 = format!("{fraction:0<9.9}").parse().ok()?;
        Some(match (negative, nanoseconds) {
            (false, _) => Self { seconds, nanoseconds },
            (true, 0) => Self {
                seconds: -seconds,
                nanoseconds: 0,
            },
            (true, _) => Self {
                seconds: -seconds - 1,
                nanoseconds: 1_000_000_000 - nanoseconds,
            },
        })
    }
}

/// Names a node of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The node's place in vectors that have an element for each node.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One inode.
#[derive(Debug)]
pub struct Node {
    /// Mode, owner and time.
    pub metadata: Metadata,
    /// How many names it has (a directory: one).
    pub links: u32,
    /// Its extended attributes: an index into the tree's distinct sets.
    pub xattrs: XattrSet,
    /// What it is.
    pub kind: NodeKind,
}

/// Names one of the tree's distinct sets of extended attributes; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct XattrSet(u32);

/// What a node is.
#[derive(Debug)]
pub enum NodeKind {
    /// A regular file of that many bytes.
    File {
        /// Its length.
        bytes: u64,
        /// Where its content lies.
        content: FileContent,
    },
    /// A directory.
    Directory(Box<Directory>),
    /// A symbolic link to these bytes.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
}

/// A directory's names, in byte order.
#[derive(Debug, Default)]
pub struct Directory {
    pub(crate) children: BTreeMap<Box<[u8]>, Child>,
    depth: u16,
}

/// What a name stands for, and the layer that last said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub(crate) node: NodeId,
    layer: LayerNumber,
}

/// Where a file's bytes lie.
#[derive(Debug)]
pub enum FileContent {
    /// Nowhere: the file is empty, or one hole.
    Hole,
    /// One run in a layer.
    Dense {
        /// Which layer.
        layer: LayerNumber,
        /// Offset in its plain stream.
        offset: u64,
    },
    /// Several runs with holes between them.
    Sparse {
        /// Which layer.
        layer: LayerNumber,
        /// By ascending file offset.
        pieces: Box<[Piece]>,
    },
}

/// A finished tree.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    xattr_sets: Vec<Box<[Xattr]>>,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// The node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// How many nodes there are, unreachable ones included: the length of a vector with an element for each.
    #[must_use]
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// The names in a directory, in byte order; none for what is not a directory.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> + Clone {
        let directory = match &self.node(id).kind {
            NodeKind::Directory(directory) => Some(directory),
            _ => None,
        };
        directory
            .into_iter()
            .flat_map(|directory| directory.children.iter().map(|(name, child)| (&name[..], child.node)))
    }

    /// A node's extended attributes, in ext4's order.
    #[must_use]
    pub fn xattrs(&self, set: XattrSet) -> &[Xattr] {
        &self.xattr_sets[set.0 as usize]
    }

    /// The set at this place of vectors that have an element for each set.
    #[must_use]
    pub fn xattrs_at(&self, index: usize) -> &[Xattr] {
        &self.xattr_sets[index]
    }

    /// How many distinct sets of extended attributes there are, the empty one included.
    #[must_use]
    pub fn xattr_sets_len(&self) -> usize {
        self.xattr_sets.len()
    }
}

impl XattrSet {
    /// The set's place in vectors that have an element for each set.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Node {
    /// Whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory(_))
    }

    /// The runs of a file's data, and the layer in which they lie.
    #[must_use]
    pub fn pieces(&self) -> (LayerNumber, std::borrow::Cow<'_, [Piece]>) {
        match &self.kind {
            NodeKind::File {
                bytes,
                content: FileContent::Dense { layer, offset },
            } => {
                let whole = Piece {
                    file_offset: 0,
                    layer_offset: *offset,
                    bytes: *bytes,
                };
                (*layer, vec![whole].into())
            }
            NodeKind::File {
                content: FileContent::Sparse { layer, pieces },
                ..
            } => (*layer, (&**pieces).into()),
            _ => (LayerNumber::default(), [].as_slice().into()),
        }
    }
}

#[cfg(test)]
mod tests;
