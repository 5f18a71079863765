//! The file of slots: whole chunks in and out, past the page cache where that is allowed.
//!
//! O_DIRECT wants memory, file offsets and lengths in whole blocks. Slots begin on blocks; lengths are rounded up, and
//! what is read beyond the chunk is cut off; memory is aligned by allocating a block too much and beginning inside.

use bytes::Bytes;
use chunk::CHUNK_BYTES;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A multiple of what any device that we know wants: 512 or 4,096 bytes.
const BLOCK_BYTES: usize = 4096;

/// The owner's alone. The bytes are sealed; how many there are, and when, is nobody's business either.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Slots of [`CHUNK_BYTES`] each.
#[derive(Debug)]
pub(crate) struct SlotFile {
    file: File,
    direct: bool,
}

impl SlotFile {
    /// Opens or makes the file; without O_DIRECT where the file system has none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let (file, direct) = match rustix::fs::open(path, flags | OFlags::DIRECT, FILE_MODE) {
            Ok(file) => (file, true),
            Err(Errno::INVAL) => (rustix::fs::open(path, flags, FILE_MODE)?, false),
            Err(error) => return Err(error.into()),
        };
        let file = File::from(file);
        Ok(Self { file, direct })
    }

    pub(crate) const fn direct(&self) -> bool {
        self.direct
    }

    /// Gives back the space of slots that are no longer used, those from `slots` on.
    pub(crate) fn truncate(&self, slots: usize) -> io::Result<()> {
        let bytes = slots as u64 * CHUNK_BYTES as u64;
        if self.file.metadata()?.len() > bytes {
            self.file.set_len(bytes)?;
        }
        Ok(())
    }

    /// The first `stored_bytes` of a slot, whatever they are.
    pub(crate) fn read(&self, slot: u32, stored_bytes: usize) -> io::Result<Bytes> {
        let mut block = Blocks::zeroed(stored_bytes);
        self.file.read_exact_at(block.as_mut(), slot_offset(slot))?;
        Ok(block.into_bytes(stored_bytes))
    }

    /// Writes a chunk to the beginning of a slot.
    pub(crate) fn write(&self, slot: u32, stored: &[u8]) -> io::Result<()> {
        let mut block = Blocks::zeroed(stored.len());
        block.as_mut()[..stored.len()].copy_from_slice(stored);
        self.file.write_all_at(block.as_mut(), slot_offset(slot))
    }
}

const fn slot_offset(slot: u32) -> u64 {
    slot as u64 * CHUNK_BYTES as u64
}

/// Whole blocks of memory that begin on a block's boundary.
struct Blocks {
    /// One block longer than needed.
    memory: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Blocks {
    fn zeroed(bytes: usize) -> Self {
        let length = bytes.next_multiple_of(BLOCK_BYTES);
        let memory = vec![0; length + BLOCK_BYTES];
        let begin = memory.as_ptr().align_offset(BLOCK_BYTES);
        // `align_offset` may give up in theory; then the kernel refuses the call, and the tier is left out.
        let begin = begin.min(BLOCK_BYTES);
        Self { memory, begin, length }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.length]
    }

    /// The first bytes, without a copy: the slack stays allocated as long as they live.
    fn into_bytes(self, bytes: usize) -> Bytes {
        Bytes::from(self.memory).slice(self.begin..self.begin + bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_long_enough() {
        for bytes in [1, 4095, 4096, 4097, CHUNK_BYTES - 1, CHUNK_BYTES] {
            let mut block = Blocks::zeroed(bytes);
            let memory = block.as_mut();
            assert_eq!(memory.as_ptr().align_offset(BLOCK_BYTES), 0, "{bytes}");
            assert_eq!(memory.len(), bytes.next_multiple_of(BLOCK_BYTES), "{bytes}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = SlotFile::open(&directory.path().join("chunks")).unwrap();
        for (slot, bytes) in [(3, 1), (0, CHUNK_BYTES), (1, 5000)] {
            let stored: Vec<u8> = (0..bytes).map(|at| (at * 7 + slot) as u8).collect();
            file.write(slot as u32, &stored).unwrap();
            assert_eq!(file.read(slot as u32, bytes).unwrap(), stored);
        }
        assert!(file.read(9, 1).is_err(), "a slot that was never written");
    }
}
