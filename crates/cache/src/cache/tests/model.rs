//! Random acts and random damage: whatever happens, the bytes are the right ones or there are none.

use super::origins::Garbling;
use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

const CHUNKS: usize = 8;
const SLOTS: u64 = 4;

#[derive(Clone, Debug)]
enum Act {
    Get {
        chunk: usize,
        urgency: Urgency,
    },
    DamageMemory {
        chunk: usize,
    },
    /// At a place within a slot's first blocks, where these small chunks are.
    DamageChunks {
        slot: u64,
        at: u64,
    },
    DamageIndex {
        at: u64,
    },
    GarbleOrigin,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let urgency = prop_oneof![Just(Urgency::Demand), Just(Urgency::Prefetch)];
    prop_oneof![
        10 => (0..CHUNKS, urgency).prop_map(|(chunk, urgency)| Act::Get { chunk, urgency }),
        1 => (0..CHUNKS).prop_map(|chunk| Act::DamageMemory { chunk }),
        2 => (0..SLOTS, 0..9000_u64).prop_map(|(slot, at)| Act::DamageChunks { slot, at }),
        1 => (0..64 + SLOTS * 40).prop_map(|at| Act::DamageIndex { at }),
        1 => Just(Act::GarbleOrigin),
        1 => Just(Act::Restart),
    ]
}

/// Memory for about three of the chunks, disk for four of eight.
fn settings(directory: &Path) -> Settings {
    Settings {
        memory_bytes: 32 * 1024,
        disk: disk(directory, SLOTS),
        ..Settings::default()
    }
}

fn damage(path: &Path, at: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(b"?", at)
        .unwrap();
}

async fn run(acts: Vec<Act>) {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (shelf, addresses) = Shelf::filled(CHUNKS as u64, 6000);
    let origin = Arc::new(Garbling {
        origin: shelf.clone(),
        times: 0.into(),
    });
    let mut cache = Cache::open(settings.clone(), origin.clone()).unwrap();
    for act in acts {
        match act {
            Act::Get { chunk, urgency } => {
                let (found, _) = cache.get(addresses[chunk], urgency).await.unwrap();
                assert_eq!(found.stored(), &shelf.bytes(addresses[chunk].id));
            }
            Act::DamageMemory { chunk } => cache
                .inner
                .memory
                .insert(addresses[chunk].id, &Bytes::from_static(b"?")),
            Act::DamageChunks { slot, at } => {
                damage(&directory.path().join("chunks"), slot * (CHUNK_BYTES as u64) + at);
            }
            Act::DamageIndex { at } => damage(&directory.path().join("index"), at),
            // One less than makes a get fail.
            Act::GarbleOrigin => origin.times.store(2, Ordering::SeqCst),
            Act::Restart => {
                cache.close().await;
                drop(cache);
                cache = Cache::open(settings.clone(), origin.clone()).unwrap();
                assert!(cache.report().disk.is_some());
            }
        }
    }
    let report = cache.report();
    assert!(report.memory.bytes <= report.memory.bytes_limit);
    assert!(report.disk.is_none_or(|disk| disk.held.bytes <= disk.held.bytes_limit));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_right_or_there_are_none(acts in proptest::collection::vec(act(), 1..60)) {
        // Paused: the pauses before a garbled chunk is asked for again cost nothing.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(acts));
    }
}
