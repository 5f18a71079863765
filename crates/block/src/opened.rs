//! Plaintext of the chunks that were opened last.
//!
//! The kernel asks for 4 KiB to 1 MiB at a time, often for several parts of one chunk at once. Without this, each part
//! would check, decrypt and decompress the whole chunk again. A chunk that several threads want is opened by one of
//! them while the others wait; when it fails, the next of them tries for itself.
//!
//! Entries are named by chunk id, so two devices that hold the same chunk share its plaintext: each found the id in a
//! manifest whose key it has, and so could open the chunk itself.

use bytes::Bytes;
use chunk::{CHUNK_BYTES, ChunkId};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};

/// Bytes of plaintext that are kept, by default: 128 chunks, the sequential reads of 32 workers with two chunks each,
/// and as many that a prefetch opened ahead of them.
pub const OPENED_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// A bounded set of opened chunks, shared by all devices of a daemon.
#[derive(Debug)]
pub struct OpenedChunks {
    chunks: Cache<ChunkId, Bytes, ChunkWeight>,
}

#[derive(Clone, Debug)]
struct ChunkWeight;

impl Weighter<ChunkId, Bytes> for ChunkWeight {
    fn weight(&self, _: &ChunkId, _: &Bytes) -> u64 {
        CHUNK_BYTES as u64
    }
}

impl OpenedChunks {
    /// Keeps at most `bytes_max` bytes of plaintext, and at least one chunk.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = bytes_max.max(CHUNK_BYTES as u64);
        let entries = (bytes_max / CHUNK_BYTES as u64) as usize;
        Self {
            chunks: Cache::with_weighter(entries, bytes_max, ChunkWeight),
        }
    }

    /// The plaintext, if it is here.
    #[must_use]
    pub fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.chunks.get(id)
    }

    /// The plaintext, opened by `open` unless it is here or another thread is about to have it.
    pub fn get_or_open<E>(&self, id: &ChunkId, open: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Bytes, E> {
        match self.chunks.get_value_or_guard(id, None) {
            GuardResult::Value(plaintext) => Ok(plaintext),
            // No time limit was given, so this arm means the same as the guard: nobody else has it.
            GuardResult::Timeout => open().map(Bytes::from),
            GuardResult::Guard(guard) => {
                let plaintext = Bytes::from(open()?);
                // Refused only when the entry was replaced meanwhile, which is as good.
                let _ = guard.insert(plaintext.clone());
                Ok(plaintext)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn id(number: u32) -> ChunkId {
        ChunkId::of(&number.to_le_bytes())
    }

    #[test]
    fn one_thread_opens_for_all() {
        let opened = OpenedChunks::new(OPENED_BYTES_DEFAULT);
        let opens = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let found = opened.get_or_open(&id(1), || {
                        opens.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, ()>(vec![7; CHUNK_BYTES])
                    });
                    assert_eq!(found.unwrap(), vec![7; CHUNK_BYTES]);
                });
            }
        });
        assert_eq!(opens.into_inner(), 1);
    }

    #[test]
    fn a_failure_is_not_shared() {
        let opened = OpenedChunks::new(OPENED_BYTES_DEFAULT);
        assert_eq!(opened.get_or_open(&id(1), || Err("no")), Err("no"));
        assert_eq!(opened.get(&id(1)), None);
        let found = opened.get_or_open(&id(1), || Ok::<_, ()>(vec![1]));
        assert_eq!(found, Ok(Bytes::from(vec![1])));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let opened = OpenedChunks::new(4 * CHUNK_BYTES as u64);
        for number in 0..100 {
            opened
                .get_or_open(&id(number), || Ok::<_, ()>(vec![0; CHUNK_BYTES]))
                .unwrap();
        }
        let kept = (0..100).filter(|number| opened.get(&id(*number)).is_some()).count();
        assert!((1..=4).contains(&kept), "{kept} are kept");
    }
}
