//! What the daemon tells about its devices. Wire types; `images` fills them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Chunks and their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierStats {
    /// How many chunks.
    pub chunks: u64,
    /// Their bytes as stored.
    pub bytes: u64,
}

/// What became of chunks that were fetched ahead of demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefetchStats {
    /// Chunks that were fetched ahead.
    pub chunks: u64,
    /// Of them, those that were there when they were wanted.
    pub used: u64,
    /// Those that were wanted before they were there.
    pub late: u64,
    /// Those that nobody wanted.
    pub wasted: u64,
    /// Stored bytes of the wasted ones.
    pub wasted_bytes: u64,
}

/// What a tier of the daemon's cache did since the daemon began, for all images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheTierStats {
    /// `memory`, `disk`, `zone` or `origin`.
    pub tier: String,
    /// Good chunks that it gave.
    pub hits: u64,
    /// Stored bytes of those.
    pub bytes: u64,
    /// Times that it had no copy.
    pub misses: u64,
    /// Bad copies, each dropped or asked for again.
    pub corrupt: u64,
    /// Reads that failed.
    pub errors: u64,
    /// Mean time of a hit, in microseconds.
    pub mean_us: f64,
    /// Half of the hits took no longer.
    pub p50_us: u64,
    /// 99 of 100 hits took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Bytes that it holds; 0 for the zone and the origin, which are not this machine's.
    pub held_bytes: u64,
}

/// The daemon's cache since the daemon began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheStats {
    /// In the order in which they are asked.
    pub tiers: Vec<CacheTierStats>,
    /// Answers that were shared with whoever asked first.
    pub joined: u64,
    /// Fetches under way.
    pub in_flight: u64,
    /// Readers that wait for a permit to fetch.
    pub waiting_demands: u64,
    /// Prefetches that wait for one.
    pub waiting_prefetches: u64,
    /// Times that the origin was asked again, after garbage or silence.
    pub retries: u64,
    /// Questions to the origin that were asked a second time because the answer was late.
    pub hedges: u64,
    /// Of them, those whose second answer came first.
    pub hedges_won: u64,
    /// Late answers that were waited for, for want of budget or of a permit.
    pub hedges_spared: u64,
    /// Chunks that were not written to the disk tier, because it was behind.
    pub writes_dropped: u64,
    /// The zone's memcached servers; empty without a zone cache.
    pub zone_nodes: Vec<ZoneNodeStats>,
    /// Chunks that were not written to the zone tier, because it was behind.
    pub zone_writes_dropped: u64,
}

/// One memcached server, since the daemon began or the server joined the fleet. Counts are of fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneNodeStats {
    /// Its address.
    pub node: String,
    /// `asked`, `left alone` or `on trial`.
    pub state: String,
    /// Fragments that it gave.
    pub hits: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Times that it had none.
    pub misses: u64,
    /// Fragments that were damaged.
    pub rejected: u64,
    /// Times that it failed, or did not answer in time.
    pub failures: u64,
    /// Questions that it was spared.
    pub skipped: u64,
    /// Fragments that it was given.
    pub writes: u64,
}

/// The life of an image's unwrapped key in the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyStats {
    /// The key's provider said no: every read that the page cache cannot answer fails.
    pub refused: bool,
    /// How often in a row the provider was asked again and gave no answer.
    pub unanswered: u64,
    /// Seconds since the provider last gave the key.
    pub age_seconds: u64,
}

/// One image's device since it was attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageStats {
    /// The image's name.
    pub name: String,
    /// The manifest's id.
    pub manifest: String,
    /// Bytes of the device.
    pub image_bytes: u64,
    /// Bytes that came from the origin: chunks, manifest, trace and start pack.
    pub fetched_bytes: u64,
    /// Of them, manifest, trace and the start pack's index.
    pub index_bytes: u64,
    /// Chunks by where they came from.
    pub memory: TierStats,
    /// From the worker's disk.
    pub disk: TierStats,
    /// From the zone's memcached servers.
    pub zone: TierStats,
    /// From the origin.
    pub origin: TierStats,
    /// Of all of these, chunks of the start pack.
    pub start_pack: TierStats,
    /// What was fetched ahead of demand.
    pub prefetch: PrefetchStats,
    /// Reads that the kernel sent, after its own cache.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// How its key fares.
    pub key: KeyStats,
    /// Whether the start is still being recorded.
    pub recording: bool,
    /// Directories that it is mounted on.
    pub mounts: Vec<PathBuf>,
    /// The daemon's cache, which all images share.
    pub cache: CacheStats,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountLine {
    /// Where.
    pub directory: PathBuf,
    /// The image.
    pub name: String,
    /// The loop device under it.
    pub device: PathBuf,
    /// Bytes of the device.
    pub image_bytes: u64,
    /// Bytes that came from the origin since the device was attached.
    pub fetched_bytes: u64,
}
