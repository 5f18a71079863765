//! What the tiers of a daemon's cache gave, as tables.

use crate::output::{self, bytes, percent};
use worker::CacheStats;

/// The tiers in the order in which they are asked, then the zone's servers, if there are any.
pub(super) fn print(cache: &CacheStats) {
    println!("\n{}", tiers(cache));
    if cache.hedges + cache.hedges_spared > 0 {
        println!(
            "\n{} late answers of the origin were asked for a second time, {} came sooner so; {} were waited for",
            cache.hedges, cache.hedges_won, cache.hedges_spared
        );
    }
    if !cache.zone_nodes.is_empty() {
        println!("\n{}", zone_nodes(cache));
    }
}

fn tiers(cache: &CacheStats) -> String {
    let all: u64 = cache.tiers.iter().map(|tier| tier.hits).sum();
    let rows = cache.tiers.iter().map(|tier| {
        [
            tier.tier.clone(),
            tier.hits.to_string(),
            percent(tier.hits, all),
            bytes(tier.bytes),
            tier.misses.to_string(),
            tier.corrupt.to_string(),
            tier.errors.to_string(),
            tier.p50_us.to_string(),
            tier.p99_us.to_string(),
            bytes(tier.held_bytes),
        ]
    });
    let header = [
        "the daemon's cache",
        "hits",
        "of all",
        "",
        "misses",
        "corrupt",
        "errors",
        "p50 µs",
        "p99 µs",
        "holds",
    ];
    output::table(header, rows)
}

fn zone_nodes(cache: &CacheStats) -> String {
    let rows = cache.zone_nodes.iter().map(|node| {
        let counts = [
            node.hits,
            node.misses,
            node.rejected,
            node.failures,
            node.skipped,
            node.writes,
        ];
        let [hits, misses, rejected, failures, skipped, writes] = counts.map(|count| count.to_string());
        let (name, state) = (node.node.clone(), node.state.clone());
        [
            name,
            state,
            hits,
            bytes(node.bytes),
            misses,
            rejected,
            failures,
            skipped,
            writes,
        ]
    });
    let header = [
        "the zone's servers",
        "",
        "hits",
        "",
        "misses",
        "rejected",
        "failures",
        "spared",
        "writes",
    ];
    output::table(header, rows)
}
