//! A tar file as a set of named parts: nothing is ever extracted.
//!
//! The file's headers are read once; after that a member is a position and a length, read where it lies. A member's
//! name is only ever a key of this index, so a name like `../../etc/passwd` is harmless. Old versions of `docker save`
//! store a repeated layer as a symbolic link to the first one: links are followed inside the index only.
//!
//! A compressed archive is unpacked once into an unlinked scratch file, because gzip has no positions.

use super::decompress::{Compression, MAGIC_BYTES};
use super::error::{ArchiveError, SourceError};
use super::range::Range;
use super::{OpenOptions, scratch};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Members of one archive. An image has a few for each layer; more is not an image.
const MEMBERS_MAX: usize = 16 * 1024;

/// Header bytes read for one index, long names included: the tar crate holds a long name in memory, and a hostile one
/// has no other bound.
const HEADER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Links followed for one member. As in Linux (40) this only has to end a circle.
const LINKS_MAX: usize = 40;

pub(super) struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

enum Member {
    Bytes { start: u64, bytes: u64 },
    Link { target: String },
}

impl Archive {
    /// Indexes the tar file at `path`, compressed or not.
    pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read {
            path: path.to_owned(),
            source,
        };
        let file = open_regular(path).map_err(failed)?;
        let file = plain_file(file, options).map_err(|fault| fault.of_archive(path))?;
        let members = index(&file).map_err(|fault| SourceError::Archive {
            path: path.to_owned(),
            source: fault,
        })?;
        Ok(Self {
            file: Arc::new(file),
            members,
        })
    }

    /// The bytes of a member, found through links; `None` when there is no such member.
    pub(super) fn get(&self, name: &str) -> Option<Range> {
        let mut name = normal(name)?;
        for _ in 0..LINKS_MAX {
            match self.members.get(&name)? {
                Member::Link { target } => name.clone_from(target),
                Member::Bytes { start, bytes } => {
                    return Some(Range {
                        file: Arc::clone(&self.file),
                        start: *start,
                        bytes: *bytes,
                    });
                }
            }
        }
        None
    }
}

/// Opens a file that has a length: a fifo would wait for a writer for ever.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

fn plain_file(file: File, options: &OpenOptions) -> Result<File, scratch::Fault> {
    let mut first = [0; MAGIC_BYTES];
    let read = file.read_at(&mut first, 0).map_err(scratch::Fault::Read)?;
    let compression = Compression::of(&first[..read]);
    if compression == Compression::None {
        return Ok(file);
    }
    let plain = compression
        .reader(BufReader::with_capacity(256 * 1024, file))
        .map_err(scratch::Fault::Read)?;
    scratch::fill(&options.scratch_dir, plain, options.limits.unpacked_bytes_max)
}

fn index(file: &File) -> Result<HashMap<String, Member>, ArchiveError> {
    let bytes = file.metadata()?.len();
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(Headers {
        file,
        position: 0,
        left: HEADER_BYTES_MAX,
    });
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = entry
            .link_name_bytes()
            .map(|name| String::from_utf8_lossy(&name).into_owned());
        let member = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (start, length) = (entry.raw_file_position(), entry.size());
                if start.checked_add(length).is_none_or(|end| end > bytes) {
                    return Err(ArchiveError::Truncated { name, bytes });
                }
                Some(Member::Bytes { start, bytes: length })
            }
            tar::EntryType::Symlink => link.and_then(|link| normal(&beside(&name, &link))).map(into_link),
            tar::EntryType::Link => link.and_then(|link| normal(&link)).map(into_link),
            // Directories, and what no image tool writes at this level: not found is the right answer for those.
            _ => None,
        };
        // The last member of a name counts, as in every tar.
        if let (Some(name), Some(member)) = (normal(&name), member) {
            members.insert(name, member);
        }
        if members.len() > MEMBERS_MAX {
            return Err(ArchiveError::TooManyMembers { max: MEMBERS_MAX });
        }
    }
    if members.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(members)
}

fn into_link(target: String) -> Member {
    Member::Link { target }
}

/// The target of a symbolic link as a name in the archive, not yet normalised.
fn beside(name: &str, link: &str) -> String {
    match name.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) if !link.starts_with('/') => format!("{parent}/{link}"),
        _ => link.to_owned(),
    }
}

/// A name without `.`, `..`, empty parts and leading slash; `None` when it points above the archive's root.
fn normal(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The file as the tar crate reads it: headers and long names, with a bound on how much of both.
struct Headers<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let message = format!("more than {HEADER_BYTES_MAX} bytes of headers: not an image");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(read)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests;
