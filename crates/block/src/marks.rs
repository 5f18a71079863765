//! What became of each chunk of a device: fetched ahead, wanted, or both.

use crate::statistics::PrefetchCounts;
use std::sync::atomic::{AtomicU8, Ordering};

/// A fetch ahead of demand has begun.
const AHEAD: u8 = 1;
/// It has ended, and the chunk is in the first tier.
const ARRIVED: u8 = 2;
/// A reader wanted the chunk.
const WANTED: u8 = 4;
/// A reader wanted it before it arrived.
const LATE: u8 = 8;

/// Four bits for each chunk of a device.
#[derive(Debug)]
pub(crate) struct Marks(Vec<AtomicU8>);

impl Marks {
    pub(crate) fn new(chunks: usize) -> Self {
        Self((0..chunks).map(|_| AtomicU8::new(0)).collect())
    }

    /// `false` when the chunk need not be fetched ahead: it is on its way, or somebody wanted it already.
    pub(crate) fn begin(&self, number: u32) -> bool {
        let mark = &self.0[number as usize];
        mark.load(Ordering::Relaxed) & WANTED == 0 && mark.fetch_or(AHEAD, Ordering::Relaxed) & AHEAD == 0
    }

    pub(crate) fn arrived(&self, number: u32) {
        self.0[number as usize].fetch_or(ARRIVED, Ordering::Relaxed);
    }

    pub(crate) fn wanted(&self, number: u32) {
        let mark = &self.0[number as usize];
        let before = mark.load(Ordering::Relaxed);
        if before & WANTED == 0 {
            let late = if before & (AHEAD | ARRIVED) == AHEAD { LATE } else { 0 };
            mark.fetch_or(WANTED | late, Ordering::Relaxed);
        }
    }

    /// Counts by what became of them; `stored_bytes` gives a chunk's bytes by its number.
    pub(crate) fn counts(&self, stored_bytes: impl Fn(usize) -> u64) -> PrefetchCounts {
        let mut counts = PrefetchCounts::default();
        for (number, mark) in self.0.iter().enumerate() {
            let mark = mark.load(Ordering::Relaxed);
            if mark & AHEAD == 0 {
                continue;
            }
            counts.chunks += 1;
            match mark & WANTED {
                0 => {
                    counts.wasted += 1;
                    counts.wasted_bytes += stored_bytes(number);
                }
                _ if mark & LATE != 0 => counts.late += 1,
                _ => counts.used += 1,
            }
        }
        counts
    }
}
