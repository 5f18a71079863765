//! Bytes that can be read at any offset: a layer in a file, or in memory for tests and fuzzing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Random access to a fixed number of bytes.
pub trait ReadAt {
    /// How many bytes there are.
    fn bytes(&self) -> u64;

    /// Fills `buffer` from `offset`; `UnexpectedEof` when it would reach past the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the part starts, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

impl ReadAt for FileRange {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer.len(), offset, self.bytes)?;
        self.file.read_exact_at(buffer, self.start + offset)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer.len(), offset, self.bytes())?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(&self[start..start + buffer.len()]);
        Ok(())
    }
}

/// Refuses what would reach past the end.
fn check_range(wanted: usize, offset: u64, bytes: u64) -> io::Result<()> {
    match offset.checked_add(wanted as u64) {
        Some(end) if end <= bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
