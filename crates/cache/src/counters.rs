//! What is counted while the cache works. Adding never waits for another core for longer than an addition takes.

use crate::{LatencyReport, TierReport};
use hdrhistogram::Histogram;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one tier did.
#[derive(Debug, Default)]
pub(crate) struct TierCounters {
    hits: Counter,
    hit_bytes: Counter,
    pub(crate) misses: Counter,
    pub(crate) corrupt: Counter,
    pub(crate) errors: Counter,
    latency: Latency,
}

impl TierCounters {
    pub(crate) fn hit(&self, bytes: usize, took: Duration) {
        self.hits.count();
        self.hit_bytes.add(bytes as u64);
        self.latency.record(took);
    }

    pub(crate) fn report(&self) -> TierReport {
        TierReport {
            hits: self.hits.get(),
            hit_bytes: self.hit_bytes.get(),
            misses: self.misses.get(),
            corrupt: self.corrupt.get(),
            errors: self.errors.get(),
            latency: self.latency.report(),
        }
    }
}

/// Longest time that is told apart: longer ones count as this. An hour is longer than any budget.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Digits that a time keeps: a quantile is within 1 % of the truth, and a histogram needs some 26 KiB, not 190.
const LATENCY_DIGITS: u8 = 2;

/// Histograms for one distribution, each behind a lock of its own; threads are dealt out over them.
const LATENCY_SHARDS: usize = 8;

/// How long something took, as a distribution.
#[derive(Debug)]
struct Latency {
    shards: [Mutex<Histogram<u64>>; LATENCY_SHARDS],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(histogram())),
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, LATENCY_DIGITS).expect("the constants are within the crate's bounds")
}

impl Latency {
    fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        let shard = &self.shards[shard_of_thread()];
        shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(took_us);
    }

    fn report(&self) -> LatencyReport {
        let mut all = histogram();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&*shard).expect("histograms of equal bounds add up");
        }
        LatencyReport {
            count: all.len(),
            mean_us: all.mean(),
            p50_us: all.value_at_quantile(0.5),
            p99_us: all.value_at_quantile(0.99),
            max_us: all.max(),
        }
    }
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % LATENCY_SHARDS);
    }
    SHARD.get()
}
