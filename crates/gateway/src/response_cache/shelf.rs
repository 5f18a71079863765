//! The answers of one function, in a table that is bounded in bytes.

use super::key::Key;
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Parts of the table, each with a lock and a share of the room of its own. One: then a function may keep just what it
/// was promised, and a look takes less than a microsecond.
const SHARDS: usize = 1;

/// What the table expects an answer to have, to size what it remembers of evicted ones: an embedding of 768 numbers.
const ANSWER_BYTES_EXPECTED: u64 = 8 * 1024;

/// What an answer costs beside its bytes: key, counters and pointers of the table, the allocations' own. An estimate from
/// the sizes of the structures.
const ANSWER_BYTES_BESIDE: u64 = 256;

/// An answer.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    at: Instant,
}

impl Kept {
    /// A copy, computed at `now`: what a function answered may be a piece of a larger buffer, which it would keep alive.
    pub(crate) fn copy_of(content_type: &str, body: &[u8], now: Instant) -> Self {
        Self {
            content_type: content_type.to_owned(),
            body: Bytes::copy_from_slice(body),
            at: now,
        }
    }

    /// Whether it is younger than this.
    pub(super) fn is_fresh(&self, ttl: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < ttl
    }
}

/// The answers of one function, of all its versions.
#[derive(Debug)]
pub(super) struct Shelf {
    answers: Cache<Key, Arc<Kept>, Weight, DefaultHashBuilder, DefaultLifecycle<Key, Arc<Kept>>>,
    bytes_max: AtomicU64,
    ttl: Mutex<Duration>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Arc<Kept>> for Weight {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        (kept.body.len() + kept.content_type.len()) as u64 + ANSWER_BYTES_BESIDE
    }
}

impl Shelf {
    pub(super) fn new(bytes_max: u64) -> Self {
        let expected = usize::try_from(bytes_max / ANSWER_BYTES_EXPECTED).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(expected.max(1))
            .weight_capacity(bytes_max)
            .shards(SHARDS)
            .build()
            .expect("both capacities are given");
        Self {
            answers: Cache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            bytes_max: AtomicU64::new(bytes_max),
            ttl: Mutex::new(Duration::ZERO),
        }
    }

    /// An answer that is younger than this.
    pub(super) fn get(&self, key: &Key, ttl: Duration, now: Instant) -> Option<Arc<Kept>> {
        let kept = self.answers.get(key)?;
        if kept.is_fresh(ttl, now) {
            return Some(kept);
        }
        self.answers.remove_if(key, |found| Arc::ptr_eq(found, &kept));
        None
    }

    /// Keeps an answer, within the room and for the time that the function's tag gives now. One that is too large for
    /// the room is not kept.
    pub(super) fn put(&self, key: Key, kept: Arc<Kept>, bytes_max: u64, ttl: Duration) {
        if self.bytes_max.swap(bytes_max, Ordering::Relaxed) != bytes_max {
            self.answers.set_capacity(bytes_max);
        }
        *self.ttl.lock().unwrap_or_else(PoisonError::into_inner) = ttl;
        self.answers.insert(key, kept);
    }

    pub(super) fn drop_old(&self, now: Instant) {
        let ttl = *self.ttl.lock().unwrap_or_else(PoisonError::into_inner);
        self.answers.retain(|_, kept| kept.is_fresh(ttl, now));
    }

    /// Lets go of so many bytes, or of all.
    pub(super) fn give_up(&self, bytes: u64) {
        self.answers.set_capacity(self.bytes().saturating_sub(bytes));
        self.answers.set_capacity(self.bytes_max.load(Ordering::Relaxed));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}
