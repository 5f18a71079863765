//! Puts that fail, lose their answer, tear or take long.

use super::backends::{TestStore, over};
use super::failing::{FailingStore, Fate};
use super::sealed;
use crate::{ErrorKind, Fault, Put, Settings, StoreError, WriteMode};
use chunk::CHUNK_BYTES;
use std::io;
use std::sync::Arc;
use std::time::Duration;

fn failing(first: &[Fate], then: Fate, settings: Settings) -> (TestStore, Arc<FailingStore>) {
    let objects = Arc::new(FailingStore::new(first, then));
    (over(Arc::clone(&objects) as _, settings), objects)
}

#[tokio::test]
async fn one_put_ends_well_whatever_happened_before() {
    let reset = Fate::Fail(io::ErrorKind::ConnectionReset);
    let timed_out = Fate::Fail(io::ErrorKind::TimedOut);
    let cases: [(&[Fate], Put); 4] = [
        (&[reset, reset, reset], Put::New),
        (&[timed_out, reset], Put::New),
        (&[Fate::LoseAnswer], Put::Present),
        (&[Fate::Conflict], Put::New),
    ];
    for (case, (first, expected)) in cases.into_iter().enumerate() {
        let (test, _) = failing(first, Fate::Succeed, Settings::default());
        let (id, stored) = sealed(1, 1000);
        let put = test.store.put_chunk(1, id, stored.clone().into()).await.unwrap();
        assert_eq!(put, expected, "case {case}");
        assert_eq!(test.store.get_chunk(1, id).await.unwrap(), stored, "case {case}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_at_once_and_the_next_push_repairs() {
    let (test, objects) = failing(&[Fate::Tear], Fate::Succeed, Settings::default());
    let (id, stored) = sealed(1, 1000);
    let error = test.store.put_chunk(1, id, stored.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FixRequest);
    assert!(
        error
            .to_string()
            .contains("in memory: no storage space; free some space"),
        "{error}"
    );
    assert_eq!(objects.puts(), 1);
    assert_eq!(
        test.store.put_chunk(1, id, stored.clone().into()).await.unwrap(),
        Put::New
    );
    assert_eq!(test.store.get_chunk(1, id).await.unwrap(), stored);
}

#[tokio::test]
async fn retries_end_with_the_budget() {
    let settings = Settings {
        retry_budget: Duration::from_secs(3),
        ..Settings::default()
    };
    let (test, objects) = failing(&[], Fate::Fail(io::ErrorKind::ConnectionRefused), settings);
    let start = std::time::Instant::now();
    let (id, stored) = sealed(1, 1000);
    let error = test.store.put_chunk(1, id, stored.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(objects.puts() > 1);
}

#[tokio::test]
async fn a_writer_stops_at_its_first_failure() {
    let settings = Settings {
        in_flight_requests: 4,
        ..Settings::default()
    };
    let (test, objects) = failing(&[Fate::Succeed; 10], Fate::Fail(io::ErrorKind::StorageFull), settings);
    let writer = test.store.chunk_writer(1, WriteMode::Store);
    let mut accepted = 0;
    let stopped = loop {
        let (id, stored) = sealed(accepted, 1000);
        match writer.submit(id, stored).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, StoreError::Stopped(_)));
    assert!((11..20).contains(&accepted), "{accepted}");
    match writer.finish().await.unwrap_err() {
        StoreError::Call(failed) => assert_eq!(failed.fault(), Fault::Full),
        other => panic!("{other}"),
    }
    assert!(objects.puts() < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_much_is_in_flight_as_the_settings_allow() {
    for (in_flight_bytes, in_flight_requests, expected) in [(3 * CHUNK_BYTES, 64, 3), (64 * CHUNK_BYTES, 5, 5)] {
        let settings = Settings {
            in_flight_bytes,
            in_flight_requests,
            ..Settings::default()
        };
        let (test, objects) = failing(&[], Fate::Gather(expected), settings);
        let writer = test.store.chunk_writer(1, WriteMode::Store);
        for seed in 0..15 {
            let (id, stored) = sealed(seed, CHUNK_BYTES);
            writer.submit(id, stored).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap().chunks_new, 15);
        assert_eq!(objects.in_flight_max(), expected);
    }
}

#[test]
fn plain_threads_share_a_writer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (test, _) = failing(&[], Fate::Succeed, Settings::default());
    let writer = test.store.chunk_writer(1, WriteMode::Store);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (writer, handle) = (&writer, runtime.handle());
            scope.spawn(move || {
                for seed in 0..50 {
                    let (id, stored) = sealed(thread * 40 + seed, 500);
                    handle.block_on(writer.submit(id, stored)).unwrap();
                }
            });
        }
    });
    assert_eq!(runtime.block_on(writer.finish()).unwrap().chunks_new, 170);
}
