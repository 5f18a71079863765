//! A part of a file that is read at offsets, so that it does not matter who else moves the file's own position.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Reads from `position` to `end`, or to the file's end where that comes first.
pub(super) struct Section {
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    pub(super) end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
