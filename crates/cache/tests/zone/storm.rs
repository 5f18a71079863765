//! Many starts at once over an empty zone.

use super::*;
use futures::future::join_all;

const STARTS: usize = 200;

/// The origin never sees more at once than it is promised, and everything comes.
#[tokio::test]
async fn an_empty_zone_under_a_storm_keeps_to_the_permits() {
    let servers: Vec<_> = (0..5).map(|_| Memcached::start(&[])).collect();
    let fleet = FleetFile::new(servers.iter().map(Memcached::address));
    let shelf = Shelf::filled(60, 20_000);
    let settings = Settings {
        origin_requests: 4,
        ..settings(&fleet)
    };
    let cache = Cache::open(settings, shelf.clone()).unwrap();
    join_all((0..STARTS).map(|_| read_all(&cache, &shelf))).await;
    assert!(shelf.in_flight_peak() <= 4, "{}", shelf.in_flight_peak());
    cache.close().await;
    // A chunk that the writers had no room for is written by the next who misses it.
    let after = open(&fleet, &shelf);
    until("all comes from the zone", async || read_all(&after, &shelf).await == 60).await;
}

/// All servers lose their memory while many read.
#[tokio::test]
async fn a_zone_that_empties_under_a_storm_recovers_by_itself() {
    let mut servers: Vec<_> = (0..5).map(|_| Memcached::start(&[])).collect();
    let fleet = FleetFile::new(servers.iter().map(Memcached::address));
    let shelf = Shelf::filled(60, 20_000);
    fill(&fleet, &shelf).await;
    let cache = open(&fleet, &shelf);
    let storm = join_all((0..STARTS / 4).map(|_| read_all(&cache, &shelf)));
    let restart = async {
        for server in &mut servers {
            tokio::task::yield_now().await;
            server.restart();
        }
    };
    tokio::join!(storm, restart);
    until("all comes from the zone again", async || {
        read_all(&cache, &shelf).await == 60
    })
    .await;
    assert!(shelf.in_flight_peak() <= 32, "{}", shelf.in_flight_peak());
}
