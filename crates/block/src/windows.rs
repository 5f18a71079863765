//! What lies around the chunks that a first start wants.
//!
//! A later start is led by what earlier ones touched; the first has nothing to go by, and would wait a round trip to the
//! origin for one chunk after the other: over a link of 1 Gb/s and 20 ms it was slower than pulling the whole image.
//! But files lie in the order of their paths, so that what a package needs lies together. The first chunk that is
//! wanted of a window has the rest of it fetched, too, behind all that readers wait for. It costs bytes that later
//! starts do not fetch, once for each image.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Chunks of a window: 8 MiB, some 3 MiB as stored, which 1 Gb/s brings in 25 ms, about as long as the round trip that
/// the next chunk in it would have waited.
const WINDOW_CHUNKS: u32 = 16;

/// The windows of a device, and whether each was wanted.
#[derive(Debug)]
pub(crate) struct Windows {
    chunks: u32,
    wanted: Vec<AtomicBool>,
}

impl Windows {
    pub(crate) fn new(chunks: u32) -> Self {
        let windows = chunks.div_ceil(WINDOW_CHUNKS);
        Self {
            chunks,
            wanted: (0..windows).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Notes that a chunk is wanted; gives its window when it is the first of it, what comes after the chunk before
    /// what comes before it.
    pub(crate) fn wanted(&self, number: u32) -> impl Iterator<Item = u32> + use<> {
        let window = number / WINDOW_CHUNKS;
        let known = &self.wanted[window as usize];
        let is_first = !known.load(Ordering::Relaxed) && !known.swap(true, Ordering::Relaxed);
        let range = window * WINDOW_CHUNKS..((window + 1) * WINDOW_CHUNKS).min(self.chunks);
        let (before, after): (Range<u32>, Range<u32>) = if is_first {
            (range.start..number, number + 1..range.end)
        } else {
            (0..0, 0..0)
        };
        after.chain(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_given_once_without_the_chunk_that_is_wanted() {
        let windows = Windows::new(40);
        let given: Vec<u32> = windows.wanted(20).collect();
        assert_eq!(given, (21..32).chain(16..20).collect::<Vec<_>>());
        assert_eq!(windows.wanted(21).count(), 0);
        assert_eq!(windows.wanted(20).count(), 0);
    }

    #[test]
    fn the_last_window_ends_with_the_device() {
        let windows = Windows::new(40);
        assert_eq!(windows.wanted(39).collect::<Vec<_>>(), (32..39).collect::<Vec<_>>());
        assert_eq!(Windows::new(1).wanted(0).count(), 0);
    }
}
