//! What every fleet must do, however it is spoken to.

use super::*;

/// Chunks of all sizes that matter: from one byte to the largest, and such that do not divide evenly.
fn shelves() -> [Arc<Shelf>; 4] {
    [(3, 1), (3, 1003), (20, 20_000), (4, chunk::CHUNK_BYTES as u64)].map(|(count, bytes)| Shelf::filled(count, bytes))
}

/// One worker fetches; another finds everything in the zone, with one server gone too, if there are two or more.
pub(crate) async fn conforms(servers: &mut [Memcached], fleet: &FleetFile) {
    let shelves = shelves();
    for shelf in &shelves {
        fill(fleet, shelf).await;
        let (count, asked) = (shelf.chunks().len(), shelf.asked());
        assert_eq!(asked, count);
        let cache = open(fleet, shelf);
        assert_eq!(read_all(&cache, shelf).await, count);
        let report = cache.report();
        let tier = report.tier(Tier::Zone);
        assert_eq!(
            (tier.hits, tier.misses, tier.corrupt, tier.errors),
            (count as u64, 0, 0, 0)
        );
        assert_eq!(shelf.asked(), asked);
    }
    if servers.len() < 2 {
        return;
    }
    servers[0].kill();
    for shelf in &shelves {
        let asked = shelf.asked();
        let cache = open(fleet, shelf);
        assert_eq!(read_all(&cache, shelf).await, shelf.chunks().len());
        assert_eq!(shelf.asked(), asked, "the origin was asked for what four nodes have");
    }
}

pub(crate) async fn started(servers: usize, arguments: &[&str]) {
    let mut servers: Vec<_> = (0..servers).map(|_| Memcached::start(arguments)).collect();
    let fleet = FleetFile::new(servers.iter().map(Memcached::address));
    conforms(&mut servers, &fleet).await;
}

#[tokio::test]
async fn a_fleet_of_any_size() {
    for servers in 1..=7 {
        started(servers, &[]).await;
    }
}

#[tokio::test]
async fn a_fleet_behind_proxies() {
    let (fleet, file) = troubled(6).await;
    let (mut servers, _proxies): (Vec<_>, Vec<_>) = fleet.into_iter().unzip();
    conforms(&mut servers, &file).await;
}

/// Most of the memory is for keys; what is stored lies in a file, as it would on flash.
#[tokio::test]
async fn a_fleet_on_flash() {
    let directory = tempfile::tempdir().unwrap();
    let mut servers: Vec<_> = (0..5)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            let extstore = format!("ext_page_size=8,ext_path={}:128m,ext_item_age=0", path.display());
            Memcached::start(&["-o", &extstore])
        })
        .collect();
    let fleet = FleetFile::new(servers.iter().map(Memcached::address));
    conforms(&mut servers, &fleet).await;
}
