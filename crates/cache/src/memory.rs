//! The nearest tier: sealed chunks in this process's memory.
//!
//! quick_cache keeps them, bounded in bytes and resistant to scans: what is seen once passes through a part of the room
//! and leaves, what is read again stays in the other.
//!
//! How large that part is decides what prefetch is worth. With the crate's default of 3 % two of three prefetched chunks
//! had left before their reader came, and would have been fetched twice. From `benches/eviction.rs`, 512 chunks (the
//! default 256 MiB), prefetches 96 chunks ahead of demands, a scan of everything each night, in per cent:
//!
//! ```text
//! policy                 first reads that hit   prefetched chunks still there
//! plain LRU                      37.3                    100.0
//! quick_cache, hot 0.97          36.9                     37.1
//! quick_cache, hot 0.9           36.9                     37.1
//! quick_cache, hot 0.7           36.1                    100.0   <- this
//! quick_cache, hot 0.5           22.5                    100.0
//! S3-FIFO, small 0.1             37.2                     48.1
//! ```
//! Plain LRU does as well at this size, where a day's starts turn everything over long before a scan does. It falls
//! behind as the room grows: 51.1 against 51.9 at 2,048 chunks, and 68.9 against 85 after a scan at 16,384 (there with
//! hot 0.97). At 224 chunks ahead and 512 of room, every hot part that was tried keeps 37.5: prefetches that far ahead
//! of their readers leave memory, and the disk has to have them.

use bytes::Bytes;
use chunk::{CHUNK_BYTES, ChunkId};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of the table, each with a lock and a share of the room of its own. One: a read with
/// its share of evictions takes 0.3 µs in the bench, beside 120 µs for hashing a chunk, and four parts of 128 chunks
/// each kept fewer prefetches (hot 0.9, 32 ahead: 37 % against 100 %).
const SHARDS: usize = 1;

/// What the table expects, to size what it remembers of evicted chunks: compressed chunks of about half their size.
const CHUNK_BYTES_EXPECTED: u64 = CHUNK_BYTES as u64 / 2;

/// Chunks' memory is counted in whole pages, and one more for the slack of an aligned read and the table's own entry.
const PAGE_BYTES: u64 = 4096;

/// Chunks up to this size are copied on their way in: a short body may be a slice of a connection's read buffer
/// (hyper's grows to some 400 KiB), which it would keep alive. Longer ones have been joined in memory of their own.
const COPY_BYTES_MAX: usize = 128 * 1024;

/// The part of the room that is for chunks that were read again; in the rest a chunk waits to be. Measured: see above.
const HOT_PART: f64 = 0.7;

/// Sealed chunks, unchecked since they were put in.
#[derive(Debug)]
pub(crate) struct Memory {
    chunks: Cache<ChunkId, Bytes, Weight, DefaultHashBuilder, Evictions>,
    bytes_limit: u64,
    evictions: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<ChunkId, Bytes> for Weight {
    fn weight(&self, _: &ChunkId, stored: &Bytes) -> u64 {
        (stored.len() as u64).next_multiple_of(PAGE_BYTES) + PAGE_BYTES
    }
}

#[derive(Clone, Debug)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<ChunkId, Bytes> for Evictions {
    /// Freed when the table's lock is no longer held.
    type RequestState = Vec<Bytes>;

    fn on_evict(&self, freed: &mut Vec<Bytes>, _: ChunkId, stored: Bytes) {
        self.0.fetch_add(1, Ordering::Relaxed);
        freed.push(stored);
    }
}

impl Memory {
    pub(crate) fn new(bytes_limit: u64) -> Self {
        Self::with_hot_part(bytes_limit, HOT_PART)
    }

    /// With another part for chunks that were read again than [`HOT_PART`]: for the bench that chose it.
    pub(crate) fn with_hot_part(bytes_limit: u64, hot_part: f64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity((bytes_limit / CHUNK_BYTES_EXPECTED) as usize)
            .weight_capacity(bytes_limit)
            .hot_allocation(hot_part)
            .build()
            .expect("both capacities are given");
        let lifecycle = Evictions(Arc::clone(&evictions));
        Self {
            chunks: Cache::with_options(options, Weight, DefaultHashBuilder::default(), lifecycle),
            bytes_limit,
            evictions,
        }
    }

    pub(crate) fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.chunks.get(id)
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    pub(crate) fn insert(&self, id: ChunkId, stored: &Bytes) {
        let stored = if stored.len() <= COPY_BYTES_MAX {
            Bytes::copy_from_slice(stored)
        } else {
            stored.clone()
        };
        self.chunks.insert(id, stored);
    }

    /// Drops this very copy; a good one that took its place meanwhile stays.
    pub(crate) fn drop_copy(&self, id: &ChunkId, bad: &Bytes) {
        self.chunks.remove_if(id, |held| held.as_ptr() == bad.as_ptr());
    }

    pub(crate) fn bytes_held(&self) -> u64 {
        self.chunks.weight()
    }

    pub(crate) fn chunks_held(&self) -> u64 {
        self.chunks.len() as u64
    }

    pub(crate) const fn bytes_limit(&self) -> u64 {
        self.bytes_limit
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}
