//! Plain tar layers made here, in unlinked scratch files.
//!
//! Of a zip's entries: owner root, modes and times as given. Of a directory: all as it is. No name of this machine, so
//! the same entries in the same order give the same bytes, and so the same chunks.

use super::zip_entries::{EntryKind, EntrySink, ZipEntry};
use image::source::made::TarLayer;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::vec;
use tar::{Builder, EntryType, Header};

/// Between the tar writer, which writes 512 bytes at a time, and the file.
const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes that a packed directory leaves free on the disk, where the record is, too.
const DISK_SPARE_BYTES: u64 = 128 << 20;

/// Mode and time of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// Seconds since 1970.
    pub(super) modified: u64,
}

/// A layer that is being written.
pub(super) struct LayerWriter {
    builder: Builder<BufWriter<File>>,
}

impl LayerWriter {
    /// In an unlinked file of this directory.
    pub(super) fn create(scratch: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(scratch)?;
        Ok(Self {
            builder: Builder::new(BufWriter::with_capacity(BUFFER_BYTES, file)),
        })
    }

    pub(super) fn directory(&mut self, path: &str, attributes: Attributes) -> io::Result<()> {
        let mut header = header(EntryType::Directory, 0, attributes);
        self.builder.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// `content` must give exactly `bytes` bytes.
    pub(super) fn file(
        &mut self,
        path: &str,
        attributes: Attributes,
        (bytes, content): (u64, &mut dyn Read),
    ) -> io::Result<()> {
        let mut header = header(EntryType::Regular, bytes, attributes);
        self.builder.append_data(&mut header, path, content)
    }

    pub(super) fn link(&mut self, path: &str, target: &str, modified: u64) -> io::Result<()> {
        let attributes = Attributes { mode: 0o777, modified };
        let mut header = header(EntryType::Symlink, 0, attributes);
        self.builder.append_link(&mut header, path, target)
    }

    /// Ends the archive and hashes it.
    pub(super) fn finish(self) -> io::Result<TarLayer> {
        let mut buffer = self.builder.into_inner()?;
        buffer.flush()?;
        let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        TarLayer::new(file)
    }
}

/// A layer that is made of a directory as it is: owners, modes, times.
pub(super) struct TreeWriter {
    builder: Builder<BufWriter<File>>,
}

impl TreeWriter {
    /// In an unlinked file of this directory.
    pub(super) fn create(scratch: &Path) -> io::Result<Self> {
        let LayerWriter { builder } = LayerWriter::create(scratch)?;
        Ok(Self { builder })
    }

    /// Packs a directory, which nobody else changes, under another path. Links are kept and never followed; a socket is
    /// nothing that can be kept, and is left out. `FileTooLarge` as soon as the files are longer than `bytes_max`
    /// together, and `StorageFull` before one that would fill the disk.
    pub(super) fn pack(mut self, directory: &Path, target: &Path, bytes_max: u64) -> io::Result<TarLayer> {
        let mut bytes_left = bytes_max;
        // Deep trees are a function's choice, so there is no recursion.
        let mut open = Vec::new();
        let mut next = Some((directory.to_owned(), target.to_owned()));
        while let Some((path, target)) = next {
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_file() {
                let left = bytes_left.checked_sub(metadata.len());
                bytes_left = left.ok_or(io::ErrorKind::FileTooLarge)?;
                self.require_room(metadata.len())?;
            }
            self.add(&path, &target, &metadata)?;
            if metadata.is_dir() {
                open.push(OpenDirectory::read(path, target)?);
            }
            next = take_next(&mut open);
        }
        LayerWriter { builder: self.builder }.finish()
    }

    fn require_room(&self, bytes: u64) -> io::Result<()> {
        let disk = rustix::fs::fstatvfs(self.builder.get_ref().get_ref())?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < bytes.saturating_add(DISK_SPARE_BYTES) {
            let told =
                format!("{bytes} bytes more would leave fewer than {DISK_SPARE_BYTES} of {free} free: make room");
            return Err(io::Error::new(io::ErrorKind::StorageFull, told));
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, target: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        let builder = &mut self.builder;
        if kind.is_dir() {
            let mut header = owned_header(EntryType::Directory, 0, metadata);
            builder.append_data(&mut header, target, io::empty())
        } else if kind.is_file() {
            let mut header = owned_header(EntryType::Regular, metadata.len(), metadata);
            builder.append_data(&mut header, target, File::open(path)?)
        } else if kind.is_symlink() {
            let mut header = owned_header(EntryType::Symlink, 0, metadata);
            builder.append_link(&mut header, target, fs::read_link(path)?)
        } else if kind.is_fifo() {
            let mut header = owned_header(EntryType::Fifo, 0, metadata);
            builder.append_data(&mut header, target, io::empty())
        } else {
            Ok(())
        }
    }
}

/// A directory that is being packed. How many entries it has is a function's choice, so no paths of theirs are kept.
struct OpenDirectory {
    path: PathBuf,
    target: PathBuf,
    names: vec::IntoIter<OsString>,
}

impl OpenDirectory {
    fn read(path: PathBuf, target: PathBuf) -> io::Result<Self> {
        let names = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(Self {
            path,
            target,
            names: names.into_iter(),
        })
    }
}

/// The path of the next entry, and the one in the layer.
fn take_next(open: &mut Vec<OpenDirectory>) -> Option<(PathBuf, PathBuf)> {
    while let Some(directory) = open.last_mut() {
        if let Some(name) = directory.names.next() {
            return Some((directory.path.join(&name), directory.target.join(&name)));
        }
        open.pop();
    }
    None
}

/// Puts a zip's entries under a directory of the layer.
pub(super) struct UnderDirectory<'a> {
    pub(super) writer: &'a mut LayerWriter,
    /// Without slashes at its ends.
    pub(super) directory: &'a str,
}

impl EntrySink for UnderDirectory<'_> {
    fn take(&mut self, entry: &ZipEntry, content: &mut dyn Read) -> io::Result<()> {
        let path = format!("{}/{}", self.directory, entry.path);
        let attributes = Attributes {
            mode: entry.mode,
            modified: entry.modified,
        };
        match entry.kind {
            EntryKind::Directory => self.writer.directory(&path, attributes),
            EntryKind::File => self.writer.file(&path, attributes, (entry.bytes, content)),
            EntryKind::Link => {
                let mut target = String::new();
                content.read_to_string(&mut target)?;
                self.writer.link(&path, &target, entry.modified)
            }
        }
    }
}

fn owned_header(kind: EntryType, bytes: u64, metadata: &Metadata) -> Header {
    let attributes = Attributes {
        mode: metadata.mode() & 0o7777,
        modified: u64::try_from(metadata.mtime()).unwrap_or(0),
    };
    let mut header = header(kind, bytes, attributes);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header
}

fn header(kind: EntryType, bytes: u64, attributes: Attributes) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(attributes.mode);
    header.set_mtime(attributes.modified);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_name_and_each_below_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        for file in ["b", "a.b", "a/y", "a/x"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let read = |path, target| OpenDirectory::read(path, target).unwrap();
        let mut open = vec![read(directory.path().to_owned(), PathBuf::from("in"))];
        let mut come = Vec::new();
        while let Some((path, target)) = take_next(&mut open) {
            come.push(target.to_str().unwrap().to_owned());
            if path.is_dir() {
                open.push(read(path, target));
            }
        }
        assert_eq!(come, ["in/a", "in/a/x", "in/a/y", "in/a.b", "in/b"]);
    }

    #[test]
    fn what_would_fill_the_disk_is_refused_before_it_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let refused = TreeWriter::create(scratch.path()).unwrap().require_room(1 << 60);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
