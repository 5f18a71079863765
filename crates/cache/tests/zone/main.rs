//! The zone tier over real memcached servers, started and killed by these tests.
//!
//! Needs Debian's `memcached`, `sasl2-bin` and `openssl`, which `cargo xtask setup` installs.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and its helpers too")]

mod access;
mod conformance;
mod faults;
mod proxy;
mod servers;
mod shelf;
mod storm;

use cache::{Cache, NodeReport, Report, Settings, Tier, Urgency, ZoneReport};
use proxy::{Proxy, Trouble};
use servers::{FleetFile, Memcached, until};
use shelf::Shelf;
use std::sync::Arc;

/// No memory and no disk: every hit is the zone's.
fn settings(fleet: &FleetFile) -> Settings {
    Settings {
        memory_bytes: 0,
        zone_fleet: Some(fleet.path()),
        ..Settings::default()
    }
}

fn open(fleet: &FleetFile, shelf: &Arc<Shelf>) -> Cache {
    Cache::open(settings(fleet), shelf.clone()).unwrap()
}

/// Reads every chunk, checks every byte, and gives how many came from the zone.
async fn read_all(cache: &Cache, shelf: &Shelf) -> usize {
    let mut from_zone = 0;
    for (address, stored) in shelf.chunks() {
        let (chunk, tier) = cache.get(*address, Urgency::Demand).await.unwrap();
        assert_eq!(chunk.stored(), stored);
        from_zone += usize::from(tier == Tier::Zone);
    }
    from_zone
}

/// Fetches every chunk from the origin, as a worker that was here before did, and waits until the zone has them.
async fn fill(fleet: &FleetFile, shelf: &Arc<Shelf>) {
    let cache = open(fleet, shelf);
    read_all(&cache, shelf).await;
    cache.close().await;
    let zone = zone(&cache);
    assert_eq!((zone.writes_dropped, zone.fragments_failed), (0, 0), "{zone:?}");
}

/// Whether every node has a fragment of each of its chunks. Reading to find out mends what is missing.
async fn is_whole(fleet: &FleetFile, shelf: &Arc<Shelf>) -> bool {
    let probe = open(fleet, shelf);
    read_all(&probe, shelf).await;
    let nodes = zone(&probe).nodes.len().min(5);
    // Late answers are counted, too.
    until("all have answered", async || {
        let answers = zone(&probe).nodes.into_iter().map(|node| node.hits + node.misses);
        answers.sum::<u64>() == (nodes * shelf.chunks().len()) as u64
    })
    .await;
    probe.close().await;
    let zone = zone(&probe);
    zone.repairs == 0 && zone.nodes.iter().all(|node| node.misses == 0)
}

fn zone(cache: &Cache) -> ZoneReport {
    let Report { zone, .. } = cache.report();
    zone.unwrap()
}

fn node(cache: &Cache, name: &str) -> NodeReport {
    let nodes = zone(cache).nodes;
    nodes.into_iter().find(|node| node.name == name).unwrap()
}

/// So many servers, each behind a proxy that can make trouble.
async fn troubled(nodes: usize) -> (Vec<(Memcached, Proxy)>, FleetFile) {
    let mut fleet = Vec::new();
    for _ in 0..nodes {
        let server = Memcached::start(&[]);
        let proxy = Proxy::start(server.address()).await;
        fleet.push((server, proxy));
    }
    let file = FleetFile::new(fleet.iter().map(|(_, proxy)| proxy.address()));
    (fleet, file)
}
