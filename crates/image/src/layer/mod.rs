//! One layer: a tar stream read as a sequence of entries.
//!
//! Only headers are read here. An entry says where its content lies in the stream, and whoever places the content
//! reads it from there, once, in the order of the device. That is why layers must be seekable: the order of a tar
//! stream is not the order of the image, and content that a later layer replaces is never read at all.
//!
//! Understood: v7, ustar, GNU (long names, base-256 numbers, old sparse files) and PAX (path, linkpath, size, uid,
//! gid, mtime, `SCHILY.xattr.*`, `SCHILY.acl.*`, the three GNU sparse formats), local and global. Names are bytes.
//! Sources: POSIX.1-2017 `pax`; the manual of GNU tar, "Basic Tar Format" and "Storing Sparse Files".

mod error;
mod follow;
mod header;
mod pax;
mod sparse;

pub use error::{LayerError, LayerFault};
pub(crate) use follow::{Follower, Stretch};

use crate::read_at::ReadAt;
use crate::tree::{Metadata, Timestamp};
use crate::xattr::{self, Xattrs};
use header::{BLOCK_BYTES, Header, TypeFlag};
use pax::PaxRecords;

/// Longest name or extended header that is read: a PAX header carries extended attributes of up to 64 KiB each.
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes read at once while walking headers; small files' content comes along and saves system calls.
const WINDOW_BYTES: usize = 64 * 1024;

/// One member of a layer.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerEntry {
    /// The path as the archive gives it, unchecked.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Mode, owner and time.
    pub metadata: Metadata,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What an entry creates.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// One more name for the file with this path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// Something that a file system image cannot hold, such as a socket; its type flag.
    Unsupported(u8),
}

/// Major and minor number of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// Where a file's bytes lie in the layer.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// Length of the file.
    pub bytes: u64,
    /// Data by ascending file offset without overlap; what is not covered is a hole.
    pub pieces: Vec<Piece>,
}

/// A run of a file's bytes in the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the file.
    pub file_offset: u64,
    /// Offset in the layer's plain tar stream.
    pub layer_offset: u64,
    /// Length, never 0.
    pub bytes: u64,
}

/// Walks a layer's entries.
pub struct LayerReader<R> {
    window: Window<R>,
    /// Where the next header starts.
    next_header: u64,
    global: PaxRecords,
    ended: bool,
}

impl<R: ReadAt> LayerReader<R> {
    /// Reads the tar stream in `layer`.
    pub fn new(layer: R) -> Self {
        let window = Window {
            layer,
            start: 0,
            bytes: Vec::new(),
        };
        Self {
            window,
            next_header: 0,
            global: PaxRecords::default(),
            ended: false,
        }
    }

    /// The next entry, or `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<LayerEntry>, LayerError> {
        let mut extensions = Extensions::default();
        while let Some((position, header)) = self.next_header()? {
            let at = |fault| LayerError { position, fault };
            let flag = header.type_flag();
            if !flag.is_extension() {
                let entry = self.entry(position, &header, extensions).map_err(at)?;
                return Ok(Some(entry));
            }
            let body = self.extension_body(position, &header).map_err(at)?;
            match flag {
                TypeFlag::GnuLongName => extensions.long_name = Some(without_nul(body)),
                TypeFlag::GnuLongLink => extensions.long_link = Some(without_nul(body)),
                TypeFlag::PaxGlobal => self.global.merge(PaxRecords::decode(&body).map_err(at)?),
                _ => extensions.pax.merge(PaxRecords::decode(&body).map_err(at)?),
            }
        }
        match extensions.is_empty() {
            true => Ok(None),
            false => Err(LayerError {
                position: self.next_header,
                fault: LayerFault::ExtensionWithoutEntry,
            }),
        }
    }

    /// The next header that is not padding, with its position.
    fn next_header(&mut self) -> Result<Option<(u64, Header)>, LayerError> {
        let position = self.next_header;
        if self.ended || position == self.window.layer.bytes() {
            return Ok(None);
        }
        let at = |fault| LayerError { position, fault };
        let block = self.window.block(position).map_err(at)?;
        if block == [0; BLOCK_BYTES] {
            // POSIX ends an archive with two zero blocks; archives that end with one, or with none, are common.
            self.ended = true;
            return Ok(None);
        }
        let header = Header::decode(block).map_err(at)?;
        self.next_header = position + BLOCK_BYTES as u64;
        Ok(Some((position, header)))
    }

    fn extension_body(&mut self, position: u64, header: &Header) -> Result<Vec<u8>, LayerFault> {
        let bytes = header.size()?;
        if bytes > EXTENSION_BYTES_MAX {
            return Err(LayerFault::ExtensionTooLong {
                bytes,
                bytes_max: EXTENSION_BYTES_MAX,
            });
        }
        let mut body = vec![0; bytes as usize];
        self.window
            .layer
            .read_exact_at(&mut body, position + BLOCK_BYTES as u64)?;
        self.skip_content(bytes)?;
        Ok(body)
    }

    fn entry(&mut self, position: u64, header: &Header, extensions: Extensions) -> Result<LayerEntry, LayerFault> {
        let pax = self.global.overlaid_by(extensions.pax);
        let path = match (&pax.sparse.name, &pax.path, extensions.long_name) {
            (Some(name), _, _) | (None, Some(name), _) => name.clone(),
            (None, None, Some(name)) => name,
            (None, None, None) => header.path(),
        };
        let link = match (&pax.link_path, extensions.long_link) {
            (Some(link), _) => link.clone(),
            (None, Some(link)) => link,
            (None, None) => header.link_name(),
        };
        let flag = directory_if_named_so(header.type_flag(), &path);
        let kind = match flag {
            TypeFlag::Regular | TypeFlag::GnuSparse => EntryKind::File(self.content(position, header, &pax)?),
            TypeFlag::Directory => EntryKind::Directory,
            TypeFlag::Symlink => EntryKind::Symlink(link),
            TypeFlag::HardLink => EntryKind::HardLink(link),
            TypeFlag::CharDevice => EntryKind::CharDevice(header.device()?),
            TypeFlag::BlockDevice => EntryKind::BlockDevice(header.device()?),
            TypeFlag::Fifo => EntryKind::Fifo,
            TypeFlag::Other(_) | TypeFlag::PaxGlobal | TypeFlag::PaxLocal => {
                EntryKind::Unsupported(header.raw_type_flag())
            }
            TypeFlag::GnuLongName | TypeFlag::GnuLongLink => EntryKind::Unsupported(header.raw_type_flag()),
        };
        if let EntryKind::Unsupported(_) | EntryKind::Directory = kind {
            self.skip_content(pax.size.map_or_else(|| header.size(), Ok)?)?;
        }
        Ok(LayerEntry {
            path,
            kind,
            metadata: metadata(header, &pax)?,
            xattrs: xattr::from_pax(&pax.xattrs)?,
        })
    }

    /// Where a file's content lies; moves on to the header behind it.
    fn content(&mut self, position: u64, header: &Header, pax: &PaxRecords) -> Result<Content, LayerFault> {
        let stored_bytes = pax.size.map_or_else(|| header.size(), Ok)?;
        let body = position + BLOCK_BYTES as u64;
        if header.type_flag() == TypeFlag::GnuSparse {
            let (map, map_bytes) = sparse::from_old_gnu(header, |offset| self.window.block(body + offset))?;
            self.next_header = body + map_bytes;
            self.skip_content(stored_bytes)?;
            return map.place(body + map_bytes, stored_bytes);
        }
        self.skip_content(stored_bytes)?;
        if let Some((map, map_bytes)) =
            sparse::from_pax(&pax.sparse, stored_bytes, |offset| self.window.block(body + offset))?
        {
            return map.place(body + map_bytes, stored_bytes - map_bytes);
        }
        let whole = Piece {
            file_offset: 0,
            layer_offset: body,
            bytes: stored_bytes,
        };
        Ok(Content {
            bytes: stored_bytes,
            pieces: if stored_bytes == 0 { vec![] } else { vec![whole] },
        })
    }

    /// Moves past `bytes` of content and its padding.
    fn skip_content(&mut self, bytes: u64) -> Result<(), LayerFault> {
        let end = self
            .next_header
            .checked_add(bytes)
            .filter(|end| *end <= self.window.layer.bytes());
        let end = end.ok_or(LayerFault::ContentCutShort { bytes })?;
        // Padding behind the last entry may be missing: writers that crash after the content are not our concern,
        // the layer's digest is.
        self.next_header = end.next_multiple_of(BLOCK_BYTES as u64).min(self.window.layer.bytes());
        Ok(())
    }
}

/// Headers that precede the entry that they describe.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: PaxRecords,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax == PaxRecords::default()
    }
}

/// The stretch of the layer that was read last.
struct Window<R> {
    layer: R,
    start: u64,
    bytes: Vec<u8>,
}

impl<R: ReadAt> Window<R> {
    fn block(&mut self, offset: u64) -> Result<[u8; BLOCK_BYTES], LayerFault> {
        let end = offset
            .checked_add(BLOCK_BYTES as u64)
            .filter(|end| *end <= self.layer.bytes());
        let end = end.ok_or(LayerFault::HeaderCutShort)?;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            // At least the block, so that one that is absent is an error of reading.
            let length = self.layer.readable_bytes(offset).min(WINDOW_BYTES as u64) as usize;
            let length = length.max(BLOCK_BYTES);
            self.bytes.resize(length, 0);
            self.start = offset;
            self.layer.read_exact_at(&mut self.bytes, offset)?;
        }
        let at = (offset - self.start) as usize;
        let block = self.bytes[at..]
            .first_chunk()
            .expect("the window holds the whole block");
        Ok(*block)
    }
}

/// A v7 archive marks a directory by a slash at the end of a regular file's name.
fn directory_if_named_so(flag: TypeFlag, path: &[u8]) -> TypeFlag {
    if flag == TypeFlag::Regular && path.ends_with(b"/") {
        TypeFlag::Directory
    } else {
        flag
    }
}

fn metadata(header: &Header, pax: &PaxRecords) -> Result<Metadata, LayerFault> {
    Ok(Metadata {
        mode: header.mode()?,
        uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
        gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
        modified: pax
            .modified
            .map_or_else(|| header.modified_seconds().map(Timestamp::from_seconds), Ok)?,
    })
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(length);
    name
}

#[cfg(test)]
mod tests;
