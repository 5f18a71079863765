//! Stored bytes on their way to a decoder: hashed, counted, read in long pieces.

use super::digest::{Digest, DigestAlgorithm, Hasher};
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};

/// Hashes and counts the stored bytes as they are read.
pub(super) struct HashedReader<'a> {
    stored: Box<dyn Read + Send>,
    hasher: Hasher,
    bytes: u64,
    progress: &'a AtomicU64,
}

impl<'a> HashedReader<'a> {
    pub(super) fn new(stored: Box<dyn Read + Send>, algorithm: DigestAlgorithm, progress: &'a AtomicU64) -> Self {
        Self {
            stored,
            hasher: Hasher::new(algorithm),
            bytes: 0,
            progress,
        }
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }
}

impl Read for HashedReader<'_> {
    /// Fills the whole buffer where it can, so that the first bytes that a decoder sees hold its magic.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = read_full(&mut self.stored, buffer)?;
        self.hasher.update(&buffer[..filled]);
        self.bytes += filled as u64;
        self.progress.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }
}

/// Reads until `buffer` is full or the bytes end.
pub(super) fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads what a decoder left.
pub(super) fn drain(stored: &mut impl BufRead) -> io::Result<()> {
    loop {
        let length = stored.fill_buf()?.len();
        if length == 0 {
            return Ok(());
        }
        stored.consume(length);
    }
}
