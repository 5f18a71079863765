//! Plain tar layers made here, in unlinked scratch files.
//!
//! Deterministic: owner root, modes and times as given, no name of this machine. The same entries in the same order
//! give the same bytes, and so the same chunks.

use super::zip_entries::{EntryKind, EntrySink, ZipEntry};
use image::source::made::TarLayer;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Between the tar writer, which writes 512 bytes at a time, and the file.
const BUFFER_BYTES: usize = 256 * 1024;

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
