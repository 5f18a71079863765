//! What a cache has done and holds, at one moment. Counts begin at 0 when the cache is opened.

use crate::Tier;

/// All that a cache tells about itself. The numbers are read one after the other, not in one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What each tier did, in the order of [`Tier::ALL`].
    pub tiers: [TierReport; Tier::ALL.len()],
    /// Answers that were shared: calls that waited for another's fetch or disk read and took its chunk.
    pub joined: u64,
    /// What the memory tier holds.
    pub memory: HeldReport,
    /// The disk tier; `None` when it was not asked for or could not be opened.
    pub disk: Option<DiskReport>,
    /// The zone tier; `None` when it was not asked for.
    pub zone: Option<ZoneReport>,
    /// What is going on at the origin.
    pub origin: OriginReport,
}

impl Report {
    /// What one tier did.
    #[must_use]
    pub const fn tier(&self, tier: Tier) -> &TierReport {
        &self.tiers[tier.index()]
    }
}

/// What one tier did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierReport {
    /// Good chunks that it gave, counted once for all that shared them.
    pub hits: u64,
    /// Stored bytes of those.
    pub hit_bytes: u64,
    /// Times that it had no good copy. Memory's are counted in `get`, not in `memory`, which precedes it; the disk's
    /// when a chunk comes from beyond or the origin is asked; the origin's are chunks that it does not have.
    pub misses: u64,
    /// Copies with another hash than their name; each was dropped, or asked for again. The zone's are fragments.
    pub corrupt: u64,
    /// Reads that failed, or ran out of time.
    pub errors: u64,
    /// How long the hits took, with the hash; for the origin with repeated attempts, without the wait for a permit.
    pub latency: LatencyReport,
}

/// A distribution of times, in microseconds, within 1 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyReport {
    /// How many times were taken.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half took no longer.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What a tier holds, of what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldReport {
    /// Chunks.
    pub chunks: u64,
    /// Bytes, as they count against the limit: memory in whole pages and one more, disk in whole slots.
    pub bytes: u64,
    /// Most bytes.
    pub bytes_limit: u64,
    /// Chunks that made room for others.
    pub evictions: u64,
}

/// The disk tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskReport {
    /// What it holds.
    pub held: HeldReport,
    /// Chunks written.
    pub writes: u64,
    /// Chunks not written because the disk was behind.
    pub writes_dropped: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Whether chunks are still written; off after repeated errors.
    pub writing: bool,
    /// Whether reads and writes pass the page cache by.
    pub direct: bool,
}

/// The zone tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneReport {
    /// The servers of the moment.
    pub nodes: Vec<NodeReport>,
    /// Fragments that nodes were given and keep.
    pub fragments_written: u64,
    /// Fragments that were lost on the way: the node was left alone, failed, or refused.
    pub fragments_failed: u64,
    /// Chunks that were not written because the nodes were behind.
    pub writes_dropped: u64,
    /// Chunks that were read though something of them was missing or cut in another way, and were mended.
    pub repairs: u64,
}

/// One memcached server, since it is in the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// As the fleet's file names it.
    pub name: String,
    /// `asked`; `left alone` after failures; `on trial` when one question is out to see.
    pub state: &'static str,
    /// Fragments that it gave, needed or not.
    pub hits: u64,
    /// Their bytes.
    pub hit_bytes: u64,
    /// Times that it had nothing.
    pub misses: u64,
    /// Fragments that were damaged, or not what was asked for.
    pub rejected: u64,
    /// Times that it could not be reached, refused the password, broke off, or did not answer in time.
    pub failures: u64,
    /// Questions that it was spared while it was left alone, or was behind.
    pub skipped: u64,
    /// Fragments that it was given.
    pub writes: u64,
    /// Fragments that it did not want.
    pub writes_refused: u64,
}

/// What is going on at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginReport {
    /// Fetches under way.
    pub in_flight_requests: u64,
    /// Bytes that they are expected to bring.
    pub in_flight_bytes: u64,
    /// Demands that wait for a permit.
    pub waiting_demands: u64,
    /// Prefetches that wait for a permit.
    pub waiting_prefetches: u64,
    /// Times that a chunk was asked for again, after garbage or silence.
    pub retries: u64,
    /// Questions that were asked a second time because the answer was late.
    pub hedges: u64,
    /// Of them, those whose second answer was good and came first.
    pub hedges_won: u64,
    /// Late answers that were waited for, for want of budget or of a permit.
    pub hedges_spared: u64,
}
