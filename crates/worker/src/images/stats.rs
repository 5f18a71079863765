//! What the daemon tells about its devices and its cache.

use super::{Attached, Images, not_mounted};
use crate::error::WorkerError;
use crate::protocol::Selector;
use crate::report::{CacheStats, CacheTierStats, ImageStats, MountLine, PrefetchStats, TierStats, ZoneNodeStats};
use block::ChunkCount;
use cache::Tier;
use std::path::PathBuf;

impl Images {
    /// All mounts of all images.
    pub(crate) fn mounts(&self) -> Result<Vec<MountLine>, WorkerError> {
        let mut lines: Vec<MountLine> = Vec::new();
        for (attached, mounts) in self.attached_with_mounts()? {
            let stats = stats(&attached, Vec::new());
            lines.extend(mounts.into_iter().map(|directory| MountLine {
                directory,
                name: stats.name.clone(),
                device: attached.loop_path.clone().unwrap_or_default(),
                image_bytes: stats.image_bytes,
                fetched_bytes: stats.fetched_bytes,
            }));
        }
        lines.sort_by(|one, other| one.directory.cmp(&other.directory));
        Ok(lines)
    }

    /// What an image has read since it was attached.
    pub(crate) fn stats(&self, selector: &Selector) -> Result<ImageStats, WorkerError> {
        let found = self.select(selector)?.into_iter().next();
        let (attached, mounts) = found.ok_or_else(|| not_mounted(selector))?;
        Ok(ImageStats {
            cache: self.cache_stats(),
            ..stats(&attached, mounts)
        })
    }

    /// What the cache that all images share has done since the daemon began.
    pub(crate) fn cache_stats(&self) -> CacheStats {
        cache_stats(&self.parts.shared.cache.report())
    }
}

pub(super) fn stats(attached: &Attached, mounts: Vec<PathBuf>) -> ImageStats {
    let report = attached.device.report();
    let state = &attached.state;
    let index_bytes = (state.manifest.len() + state.trace.len() + state.pack.len()) as u64;
    let tier = |count: ChunkCount| TierStats {
        chunks: count.chunks,
        bytes: count.bytes,
    };
    ImageStats {
        name: state.address.name.clone(),
        manifest: state.address.manifest.to_string(),
        image_bytes: report.device_bytes,
        fetched_bytes: report.origin.bytes + index_bytes,
        index_bytes,
        memory: tier(report.memory),
        disk: tier(report.disk),
        zone: tier(report.zone),
        origin: tier(report.origin),
        start_pack: tier(report.packed),
        prefetch: PrefetchStats {
            chunks: report.prefetch.chunks,
            used: report.prefetch.used,
            late: report.prefetch.late,
            wasted: report.prefetch.wasted,
            wasted_bytes: report.prefetch.wasted_bytes,
        },
        reads: report.reads,
        read_bytes: report.read_bytes,
        failed_reads: report.failed_reads,
        key: attached.lease.stats(attached.device.is_closed()),
        recording: attached.device.recorder().is_recording(),
        mounts,
        cache: CacheStats::default(),
    }
}

fn cache_stats(report: &cache::Report) -> CacheStats {
    let held = |tier| match tier {
        Tier::Memory => report.memory.bytes,
        Tier::Disk => report.disk.map_or(0, |disk| disk.held.bytes),
        Tier::Zone | Tier::Origin => 0,
    };
    let tiers = Tier::ALL.into_iter().map(|tier| {
        let found = report.tier(tier);
        CacheTierStats {
            tier: tier.to_string(),
            hits: found.hits,
            bytes: found.hit_bytes,
            misses: found.misses,
            corrupt: found.corrupt,
            errors: found.errors,
            mean_us: found.latency.mean_us,
            p50_us: found.latency.p50_us,
            p99_us: found.latency.p99_us,
            max_us: found.latency.max_us,
            held_bytes: held(tier),
        }
    });
    CacheStats {
        tiers: tiers.collect(),
        joined: report.joined,
        in_flight: report.origin.in_flight_requests,
        waiting_demands: report.origin.waiting_demands,
        waiting_prefetches: report.origin.waiting_prefetches,
        retries: report.origin.retries,
        hedges: report.origin.hedges,
        hedges_won: report.origin.hedges_won,
        hedges_spared: report.origin.hedges_spared,
        writes_dropped: report.disk.map_or(0, |disk| disk.writes_dropped),
        zone_nodes: report
            .zone
            .iter()
            .flat_map(|zone| &zone.nodes)
            .map(zone_node_stats)
            .collect(),
        zone_writes_dropped: report.zone.as_ref().map_or(0, |zone| zone.writes_dropped),
    }
}

fn zone_node_stats(node: &cache::NodeReport) -> ZoneNodeStats {
    ZoneNodeStats {
        node: node.name.clone(),
        state: node.state.to_owned(),
        hits: node.hits,
        bytes: node.hit_bytes,
        misses: node.misses,
        rejected: node.rejected,
        failures: node.failures,
        skipped: node.skipped,
        writes: node.writes,
    }
}
