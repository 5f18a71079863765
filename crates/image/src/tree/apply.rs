//! Layers laid over each other.
//!
//! The rules are those of the OCI image specification ("Applying Changesets") and, where it is silent, of containerd:
//! - a directory over a directory keeps the children and takes the new metadata; anything else replaces what was there;
//! - `.wh.NAME` removes NAME, `.wh..wh..opq` all that the directory holds, in both cases only what earlier layers put
//!   there, whatever the order inside the layer;
//! - other names that begin with `.wh..wh.` are left-overs of AUFS and are ignored, with all below them;
//! - parents that no entry mentions are made (root's, 0755, 1970);
//! - a symbolic link on the way to an entry is followed inside the image's root, so that `lib/x` lands in `usr/lib/x`
//!   where `lib` is a link. One that leads above the root is an attack or a mistake, and refused.

use super::{
    Child, Directory, DisplayPath, FileContent, Metadata, Node, NodeId, NodeKind, Timestamp, Tree, TreeError,
    TreeFault, XattrSet,
};
use crate::layer::{Content, DeviceNumber, EntryKind, LayerEntry};
use crate::xattr::Xattr;
use std::collections::HashMap;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// Linux's MAXSYMLINKS.
const LINKS_FOLLOWED_MAX: u32 = 40;
/// ext4's EXT4_NAME_LEN.
const NAME_BYTES_MAX: usize = 255;
/// Linux's PATH_MAX, without the final NUL.
const PATH_BYTES_MAX: usize = 4095;
/// A path of PATH_MAX bytes has no more directories; symbolic links could make deeper ones, that no program can name.
const DEPTH_MAX: usize = 2048;
/// ext4's EXT4_LINK_MAX.
const HARD_LINKS_MAX: u32 = 65_000;
/// One block, less the NUL that the kernel wants behind it.
const SYMLINK_BYTES_MAX: usize = 4095;
/// ext4's largest file of 4 KiB blocks: 2^32 blocks, less one.
const FILE_BYTES_MAX: u64 = (u32::MAX as u64 - 1) * 4096;
/// What surely fits into ext4's inode and one block with all headers; the exact check comes when it is written.
const XATTR_BYTES_MAX: usize = 4096 + 96;

/// Which layer, counted from 0 at the bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerNumber(pub u16);

/// How much an image may hold.
#[derive(Clone, Copy, Debug)]
pub struct TreeLimits {
    /// Bytes of all files together, holes included.
    pub unpacked_bytes_max: u64,
    /// Entries of all layers together; a run of a sparse file and a parent that no entry mentions count as one.
    pub entries_max: u64,
}

/// Something that was left out of the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// An entry that no image can hold.
    #[error("{} ignored: a socket or other file of tar type {:?}", DisplayPath(path), char::from(*flag))]
    Unsupported {
        /// The entry.
        path: Vec<u8>,
        /// Its type flag.
        flag: u8,
    },
    /// An attribute that Linux cannot hold, most often one outside its namespaces.
    #[error(
        "{}: attribute {} ignored: not a name that Linux stores",
        DisplayPath(path),
        DisplayPath(name)
    )]
    Xattr {
        /// The entry.
        path: Vec<u8>,
        /// The attribute's PAX record.
        name: Vec<u8>,
    },
}

/// A tree to which layers are still being applied.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Tree,
    xattr_numbers: HashMap<Box<[Xattr]>, XattrSet>,
    limits: TreeLimits,
    entries: u64,
    /// Bytes of all files that have been seen, replaced ones included.
    unpacked_bytes: u64,
    layer: LayerNumber,
}

/// What an entry's name says should happen.
enum Act<'a> {
    Put,
    Remove(&'a [u8]),
    MakeOpaque,
    Ignore,
}

impl TreeBuilder {
    /// An empty root directory.
    #[must_use]
    pub fn new(limits: TreeLimits) -> Self {
        let root = Node::directory(implicit_metadata(), 0);
        let tree = Tree {
            nodes: vec![root],
            xattr_sets: vec![Box::default()],
        };
        let xattr_numbers = HashMap::from([(Box::default(), XattrSet(0))]);
        Self {
            tree,
            xattr_numbers,
            limits,
            entries: 0,
            unpacked_bytes: 0,
            layer: LayerNumber(0),
        }
    }

    /// What follows comes from `layer`.
    pub fn start_layer(&mut self, layer: LayerNumber) {
        self.layer = layer;
    }

    /// All layers have been applied.
    #[must_use]
    pub fn finish(self) -> Tree {
        self.tree
    }

    /// Applies one entry of the current layer; gives what of it was left out.
    pub fn apply(&mut self, mut entry: LayerEntry) -> Result<Vec<Warning>, TreeError> {
        let path = std::mem::take(&mut entry.path);
        let warnings = warnings(&path, &entry);
        match self.apply_at(&path, entry) {
            Ok(()) => Ok(warnings),
            Err(fault) => Err(TreeError { path, fault }),
        }
    }

    fn apply_at(&mut self, path: &[u8], entry: LayerEntry) -> Result<(), TreeFault> {
        self.count(&entry)?;
        let components = components(path)?;
        let Some((name, parents)) = components.split_last() else {
            return self.apply_root(&entry);
        };
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT_META)) {
            return Ok(());
        }
        match act(name)? {
            Act::Ignore => {}
            Act::Remove(name) => {
                if let Some(parent) = self.find_directory(parents)? {
                    self.remove_lower(parent, name);
                }
            }
            Act::MakeOpaque => {
                if let Some(directory) = self.find_directory(parents)? {
                    self.remove_all_lower(directory);
                }
            }
            Act::Put => {
                let parent = self
                    .walk(parents, Missing::Create)?
                    .expect("missing parents are created");
                self.put(parent, name, entry)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, entry: &LayerEntry) -> Result<(), TreeFault> {
        let (bytes, runs) = match &entry.kind {
            EntryKind::File(content) if content.bytes > FILE_BYTES_MAX => {
                return Err(TreeFault::FileTooLarge {
                    bytes: content.bytes,
                    bytes_max: FILE_BYTES_MAX,
                });
            }
            EntryKind::File(content) => (content.bytes, content.pieces.len().max(1) as u64),
            _ => (0, 1),
        };
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(bytes);
        if self.unpacked_bytes > self.limits.unpacked_bytes_max {
            return Err(TreeFault::TooManyBytes {
                bytes_max: self.limits.unpacked_bytes_max,
            });
        }
        self.count_entries(runs)
    }

    /// Counts what takes memory: a directory that no entry mentions is counted too, as one path could make thousands.
    fn count_entries(&mut self, entries: u64) -> Result<(), TreeFault> {
        self.entries += entries;
        match self.entries > self.limits.entries_max {
            true => Err(TreeFault::TooManyEntries {
                entries_max: self.limits.entries_max,
            }),
            false => Ok(()),
        }
    }

    fn apply_root(&mut self, entry: &LayerEntry) -> Result<(), TreeFault> {
        match entry.kind {
            EntryKind::Directory => self.set_metadata(Tree::ROOT, entry),
            _ => Err(TreeFault::RootNotDirectory),
        }
    }

    /// Puts an entry under its name, in place of what was there.
    fn put(&mut self, parent: NodeId, name: &[u8], entry: LayerEntry) -> Result<(), TreeFault> {
        let existing = self.child(parent, name);
        match (&entry.kind, existing) {
            (EntryKind::Unsupported(_), _) => {}
            (EntryKind::HardLink(target), _) => self.put_link(parent, name, target)?,
            (EntryKind::Directory, Some(child)) if self.tree.node(child.node).is_directory() => {
                self.set_metadata(child.node, &entry)?;
                self.set_child(parent, name, child.node);
            }
            _ => {
                let node = self.new_node(parent, entry)?;
                self.replace(parent, name, node);
            }
        }
        Ok(())
    }

    fn put_link(&mut self, parent: NodeId, name: &[u8], target: &[u8]) -> Result<(), TreeFault> {
        let missing = || TreeFault::LinkTargetMissing {
            target: target.to_vec(),
        };
        let target_components = components(target)?;
        let (target_name, target_parents) = target_components.split_last().ok_or_else(missing)?;
        let target_parent = self.walk(target_parents, Missing::Stop)?.ok_or_else(missing)?;
        let node = self.child(target_parent, target_name).ok_or_else(missing)?.node;
        if self.tree.node(node).is_directory() {
            return Err(TreeFault::LinkToDirectory {
                target: target.to_vec(),
            });
        }
        if self.child(parent, name).is_some_and(|child| child.node == node) {
            self.set_child(parent, name, node);
            return Ok(());
        }
        let links = &mut self.tree.nodes[node.index()].links;
        *links += 1;
        if *links > HARD_LINKS_MAX {
            return Err(TreeFault::TooManyHardLinks {
                target: target.to_vec(),
                links_max: HARD_LINKS_MAX,
            });
        }
        self.replace(parent, name, node);
        Ok(())
    }

    fn new_node(&mut self, parent: NodeId, entry: LayerEntry) -> Result<NodeId, TreeFault> {
        let xattrs = self.xattr_set(&entry.xattrs.stored)?;
        let kind = match entry.kind {
            EntryKind::File(content) => NodeKind::File {
                bytes: content.bytes,
                content: self.file_content(content),
            },
            EntryKind::Symlink(target) if target.contains(&0) => return Err(TreeFault::NulByte),
            EntryKind::Symlink(target) if (1..=SYMLINK_BYTES_MAX).contains(&target.len()) => {
                NodeKind::Symlink(target.into_boxed_slice())
            }
            EntryKind::Symlink(target) => {
                return Err(TreeFault::SymlinkLength {
                    bytes: target.len(),
                    bytes_max: SYMLINK_BYTES_MAX,
                });
            }
            EntryKind::CharDevice(number) => NodeKind::CharDevice(device_number(number)?),
            EntryKind::BlockDevice(number) => NodeKind::BlockDevice(device_number(number)?),
            EntryKind::Fifo => NodeKind::Fifo,
            EntryKind::Directory => {
                let node = self.new_directory(parent, entry.metadata)?;
                self.tree.nodes[node.index()].xattrs = xattrs;
                return Ok(node);
            }
            EntryKind::HardLink(_) | EntryKind::Unsupported(_) => unreachable!("the caller has dealt with these"),
        };
        Ok(self.push(Node {
            metadata: entry.metadata,
            links: 1,
            xattrs,
            kind,
        }))
    }

    fn new_directory(&mut self, parent: NodeId, metadata: Metadata) -> Result<NodeId, TreeFault> {
        let depth = self.directory(parent).map_or(0, |directory| directory.depth) + 1;
        if usize::from(depth) > DEPTH_MAX {
            return Err(TreeFault::TooDeep { depth_max: DEPTH_MAX });
        }
        Ok(self.push(Node::directory(metadata, depth)))
    }

    fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.tree.nodes.len()).expect("the limit of entries is far below 2^32"));
        self.tree.nodes.push(node);
        id
    }

    fn file_content(&self, content: Content) -> FileContent {
        match content.pieces.as_slice() {
            [] => FileContent::Hole,
            [piece] if piece.file_offset == 0 && piece.bytes == content.bytes => FileContent::Dense {
                layer: self.layer,
                offset: piece.layer_offset,
            },
            _ => FileContent::Sparse {
                layer: self.layer,
                pieces: content.pieces.into_boxed_slice(),
            },
        }
    }

    fn set_metadata(&mut self, id: NodeId, entry: &LayerEntry) -> Result<(), TreeFault> {
        let xattrs = self.xattr_set(&entry.xattrs.stored)?;
        let node = &mut self.tree.nodes[id.index()];
        node.metadata = entry.metadata;
        node.xattrs = xattrs;
        Ok(())
    }

    fn xattr_set(&mut self, xattrs: &[Xattr]) -> Result<XattrSet, TreeFault> {
        if let Some(set) = self.xattr_numbers.get(xattrs) {
            return Ok(*set);
        }
        let bytes = xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        if bytes > XATTR_BYTES_MAX || crate::ext4::xattrs_fit(xattrs).is_none() {
            return Err(TreeFault::XattrsTooLarge { bytes });
        }
        let set = XattrSet(u32::try_from(self.tree.xattr_sets.len()).expect("there are fewer sets than entries"));
        self.tree.xattr_sets.push(xattrs.into());
        self.xattr_numbers.insert(xattrs.into(), set);
        Ok(set)
    }
}

/// What happens when a directory on the way does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Stop,
}

/// The way to an entry.
impl TreeBuilder {
    /// The directory at these components, if all of it exists and nothing on the way is a file.
    fn find_directory(&mut self, components: &[&[u8]]) -> Result<Option<NodeId>, TreeFault> {
        match self.walk(components, Missing::Stop) {
            Err(TreeFault::ParentNotDirectory { .. } | TreeFault::DanglingParent { .. }) => Ok(None),
            found => found,
        }
    }

    /// Follows components and symbolic links from the root to a directory.
    fn walk(&mut self, components: &[&[u8]], missing: Missing) -> Result<Option<NodeId>, TreeFault> {
        // Directories from the root to here, for `..` in symbolic links.
        let mut trail = vec![Tree::ROOT];
        let mut links_followed = 0;
        // Components still to go, the next one last, each with the link that brought it.
        let mut ahead: Vec<(Vec<u8>, Option<NodeId>)> =
            components.iter().rev().map(|name| (name.to_vec(), None)).collect();
        while let Some((name, link)) = ahead.pop() {
            let here = *trail.last().expect("the root is never popped");
            if name == b".." {
                trail.pop();
                if trail.is_empty() {
                    return Err(TreeFault::Escapes {
                        through: link.map(|link| self.link_target(link).to_vec()),
                    });
                }
                continue;
            }
            let Some(child) = self.child(here, &name) else {
                match (link, missing) {
                    (Some(link), Missing::Create) => {
                        return Err(TreeFault::DanglingParent {
                            target: self.link_target(link).to_vec(),
                        });
                    }
                    (None, Missing::Create) => {
                        self.count_entries(1)?;
                        let node = self.new_directory(here, implicit_metadata())?;
                        self.set_child(here, &name, node);
                        trail.push(node);
                        continue;
                    }
                    (_, Missing::Stop) => return Ok(None),
                }
            };
            match &self.tree.node(child.node).kind {
                NodeKind::Directory(_) => trail.push(child.node),
                NodeKind::Symlink(target) => {
                    links_followed += 1;
                    if links_followed > LINKS_FOLLOWED_MAX {
                        return Err(TreeFault::TooManyLinks {
                            links_max: LINKS_FOLLOWED_MAX,
                        });
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    let names = target
                        .split(|byte| *byte == b'/')
                        .filter(|name| !name.is_empty() && *name != b".");
                    ahead.extend(names.rev().map(|name| (name.to_vec(), Some(child.node))));
                }
                _ => return Err(TreeFault::ParentNotDirectory { parent: name }),
            }
        }
        Ok(trail.pop())
    }

    fn link_target(&self, link: NodeId) -> &[u8] {
        match &self.tree.node(link).kind {
            NodeKind::Symlink(target) => target,
            _ => unreachable!("only symbolic links bring components"),
        }
    }

    fn directory(&self, id: NodeId) -> Option<&Directory> {
        match &self.tree.node(id).kind {
            NodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> &mut Directory {
        match &mut self.tree.nodes[id.index()].kind {
            NodeKind::Directory(directory) => directory,
            _ => unreachable!("parents are directories"),
        }
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<Child> {
        self.directory(parent)?.children.get(name).copied()
    }

    fn set_child(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        let layer = self.layer;
        self.directory_mut(parent)
            .children
            .insert(name.into(), Child { node, layer });
    }
}

/// Taking away.
impl TreeBuilder {
    /// Gives `name` to `node`; what had it before is gone, whatever it was.
    fn replace(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        if let Some(old) = self.child(parent, name) {
            self.drop_subtree(old.node);
        }
        self.set_child(parent, name, node);
    }

    /// Takes one name from a node, and from all that hangs below it.
    fn drop_subtree(&mut self, id: NodeId) {
        self.tree.nodes[id.index()].links -= 1;
        if let NodeKind::Directory(directory) = &mut self.tree.nodes[id.index()].kind {
            for child in std::mem::take(&mut directory.children).into_values() {
                self.drop_subtree(child.node);
            }
        }
    }

    /// Removes a name as far as earlier layers made it.
    fn remove_lower(&mut self, parent: NodeId, name: &[u8]) {
        let Some(child) = self.child(parent, name) else { return };
        if self.tree.node(child.node).is_directory() {
            self.remove_all_lower(child.node);
            let has_children = self
                .directory(child.node)
                .is_some_and(|directory| !directory.children.is_empty());
            if child.layer == self.layer {
                return;
            }
            if has_children {
                // This layer's children need a parent, which no entry of this layer mentions: as if made after the whiteout.
                let node = &mut self.tree.nodes[child.node.index()];
                (node.metadata, node.xattrs) = (implicit_metadata(), XattrSet(0));
                self.set_child(parent, name, child.node);
                return;
            }
        } else if child.layer == self.layer {
            return;
        }
        self.drop_subtree(child.node);
        self.directory_mut(parent).children.remove(name);
    }

    fn remove_all_lower(&mut self, directory: NodeId) {
        let names: Vec<Box<[u8]>> = self.directory_mut(directory).children.keys().cloned().collect();
        for name in names {
            self.remove_lower(directory, &name);
        }
    }
}

impl Node {
    fn directory(metadata: Metadata, depth: u16) -> Self {
        let directory = Directory {
            depth,
            ..Directory::default()
        };
        Self {
            metadata,
            links: 1,
            xattrs: XattrSet(0),
            kind: NodeKind::Directory(Box::new(directory)),
        }
    }
}

/// Linux has 12 bits for the major number and 20 for the minor one.
const fn device_number(number: DeviceNumber) -> Result<DeviceNumber, TreeFault> {
    let DeviceNumber { major, minor } = number;
    if major < 1 << 12 && minor < 1 << 20 {
        Ok(number)
    } else {
        Err(TreeFault::DeviceNumber { major, minor })
    }
}

const fn implicit_metadata() -> Metadata {
    Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: Timestamp {
            seconds: 0,
            nanoseconds: 0,
        },
    }
}

/// What of an entry will be left out.
fn warnings(path: &[u8], entry: &LayerEntry) -> Vec<Warning> {
    if let EntryKind::Unsupported(flag) = entry.kind {
        return vec![Warning::Unsupported {
            path: path.to_vec(),
            flag,
        }];
    }
    let ignored = entry.xattrs.ignored.iter();
    ignored
        .map(|name| Warning::Xattr {
            path: path.to_vec(),
            name: name.clone(),
        })
        .collect()
}

fn act(name: &[u8]) -> Result<Act<'_>, TreeFault> {
    match name {
        WHITEOUT_OPAQUE => Ok(Act::MakeOpaque),
        _ if name.starts_with(WHITEOUT_META) => Ok(Act::Ignore),
        _ => match name.strip_prefix(WHITEOUT) {
            None => Ok(Act::Put),
            Some(b"" | b"." | b"..") => Err(TreeFault::BadWhiteout),
            Some(name) => Ok(Act::Remove(name)),
        },
    }
}

/// Cuts a path of an archive into names; `.` and doubled slashes mean nothing.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, TreeFault> {
    let names: Vec<_> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .collect();
    if path.starts_with(b"/") && !names.is_empty() {
        return Err(TreeFault::Absolute);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(TreeFault::PathLength {
            bytes: path.len(),
            bytes_max: PATH_BYTES_MAX,
        });
    }
    if path.contains(&0) {
        return Err(TreeFault::NulByte);
    }
    for name in &names {
        if *name == b".." {
            return Err(TreeFault::Escapes { through: None });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(TreeFault::NameLength {
                bytes: name.len(),
                bytes_max: NAME_BYTES_MAX,
            });
        }
    }
    Ok(names)
}
