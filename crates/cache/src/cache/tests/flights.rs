//! Many who want the same, or want too much at once. One thread, so that what happens next is decided.

use super::origins::{Gated, Refusing};
use super::*;
use futures::future::join_all;
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;

type Answer = JoinHandle<Result<(CheckedChunk, Tier), FetchError>>;

fn spawn(cache: &Cache, address: ChunkAddress, urgency: Urgency) -> Answer {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get(address, urgency).await })
}

#[tokio::test]
async fn a_hundred_who_ask_cause_one_fetch() {
    let (shelf, addresses) = Shelf::filled(1, 100);
    let gated = Gated::new(shelf.clone());
    let cache = Cache::open(Settings::default(), gated.clone()).unwrap();
    let mixed = (0..100).map(|number| {
        if number % 3 == 1 {
            Urgency::Prefetch
        } else {
            Urgency::Demand
        }
    });
    let answers: Vec<_> = mixed.map(|urgency| spawn(&cache, addresses[0], urgency)).collect();
    settle().await;
    gated.gate.add_permits(100);
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().unwrap().0.id(), addresses[0].id);
    }
    assert_eq!(shelf.asked().len(), 1);
    assert_eq!(cache.report().tier(Tier::Origin).hits, 1);
}

#[tokio::test]
async fn a_hundred_who_ask_cause_one_disk_read() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        disk: disk(directory.path(), 4),
        ..Settings::default()
    };
    let (cache, shelf, addresses) = warm(&settings, 1).await;
    drop(cache);
    let cache = Cache::open(settings, shelf).unwrap();
    let answers: Vec<_> = (0..100).map(|_| spawn(&cache, addresses[0], Urgency::Demand)).collect();
    for answer in join_all(answers).await {
        answer.unwrap().unwrap();
    }
    let report = cache.report();
    assert_eq!((report.tier(Tier::Disk).hits, report.tier(Tier::Origin).hits), (1, 0));
}

#[tokio::test]
async fn a_leader_that_fails_fails_alone() {
    let (shelf, addresses) = Shelf::filled(1, 100);
    let origin = Refusing {
        origin: shelf.clone(),
        times: 1.into(),
    };
    let cache = Cache::open(Settings::default(), Arc::new(origin)).unwrap();
    let answers: Vec<_> = (0..10).map(|_| spawn(&cache, addresses[0], Urgency::Demand)).collect();
    let answers = join_all(answers).await;
    let failed = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().is_err())
        .count();
    assert_eq!(
        (failed, shelf.asked().len()),
        (1, 1),
        "the second leader's fetch served nine"
    );
}

#[tokio::test]
async fn a_waiter_takes_over_from_a_leader_that_was_dropped() {
    let (shelf, addresses) = Shelf::filled(1, 100);
    let gated = Gated::new(shelf.clone());
    let cache = Cache::open(Settings::default(), gated.clone()).unwrap();
    let leader = spawn(&cache, addresses[0], Urgency::Demand);
    settle().await;
    let waiter = spawn(&cache, addresses[0], Urgency::Demand);
    settle().await;
    leader.abort();
    settle().await;
    gated.gate.add_permits(1);
    assert_eq!(waiter.await.unwrap().unwrap().1, Tier::Origin);
    assert_eq!(shelf.asked().len(), 2);
    assert_eq!(
        cache.report().origin.in_flight_requests,
        0,
        "the leader's permit came back"
    );
}

#[tokio::test]
async fn a_demand_overtakes_a_thousand_prefetches() {
    let (shelf, addresses) = Shelf::filled(1101, 100);
    let gated = Gated::new(shelf.clone());
    let cache = Cache::open(Settings::default(), gated.clone()).unwrap();
    let prefetches: Vec<_> = addresses[..1000]
        .iter()
        .map(|a| spawn(&cache, *a, Urgency::Prefetch))
        .collect();
    settle().await;
    let report = cache.report().origin;
    assert_eq!((report.in_flight_requests, report.waiting_prefetches), (24, 976));

    // Eight find a permit free; a ninth waits, for a chunk that is a queued prefetch too.
    let mut demands: Vec<_> = addresses[1000..1008]
        .iter()
        .map(|a| spawn(&cache, *a, Urgency::Demand))
        .collect();
    settle().await;
    assert_eq!(shelf.asked().len(), 32);
    demands.push(spawn(&cache, addresses[999], Urgency::Demand));
    settle().await;
    assert_eq!(cache.report().origin.waiting_demands, 1);

    gated.gate.add_permits(1);
    settle().await;
    assert_eq!(shelf.asked()[32..], [addresses[999].id]);

    gated.gate.add_permits(2000);
    for answer in join_all(demands.into_iter().chain(prefetches)).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(shelf.asked().len(), 1008, "each chunk once");
}

#[tokio::test]
async fn permits_bound_the_bytes_on_their_way() {
    let (shelf, addresses) = Shelf::filled(64, CHUNK_BYTES);
    let gated = Gated::new(shelf);
    let settings = Settings {
        origin_bytes: 4 * CHUNK_BYTES as u64,
        ..Settings::default()
    };
    let cache = Cache::open(settings, gated.clone()).unwrap();
    let urgencies = [Urgency::Demand, Urgency::Prefetch].into_iter().cycle();
    let answers: Vec<_> = addresses
        .iter()
        .zip(urgencies)
        .map(|(a, urgency)| spawn(&cache, *a, urgency))
        .collect();
    settle().await;
    assert_eq!(cache.report().origin.in_flight_bytes, 4 * CHUNK_BYTES as u64);
    gated.gate.add_permits(64);
    for answer in join_all(answers).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(gated.bytes_peak.load(Ordering::SeqCst), 4 * CHUNK_BYTES as u64);
    assert_eq!(cache.report().origin.in_flight_bytes, 0);
}

#[tokio::test]
async fn a_prefetch_that_is_given_up_leaves_the_queue() {
    let (shelf, addresses) = Shelf::filled(100, 100);
    let gated = Gated::new(shelf.clone());
    let cache = Cache::open(Settings::default(), gated.clone()).unwrap();
    let prefetches: Vec<_> = addresses.iter().map(|a| spawn(&cache, *a, Urgency::Prefetch)).collect();
    settle().await;
    prefetches.iter().for_each(JoinHandle::abort);
    settle().await;
    let origin = cache.report().origin;
    assert_eq!(
        (
            origin.in_flight_requests,
            origin.waiting_prefetches,
            shelf.asked().len()
        ),
        (0, 0, 24)
    );
}

/// All wait for one dead origin, one after the other as leaders, and all are told within one budget.
#[tokio::test(start_paused = true)]
async fn waiters_of_a_dead_origin_fail_after_one_budget() {
    let (shelf, addresses) = Shelf::filled(1, 100);
    let cache = Cache::open(Settings::default(), Gated::new(shelf)).unwrap();
    let begin = Instant::now();
    let answers: Vec<_> = (0..100).map(|_| spawn(&cache, addresses[0], Urgency::Demand)).collect();
    for answer in join_all(answers).await {
        assert!(matches!(answer.unwrap(), Err(FetchError::Silent(_))));
    }
    assert_eq!(begin.elapsed().as_secs(), 30);
}
