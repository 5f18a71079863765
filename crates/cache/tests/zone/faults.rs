//! Nodes that die, lie, hang, come back, and files that change.

use super::*;
use servers::PATIENCE;
use std::time::Instant;

const CHUNKS: u64 = 40;

#[tokio::test]
async fn a_dead_node_costs_nothing_and_is_left_alone() {
    let (mut fleet, file) = troubled(6).await;
    let shelf = Shelf::filled(CHUNKS, 20_000);
    fill(&file, &shelf).await;
    let asked = shelf.asked();
    let cache = open(&file, &shelf);
    assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
    fleet[2].0.kill();
    // Tried again now and then, and so not left alone at every moment.
    until("it is left alone", async || {
        assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
        let dead = node(&cache, &fleet[2].1.address());
        dead.state == "left alone" && dead.failures >= 3 && dead.skipped > CHUNKS / 2
    })
    .await;
    assert_eq!(shelf.asked(), asked);
    fleet[2].0.restart();
    until("the node is asked again", async || {
        read_all(&cache, &shelf).await;
        node(&cache, &fleet[2].1.address()).state == "asked"
    })
    .await;
    assert_eq!(shelf.asked(), asked, "what it had lost was mended from the others");
}

/// Five of six chunks have a fragment there: who waited for one would wait for as long as a read may take at most, and fail.
#[tokio::test]
async fn a_slow_node_is_not_waited_for() {
    for trouble in [Trouble::Delay(PATIENCE), Trouble::Silence] {
        let (fleet, file) = troubled(6).await;
        let shelf = Shelf::filled(CHUNKS, 20_000);
        fill(&file, &shelf).await;
        let asked = shelf.asked();
        file.name_for(fleet.iter().map(|(_, proxy)| proxy.address()), 30_000);
        let cache = open(&file, &shelf);
        fleet[1].1.make(trouble);
        let begin = Instant::now();
        for _ in 0..3 {
            assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
        }
        assert!(begin.elapsed() < PATIENCE, "{trouble:?}: {:?}", begin.elapsed());
        let slow = node(&cache, &fleet[1].1.address());
        assert_eq!((slow.hits, slow.misses), (0, 0), "{trouble:?}: {slow:?}");
        assert_eq!(shelf.asked(), asked);
    }
}

/// Here answers have only as long as they have by default. On a busy machine others are late then, too, and what is not
/// had in time comes from the origin: what is read is right, and the silent one is found out.
#[tokio::test]
async fn a_silent_node_is_left_alone() {
    let (fleet, file) = troubled(6).await;
    let shelf = Shelf::filled(CHUNKS, 5000);
    fill(&file, &shelf).await;
    let nodes: Vec<_> = fleet.iter().map(|(_, proxy)| proxy.address()).collect();
    file.name_for(nodes.clone(), 100);
    let cache = open(&file, &shelf);
    fleet[4].1.make(Trouble::Silence);
    until("it is left alone", async || {
        read_all(&cache, &shelf).await;
        let silent = node(&cache, &nodes[4]);
        silent.state == "left alone" && silent.failures >= 3
    })
    .await;
}

#[tokio::test]
async fn garbage_is_never_returned_and_its_node_left_alone() {
    for (trouble, is_a_lie) in [(Trouble::FlippedBits, true), (Trouble::Noise, false)] {
        let (fleet, file) = troubled(6).await;
        let shelf = Shelf::filled(CHUNKS, 20_000);
        fill(&file, &shelf).await;
        let asked = shelf.asked();
        let cache = open(&file, &shelf);
        fleet[3].1.make(trouble);
        until("the node is found out", async || {
            assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
            node(&cache, &fleet[3].1.address()).state == "left alone"
        })
        .await;
        let (liar, report) = (node(&cache, &fleet[3].1.address()), cache.report());
        if is_a_lie {
            assert!(liar.rejected > 0, "{liar:?}");
            assert!(report.tier(Tier::Zone).corrupt >= liar.rejected);
        } else {
            assert!(liar.failures > 0, "{liar:?}");
        }
        assert_eq!(shelf.asked(), asked, "{trouble:?}");
    }
}

/// Nothing can be had of a chunk with two nodes gone, until the origin has given it and it has been written anew.
#[tokio::test]
async fn a_zone_that_is_half_dead_is_a_miss_and_no_error() {
    let (fleet, file) = troubled(5).await;
    let shelf = Shelf::filled(CHUNKS, 5000);
    fill(&file, &shelf).await;
    let asked = shelf.asked();
    // Noise may have no line's end, and then no answer comes: all reads are to miss, and soon.
    file.name_for(fleet.iter().map(|(_, proxy)| proxy.address()), 100);
    for (_, proxy) in &fleet[..2] {
        proxy.make(Trouble::Noise);
    }
    let cache = open(&file, &shelf);
    assert_eq!(read_all(&cache, &shelf).await, 0);
    assert_eq!(shelf.asked(), asked + CHUNKS as usize);
    for (_, proxy) in &fleet {
        proxy.make(Trouble::None);
    }
    until("all comes from the zone again", async || {
        read_all(&cache, &shelf).await == CHUNKS as usize
    })
    .await;
}

#[tokio::test]
async fn a_dead_zone_is_only_slower() {
    let (mut fleet, file) = troubled(5).await;
    fleet.iter_mut().for_each(|(server, _)| server.kill());
    let shelf = Shelf::filled(CHUNKS, 5000);
    let cache = open(&file, &shelf);
    let begin = Instant::now();
    assert_eq!(read_all(&cache, &shelf).await, 0);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    cache.close().await;
}

#[tokio::test]
async fn a_rolling_restart_of_all_nodes_asks_nothing_of_the_origin() {
    let (mut fleet, file) = troubled(6).await;
    let shelf = Shelf::filled(CHUNKS, 20_000);
    fill(&file, &shelf).await;
    let asked = shelf.asked();
    let cache = open(&file, &shelf);
    for (server, _) in &mut fleet {
        server.restart();
        assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
        until("the node has again what it lost", async || {
            is_whole(&file, &shelf).await
        })
        .await;
    }
    assert_eq!(shelf.asked(), asked);
}

#[tokio::test]
async fn the_fleet_may_change_under_way() {
    let servers: Vec<_> = (0..7).map(|_| Memcached::start(&[])).collect();
    let addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
    let file = FleetFile::new(addresses[..6].to_vec());
    let shelf = Shelf::filled(CHUNKS, 20_000);
    fill(&file, &shelf).await;
    let asked = shelf.asked();
    let cache = open(&file, &shelf);
    let names = |cache: &Cache| zone(cache).nodes.into_iter().map(|node| node.name).collect::<Vec<_>>();
    // One leaves and another comes: no chunk lacks more than one fragment.
    for nodes in [[1, 2, 3, 4, 5].as_slice(), &[6, 1, 2, 3, 4, 5]] {
        let expected: Vec<_> = nodes.iter().map(|node| addresses[*node].clone()).collect();
        file.name(expected.clone());
        until("the new list is read", async || names(&cache) == expected).await;
        // A read notices when the node that lacks a fragment is not the last to answer.
        let repairs = zone(&cache).repairs;
        until("something is missing", async || {
            assert_eq!(read_all(&cache, &shelf).await, CHUNKS as usize);
            zone(&cache).repairs > repairs
        })
        .await;
        until("what is missing is written", async || is_whole(&file, &shelf).await).await;
    }
    let kept = zone(&cache);
    file.write("nodes = [\"nonsense\"]");
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(
        read_all(&cache, &shelf).await,
        CHUNKS as usize,
        "a bad file changes nothing"
    );
    assert_eq!(
        names(&cache),
        kept.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>()
    );
    assert_eq!(shelf.asked(), asked);
}

/// From six to three nodes and back: other numbers of fragments.
#[tokio::test]
async fn a_fleet_that_shrinks_is_written_anew() {
    let servers: Vec<_> = (0..5).map(|_| Memcached::start(&[])).collect();
    let addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
    let file = FleetFile::new(addresses.clone());
    let shelf = Shelf::filled(CHUNKS, 20_000);
    fill(&file, &shelf).await;
    let asked = shelf.asked();
    let cache = open(&file, &shelf);
    file.name(addresses[..4].to_vec());
    until("the list is read", async || zone(&cache).nodes.len() == 4).await;
    assert_eq!(
        read_all(&cache, &shelf).await,
        CHUNKS as usize,
        "four of five old fragments"
    );
    until("all are cut anew", async || is_whole(&file, &shelf).await).await;
    assert_eq!(shelf.asked(), asked);
}

#[tokio::test]
async fn a_file_that_comes_later_is_read() {
    let servers: Vec<_> = (0..5).map(|_| Memcached::start(&[])).collect();
    let file = FleetFile::new([]);
    std::fs::remove_file(file.path()).unwrap();
    let shelf = Shelf::filled(CHUNKS, 5000);
    let cache = open(&file, &shelf);
    assert_eq!(read_all(&cache, &shelf).await, 0);
    file.name(servers.iter().map(Memcached::address));
    until("the list is read", async || zone(&cache).nodes.len() == 5).await;
    until("all comes from the zone", async || {
        read_all(&cache, &shelf).await == CHUNKS as usize
    })
    .await;
}
