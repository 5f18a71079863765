use super::*;
use std::collections::HashSet;

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

fn caching(ttl_s: u64, bytes_max: u64) -> ResponseCaching {
    ResponseCaching {
        ttl: Duration::from_secs(ttl_s),
        bytes_max,
        excluded: Vec::new(),
    }
}

fn key_of(number: u64) -> Key {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn put(cache: &ResponseCache, arn: &str, key: Key, caching: &ResponseCaching, body: &[u8], now: Instant) {
    match cache.ask(arn, key, caching, now) {
        Asked::Compute(flight) => cache.land(flight, arn, (caching, 0), Kept::copy_of("application/json", body, now)),
        other => panic!("{other:?}"),
    }
}

fn holds(cache: &ResponseCache, arn: &str, key: Key, caching: &ResponseCaching, now: Instant) -> bool {
    matches!(cache.ask(arn, key, caching, now), Asked::Kept(_))
}

#[test]
fn an_answer_is_good_for_its_time() {
    let (cache, begin) = (ResponseCache::new(1 << 20), Instant::now());
    let (short, long) = (caching(5, 1 << 20), caching(60, 1 << 20));
    put(&cache, ARN, key_of(1), &long, b"1", begin);
    let later = begin + Duration::from_secs(30);
    assert!(holds(&cache, ARN, key_of(1), &long, later));
    assert!(!holds(&cache, ARN, key_of(1), &short, later), "the tag of now decides");
    assert!(!holds(&cache, ARN, key_of(1), &long, begin + Duration::from_secs(60)));
}

#[test]
fn a_function_keeps_no_more_than_it_may() {
    let (cache, now) = (ResponseCache::new(1 << 20), Instant::now());
    let small = caching(60, 16 * 1024);
    for number in 0..100 {
        put(&cache, ARN, key_of(number), &small, &[0; 1000], now);
        assert!(cache.bytes() <= 16 * 1024);
    }
    assert!(cache.bytes() > 8 * 1024, "{}", cache.bytes());
    put(&cache, ARN, key_of(1000), &small, &[0; 17 * 1024], now);
    assert!(
        !holds(&cache, ARN, key_of(1000), &small, now),
        "it is larger than the room"
    );
    let smaller = caching(60, 4 * 1024);
    put(&cache, ARN, key_of(1001), &smaller, &[0; 1000], now);
    assert!(cache.bytes() <= 4 * 1024, "a smaller room holds at once");
}

#[test]
fn all_functions_together_keep_no_more_than_the_operator_gives() {
    let (cache, now) = (ResponseCache::new(64 * 1024), Instant::now());
    let large = caching(60, 1 << 30);
    put(&cache, "quiet", key_of(1), &large, &[0; 1000], now);
    for number in 0..200 {
        put(&cache, "greedy", key_of(number), &large, &[0; 1000], now);
        assert!(cache.bytes() <= 64 * 1024, "{}", cache.bytes());
    }
    assert!(holds(&cache, "quiet", key_of(1), &large, now), "the fullest gives way");
}

#[test]
fn what_is_old_is_thrown_away_in_time() {
    let (cache, begin) = (ResponseCache::new(1 << 20), Instant::now());
    put(&cache, ARN, key_of(1), &caching(5, 1 << 20), b"1", begin);
    assert!(cache.sweep(begin + Duration::from_secs(10)) > 0, "it is not due yet");
    assert_eq!(cache.sweep(begin + Duration::from_secs(70)), 0);
    assert!(cache.shelves.read().unwrap().is_empty());
}

#[test]
fn a_failure_is_not_shared() {
    let (cache, now, caching) = (ResponseCache::new(1 << 20), Instant::now(), caching(60, 1 << 20));
    let Asked::Compute(first) = cache.ask(ARN, key_of(1), &caching, now) else {
        panic!("nobody asked before");
    };
    let Asked::Wait(mut waiting) = cache.ask(ARN, key_of(1), &caching, now) else {
        panic!("it is being computed");
    };
    drop(first);
    assert!(
        waiting
            .try_recv()
            .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
    );
    assert!(matches!(cache.ask(ARN, key_of(1), &caching, now), Asked::Compute(_)));
}

#[test]
fn one_that_has_landed_takes_no_other_with_it() {
    let (cache, now) = (ResponseCache::new(1 << 20), Instant::now());
    // Too large to be kept: the next one computes again.
    let tiny = caching(60, 1024);
    let Asked::Compute(first) = cache.ask(ARN, key_of(1), &tiny, now) else {
        panic!("nobody asked before");
    };
    cache.land(first, ARN, (&tiny, 0), Kept::copy_of("", &[0; 2000], now));
    let Asked::Compute(_second) = cache.ask(ARN, key_of(1), &tiny, now) else {
        panic!("nothing is kept");
    };
    assert!(matches!(cache.ask(ARN, key_of(1), &tiny, now), Asked::Wait(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_requests_at_once_are_computed_once() {
    let cache = Arc::new(ResponseCache::new(1 << 20));
    let caching = Arc::new(caching(60, 1 << 20));
    for round in 0..50 {
        let tasks: Vec<_> = (0..16_u8)
            .map(|asker| {
                let (cache, caching) = (Arc::clone(&cache), Arc::clone(&caching));
                tokio::spawn(async move {
                    match cache.ask(ARN, key_of(round), &caching, Instant::now()) {
                        Asked::Kept(kept) => kept.body[0],
                        Asked::Wait(waiting) => waiting.await.unwrap().body[0],
                        Asked::Compute(flight) => {
                            tokio::task::yield_now().await;
                            cache.land(flight, ARN, (&caching, 0), Kept::copy_of("", &[asker], Instant::now()));
                            asker
                        }
                    }
                })
            })
            .collect();
        let mut answers = HashSet::new();
        for task in tasks {
            answers.insert(task.await.unwrap());
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}
