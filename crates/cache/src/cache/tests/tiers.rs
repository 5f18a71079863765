//! Hits, misses and bad copies, tier by tier.

use super::*;

#[tokio::test]
async fn a_chunk_comes_from_the_nearest_tier_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        disk: disk(directory.path(), 10),
        ..Settings::default()
    };
    let (shelf, addresses) = Shelf::filled(1, 5000);
    let address = addresses[0];
    let cache = Cache::open(settings.clone(), shelf.clone()).unwrap();

    assert!(cache.memory(&address).is_none());
    assert!(!cache.holds(&address));
    let (chunk, tier) = demand(&cache, address).await.unwrap();
    assert_eq!((chunk.stored(), tier), (&shelf.bytes(address.id), Tier::Origin));
    assert_eq!(cache.memory(&address).unwrap().stored(), chunk.stored());
    assert_eq!(demand(&cache, address).await.unwrap().1, Tier::Memory);

    cache.close().await;
    drop(cache);
    let cache = Cache::open(settings, shelf.clone()).unwrap();
    assert!(cache.holds(&address));
    let (chunk, tier) = demand(&cache, address).await.unwrap();
    assert_eq!((chunk.stored(), tier), (&shelf.bytes(address.id), Tier::Disk));
    assert_eq!(demand(&cache, address).await.unwrap().1, Tier::Memory);
    assert_eq!(shelf.asked().len(), 1);

    let report = cache.report();
    let hits = Tier::ALL.map(|tier| (report.tier(tier).hits, report.tier(tier).misses));
    assert_eq!(hits, [(1, 1), (1, 0), (0, 0), (0, 0)]);
    assert_eq!(report.tier(Tier::Disk).hit_bytes, 5000);
    assert_eq!(report.tier(Tier::Disk).latency.count, 1);
}

#[tokio::test]
async fn a_bad_copy_in_memory_is_dropped_and_the_next_tier_asked() {
    let (cache, shelf, addresses) = warm(&Settings::default(), 1).await;
    let address = addresses[0];
    let mut bad = shelf.bytes(address.id).to_vec();
    bad[17] ^= 1;
    cache.inner.memory.insert(address.id, &bad.into());

    assert!(cache.memory(&address).is_none());
    assert!(!cache.holds(&address), "dropped");
    assert_eq!(demand(&cache, address).await.unwrap().1, Tier::Origin);
    assert_eq!(demand(&cache, address).await.unwrap().1, Tier::Memory);
    assert_eq!(cache.report().tier(Tier::Memory).corrupt, 1);
}

#[tokio::test]
async fn memory_stays_within_its_bytes() {
    let settings = Settings {
        memory_bytes: 1 << 20,
        ..Settings::default()
    };
    let (cache, shelf, addresses) = warm(&settings, 1000).await;
    let held = cache.report().memory;
    assert!(held.bytes <= held.bytes_limit, "{held:?}");
    assert_eq!((held.bytes_limit, held.bytes), (1 << 20, held.chunks * 8192));
    assert_eq!(held.chunks + held.evictions, 1000);
    assert_eq!(shelf.asked().len(), addresses.len());
}

#[tokio::test]
async fn without_memory_chunks_still_come() {
    let settings = Settings {
        memory_bytes: 0,
        ..Settings::default()
    };
    let (cache, shelf, addresses) = warm(&settings, 2).await;
    assert_eq!(demand(&cache, addresses[0]).await.unwrap().1, Tier::Origin);
    assert_eq!(shelf.asked().len(), 3);
    assert_eq!(cache.report().memory.bytes, 0);
}
