//! Which file a block of one of our images belongs to.
//!
//! A trace says which blocks a function touched; people ask which files. The answer stands in the image's own
//! metadata, so it needs no record beside the image and is right for every image that was ever pushed. Only what
//! [`crate::ext4`] writes is understood: this is no ext4 reader for the world, and says so by name when it meets one.
//!
//! ```text
//! superblock   features, sizes            must be those that our writer sets
//! descriptors  where the inode tables lie must be one run over all groups
//! directories  names and inodes           walked from the root in byte order, which is the writer's order too
//! inodes       size, extents              each file's data is one run of blocks behind the metadata
//! ```
//!
//! The image was authenticated before a byte of it came here, and is treated as hostile all the same. What bounds the
//! work: each metadata block behind the inode tables belongs to one directory or one extent tree, and meeting it again
//! is an error; each inode is read once. So there are no cycles, nothing is read more than 16 times (the inodes of a
//! block, if the walk meets them in the worst order), and memory grows with names and extents that really stand in the
//! metadata. Paths alone could grow faster, and have a limit of their own.
//!
//! A directory's hash tree is not followed: its leaves are blocks of names like all others, and its index blocks look
//! like blocks without names, as the format wants it for readers that do not know the tree.

mod directory;
mod error;
mod extents;
mod inode;
mod metadata;
mod superblock;

#[cfg(test)]
mod tests;

pub use error::{FileMapError, FileMapFault};

use directory::Names;
use inode::{FileType, Inode};
use metadata::Metadata;
use std::io;
use std::ops::Range;

// As in `crate::ext4`, which keeps them to itself.
const INODE_BYTES: usize = 256;
const ROOT_INODE: u32 = 2;
/// Inodes below this one are reserved by ext4.
const FIRST_INODE: u32 = 11;

/// What a walk may find; a test gives less.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Directories within each other, the root among them.
    levels_max: usize,
    /// Bytes of all paths together.
    paths_bytes_max: usize,
}

const LIMITS: Limits = Limits {
    // The tree refuses more than 2,048 below the root.
    levels_max: 2049,
    // 1,000 for each of the 500,000 entries that a push allows unless told otherwise: half a million real paths take a
    // tenth of it. Without a limit a deep chain of directories would multiply its names.
    paths_bytes_max: 512 * 1024 * 1024,
};

/// A regular file and its place on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// Absolute path, in the bytes of the image. Of several hard links it is the first in path order, which is also
    /// the one that decided where the file lies.
    pub path: Vec<u8>,
    /// Size of the file, holes included.
    pub bytes: u64,
    /// Blocks of the device that hold the content, in file order, as the file's extents cut them. Each begins where
    /// the one before ends; between them the file may have holes. None when it is empty or one hole.
    pub extents: Vec<Range<u32>>,
}

/// The regular files of an image, to be found by block.
#[derive(Debug)]
pub struct FileMap {
    /// Files with extents by ascending block, none of which belongs to two; then those without, in path order.
    files: Vec<MappedFile>,
    with_extents: usize,
}

impl FileMap {
    /// Reads the metadata region, the first `metadata_bytes` of the device.
    ///
    /// `read(offset, buffer)` fills the buffer from the device. It is called for one block at a time, mostly upwards,
    /// and never beyond `metadata_bytes`.
    pub fn read(
        metadata_bytes: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Self, FileMapError> {
        Self::read_within(LIMITS, metadata_bytes, read)
    }

    fn read_within(
        limits: Limits,
        metadata_bytes: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Self, FileMapError> {
        let metadata = Metadata::open(metadata_bytes, read)?;
        let types = vec![None; metadata.volume().inodes as usize + 1];
        let walk = Walk {
            limits,
            metadata,
            types,
            path: Vec::new(),
            paths_bytes: 0,
            files: Vec::new(),
        };
        Self::new(walk.run()?)
    }

    /// The same from a metadata region in memory.
    pub fn parse(metadata: &[u8]) -> Result<Self, FileMapError> {
        Self::read(metadata.len() as u64, &mut |offset, buffer| {
            fill(metadata, offset, buffer)
        })
    }

    /// The file to which a block of the device belongs; `None` for metadata and for what lies between files.
    #[must_use]
    pub fn file_of(&self, block: u32) -> Option<&MappedFile> {
        let files = &self.files[..self.with_extents];
        let first = files.partition_point(|file| file.run().end <= block);
        files.get(first).filter(|file| file.run().contains(&block))
    }

    /// All regular files: those with extents by ascending block, then those without in path order.
    #[must_use]
    pub fn files(&self) -> &[MappedFile] {
        &self.files
    }

    fn new(found: Vec<(MappedFile, u64)>) -> Result<Self, FileMapError> {
        let mut found = found;
        // Stable, so that files without blocks stay in path order; no block has the number 2^32 - 1.
        found.sort_by_key(|(file, _)| {
            if file.extents.is_empty() {
                u32::MAX
            } else {
                file.run().start
            }
        });
        let with_extents = found.partition_point(|(file, _)| !file.extents.is_empty());
        for pair in found[..with_extents].windows(2) {
            let [(before, _), (file, inode_offset)] = pair else {
                continue;
            };
            if before.run().end > file.run().start {
                let block = file.run().start;
                return Err(FileMapFault::BlockTwice { block }.at(*inode_offset));
            }
        }
        Ok(Self {
            files: found.into_iter().map(|(file, _)| file).collect(),
            with_extents,
        })
    }
}

impl MappedFile {
    /// All its blocks, which are one run; empty without extents.
    fn run(&self) -> Range<u32> {
        match (self.extents.first(), self.extents.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }
}

/// Fills a buffer from an offset of `bytes`.
fn fill(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(start..).unwrap_or_default();
    let found = rest.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    buffer.copy_from_slice(found);
    Ok(())
}

/// The walk over all names in path order.
struct Walk<'a> {
    limits: Limits,
    metadata: Metadata<'a>,
    /// By inode: what it is, once a name led to it.
    types: Vec<Option<FileType>>,
    /// The name at which the walk stands.
    path: Vec<u8>,
    paths_bytes: usize,
    /// With the offset of each file's inode, for a message.
    files: Vec<(MappedFile, u64)>,
}

/// A directory whose names are being walked.
struct Level {
    inode: u32,
    path_bytes: usize,
    names: Names,
}

impl Walk<'_> {
    fn run(mut self) -> Result<Vec<(MappedFile, u64)>, FileMapError> {
        let root = self.metadata.inode(ROOT_INODE)?;
        if root.file_type != FileType::Directory {
            return Err(FileMapFault::RootNotDirectory.at(root.offset));
        }
        let mut levels = vec![self.open(&root, ROOT_INODE)?];
        while let Some(level) = levels.last_mut() {
            let parent = level.inode;
            self.path.truncate(level.path_bytes);
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            self.path.push(b'/');
            self.path.extend_from_slice(name.text);
            let (number, file_type) = (name.inode, name.file_type);
            let Some(inode) = self.first_visit(number, file_type)? else {
                continue;
            };
            match file_type {
                FileType::Directory if levels.len() >= self.limits.levels_max => {
                    let levels_max = self.limits.levels_max;
                    return Err(FileMapFault::TooDeep { levels_max }.at(inode.offset));
                }
                FileType::Directory => levels.push(self.open(&inode, parent)?),
                FileType::File => self.add_file(&inode)?,
                _ => {}
            }
        }
        Ok(self.files)
    }

    /// The inode that a name gives, if this is its first name.
    fn first_visit(&mut self, number: u32, named: FileType) -> Result<Option<Inode>, FileMapError> {
        let known = self.types[number as usize];
        let inode = match known {
            None => Some(self.metadata.inode(number)?),
            Some(_) => None,
        };
        let found = inode.as_ref().map(|inode| inode.file_type).or(known);
        let fault = match found {
            Some(FileType::Directory) if known.is_some() => FileMapFault::DirectoryTwice { inode: number },
            found if found == Some(named) => {
                self.types[number as usize] = found;
                return Ok(inode);
            }
            _ => FileMapFault::TypesDiffer { inode: number },
        };
        Err(fault.at(self.metadata.volume().inode_offset(number)))
    }

    fn open(&mut self, inode: &Inode, parent: u32) -> Result<Level, FileMapError> {
        Ok(Level {
            inode: inode.number,
            path_bytes: self.path.len(),
            names: directory::read(inode, parent, &mut self.metadata)?,
        })
    }

    fn add_file(&mut self, inode: &Inode) -> Result<(), FileMapError> {
        self.paths_bytes += self.path.len();
        let bytes_max = self.limits.paths_bytes_max;
        if self.paths_bytes > bytes_max {
            return Err(FileMapFault::PathsTooLong { bytes_max }.at(inode.offset));
        }
        let data = self.metadata.volume().data();
        let file = MappedFile {
            path: self.path.clone(),
            bytes: inode.bytes,
            extents: extents::read(inode, &data, &mut self.metadata)?,
        };
        self.files.push((file, inode.offset));
        Ok(())
    }
}
