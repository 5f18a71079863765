//! A part of a file, read by position.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// `bytes` bytes of `file` from `start` on. Reading moves no shared file position, so many threads may read at once.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

impl Range {
    pub(super) fn reader(&self) -> RangeReader {
        RangeReader {
            range: self.clone(),
            offset: 0,
        }
    }
}

/// Reads a range from its start to its end; a file that became shorter meanwhile is an error, not an end.
pub(super) struct RangeReader {
    range: Range,
    offset: u64,
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.bytes - self.offset;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let position = self.range.start + self.offset;
        let read = self.range.file.read_at(&mut buffer[..wanted], position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        Ok(read)
    }
}
