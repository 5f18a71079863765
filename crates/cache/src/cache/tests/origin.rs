//! What a bad origin does to a reader. Time is paused: it passes when nothing else can happen.

use super::origins::{Garbling, Refusing, Slow};
use super::*;
use crate::ErrorKind;

const FOREVER: Duration = Duration::from_secs(1_000_000);

#[tokio::test(start_paused = true)]
async fn garbage_is_asked_for_again_and_never_returned() {
    for (times, expected_ok, corrupt, retries) in [(1, true, 1, 1), (2, true, 2, 2), (u32::MAX, false, 3, 2)] {
        let (origin, addresses) = Shelf::filled(1, 100);
        let times = times.into();
        let cache = Cache::open(Settings::default(), Arc::new(Garbling { origin, times })).unwrap();
        let answer = demand(&cache, addresses[0]).await;
        let report = cache.report();
        assert_eq!(
            (report.tier(Tier::Origin).corrupt, report.origin.retries),
            (corrupt, retries)
        );
        match answer {
            Ok((_, tier)) => assert_eq!((tier, expected_ok), (Tier::Origin, true)),
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.tier(), expected_ok),
                    (ErrorKind::BadData, Tier::Origin, false)
                );
                assert_eq!(error.address(), addresses[0]);
                assert_eq!(
                    error.to_string(),
                    format!(
                        "chunk {} is corrupt in the origin: 3 answers, the last of 100 bytes, with another hash",
                        addresses[0].id
                    )
                );
                assert!(!cache.holds(&addresses[0]));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_asked_for_again_within_the_budget() {
    // Times silent, seconds that the get takes, whether it succeeds.
    for (times, seconds, expected_ok) in [(0, 0, true), (1, 15, true), (2, 30, false), (u32::MAX, 30, false)] {
        let (origin, addresses) = Shelf::filled(1, 100);
        let origin = Slow {
            origin,
            delay: FOREVER,
            times: times.into(),
        };
        let cache = Cache::open(Settings::default(), Arc::new(origin)).unwrap();
        let begin = Instant::now();
        let answer = demand(&cache, addresses[0]).await;
        assert_eq!(
            (begin.elapsed().as_secs(), answer.is_ok()),
            (seconds, expected_ok),
            "{answer:?}"
        );
        if let Err(error) = answer {
            assert!(matches!(error, FetchError::Silent(_)), "{error}");
            assert_eq!(error.kind(), ErrorKind::Retry);
        }
        assert_eq!(cache.report().origin.in_flight_requests, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_origin_gave_up_on_is_not_asked_for_again() {
    let (origin, addresses) = Shelf::filled(1, 100);
    let origin = Refusing {
        origin,
        times: 1.into(),
    };
    let cache = Cache::open(Settings::default(), Arc::new(origin)).unwrap();
    let error = demand(&cache, addresses[0]).await.unwrap_err();
    assert!(matches!(error, FetchError::Failed(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::FixRequest);
    assert!(demand(&cache, addresses[0]).await.is_ok(), "nothing is remembered");
}

#[tokio::test]
async fn a_chunk_that_is_nowhere_is_missing() {
    let (shelf, _) = Shelf::filled(1, 100);
    let cache = Cache::open(Settings::default(), shelf.clone()).unwrap();
    let address = address_of(&stored(77, 100));
    let error = demand(&cache, address).await.unwrap_err();
    assert!(matches!(error, FetchError::Missing(_)), "{error}");
    assert_eq!((error.kind(), shelf.asked().len()), (ErrorKind::BadData, 1));
    assert_eq!(cache.report().tier(Tier::Origin).misses, 1);
}

/// A store is an origin: what it says reaches the reader.
#[tokio::test]
async fn a_store_is_an_origin() {
    let directory = tempfile::tempdir().unwrap();
    let location = store::StoreLocation::Directory(directory.path().to_owned());
    let store = store::Store::open(&location, store::Settings::default(), &store::AwsOptions::default()).unwrap();
    let bytes = stored(1, 1234);
    let address = address_of(&bytes);
    store.put_chunk(1, address.id, bytes.clone()).await.unwrap();
    let cache = Cache::open(Settings::default(), Arc::new(store)).unwrap();
    assert_eq!(demand(&cache, address).await.unwrap().0.stored(), &bytes);
    let error = demand(&cache, address_of(&stored(2, 10))).await.unwrap_err();
    assert!(matches!(error, FetchError::Missing(_)), "{error}");
}
