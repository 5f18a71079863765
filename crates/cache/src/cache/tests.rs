//! The tiers together. Origins with faults are wrappers of a good one.

mod disk;
mod flights;
mod hedges;
mod model;
mod origin;
mod origins;
mod tiers;

use super::*;
use crate::DiskSettings;
use bytes::Bytes;
use chunk::CHUNK_BYTES;
use origins::Shelf;
use std::path::Path;

/// A chunk's stored bytes, which the number and the length decide.
fn stored(number: u64, bytes: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn address_of(stored: &Bytes) -> ChunkAddress {
    ChunkAddress {
        generation: 1,
        id: ChunkId::of(stored),
        stored_bytes: stored.len() as u32,
    }
}

fn disk(directory: &Path, slots: u64) -> Option<DiskSettings> {
    Some(DiskSettings {
        directory: directory.to_owned(),
        bytes: slots * CHUNK_BYTES as u64,
    })
}

/// No memory: every hit is the disk's.
fn disk_only(directory: &Path, slots: u64) -> Settings {
    Settings {
        memory_bytes: 0,
        disk: disk(directory, slots),
        ..Settings::default()
    }
}

async fn demand(cache: &Cache, address: ChunkAddress) -> Result<(CheckedChunk, Tier), FetchError> {
    cache.get(address, Urgency::Demand).await
}

/// Fetches chunks 0 to `count`, of one page each, and waits until the disk has what it takes.
async fn warm(settings: &Settings, count: u64) -> (Cache, Arc<Shelf>, Vec<ChunkAddress>) {
    let (shelf, addresses) = Shelf::filled(count, 4096);
    let cache = Cache::open(settings.clone(), shelf.clone()).unwrap();
    for address in &addresses {
        demand(&cache, *address).await.unwrap();
    }
    cache.close().await;
    (cache, shelf, addresses)
}

/// Lets every task run until none can go on. For runtimes of one thread.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const fn assert_send<T: Send>(_: &T) {}

#[tokio::test]
async fn a_get_may_move_between_threads() {
    let (shelf, addresses) = Shelf::filled(1, 10);
    let cache = Cache::open(Settings::default(), shelf).unwrap();
    assert_send(&cache.get(addresses[0], Urgency::Demand));
}

#[test]
fn settings_with_which_nothing_could_be_had_are_refused() {
    type Change = fn(&mut Settings);
    let cases: [(Change, Result<(), SettingsError>); 8] = [
        (|_| {}, Ok(())),
        (|settings| settings.memory_bytes = 0, Ok(())),
        (
            |settings| settings.origin_requests = 1,
            Err(SettingsError::OriginRequests { requests: 1 }),
        ),
        (
            |settings| settings.origin_bytes = 1 << 19,
            Err(SettingsError::OriginBytes { bytes: 1 << 19 }),
        ),
        (
            |settings| settings.disk = disk(Path::new("unused"), 0),
            Err(SettingsError::DiskBytes { bytes: 0 }),
        ),
        (
            |settings| settings.hedge_percent = 101,
            Err(SettingsError::HedgePercent { percent: 101 }),
        ),
        (
            |settings| settings.fetch_budget = Duration::ZERO,
            Err(SettingsError::NoTime {
                setting: "fetch_budget",
            }),
        ),
        (
            |settings| settings.attempt_timeout = Duration::ZERO,
            Err(SettingsError::NoTime {
                setting: "attempt_timeout",
            }),
        ),
    ];
    for (change, expected) in cases {
        let mut settings = Settings::default();
        change(&mut settings);
        assert_eq!(settings.check(), expected, "{settings:?}");
    }
}
