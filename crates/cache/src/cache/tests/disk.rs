//! The disk tier: what it keeps, what it survives.

use super::*;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

/// What a second cache over the same directory finds: how many chunks, and that each get is right.
async fn reopen(settings: &Settings, shelf: &Arc<Shelf>, addresses: &[ChunkAddress]) -> Report {
    let cache = Cache::open(settings.clone(), shelf.clone()).unwrap();
    for address in addresses {
        let (chunk, _) = demand(&cache, *address).await.unwrap();
        assert_eq!(chunk.stored(), &shelf.bytes(address.id));
    }
    cache.close().await;
    cache.report()
}

#[tokio::test]
async fn a_restart_keeps_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let settings = disk_only(directory.path(), 16);
    let (cache, shelf, addresses) = warm(&settings, 10).await;
    assert_eq!(cache.report().disk.unwrap().writes, 10);
    drop(cache);
    let report = reopen(&settings, &shelf, &addresses).await;
    assert_eq!((report.tier(Tier::Disk).hits, report.tier(Tier::Origin).hits), (10, 0));
    assert_eq!(report.disk.unwrap().held.bytes, 10 * CHUNK_BYTES as u64);
}

#[tokio::test]
async fn files_are_the_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/cache");
    drop(warm(&disk_only(&directory, 4), 1).await);
    for (path, mode) in [("", 0o700), ("index", 0o600), ("chunks", 0o600)] {
        let found = fs::metadata(directory.join(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
}

/// Damage to the files while no cache has them open; how many chunks of 10 are still found, how many are found bad.
#[tokio::test]
async fn damage_is_noticed_and_never_returned() {
    type Damage = fn(&fs::File, &fs::File);
    let cases: [(&str, Damage, u64, u64); 8] = [
        (
            "a bit of chunk 3",
            |chunks, _| chunks.write_all_at(b"x", 3 * CHUNK_BYTES as u64 + 99).unwrap(),
            9,
            1,
        ),
        (
            "torn chunk",
            |chunks, _| chunks.write_all_at(&[0; 512], CHUNK_BYTES as u64).unwrap(),
            9,
            1,
        ),
        (
            "chunks cut off",
            |chunks, _| chunks.set_len(5 * CHUNK_BYTES as u64).unwrap(),
            5,
            0,
        ),
        ("chunks gone", |chunks, _| chunks.set_len(0).unwrap(), 0, 0),
        ("magic", |_, index| index.write_all_at(b"?", 0).unwrap(), 0, 0),
        ("version", |_, index| index.write_all_at(&[9], 8).unwrap(), 0, 0),
        ("index gone", |_, index| index.set_len(0).unwrap(), 0, 0),
        // The name of chunk 2 becomes that of no chunk.
        (
            "an id",
            |_, index| index.write_all_at(&[1, 2, 3], 64 + 2 * 40).unwrap(),
            9,
            0,
        ),
    ];
    for (name, damage, hits, corrupt) in cases {
        let directory = tempfile::tempdir().unwrap();
        let settings = disk_only(directory.path(), 16);
        let (cache, shelf, addresses) = warm(&settings, 10).await;
        drop(cache);
        let open = |file| {
            fs::File::options()
                .write(true)
                .open(directory.path().join(file))
                .unwrap()
        };
        damage(&open("chunks"), &open("index"));

        let report = reopen(&settings, &shelf, &addresses).await;
        let disk = report.tier(Tier::Disk);
        assert_eq!((disk.hits, disk.corrupt), (hits, corrupt), "{name}");
        assert_eq!(report.tier(Tier::Origin).hits, 10 - hits, "{name}");
        let report = reopen(&settings, &shelf, &addresses).await;
        let disk = report.tier(Tier::Disk);
        assert_eq!((disk.hits, disk.corrupt), (10, 0), "{name}: repaired");
    }
}

#[tokio::test]
async fn an_index_of_noise_starts_afresh() {
    for bytes in [0, 1, 63, 64, 5000] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("index"), stored(5, bytes)).unwrap();
        let settings = disk_only(directory.path(), 4);
        let (cache, shelf, addresses) = warm(&settings, 3).await;
        drop(cache);
        assert_eq!(reopen(&settings, &shelf, &addresses).await.tier(Tier::Disk).hits, 3);
    }
}

#[tokio::test]
async fn a_smaller_limit_gives_the_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, shelf, addresses) = warm(&disk_only(directory.path(), 10), 10).await;
    drop(cache);
    let report = reopen(&disk_only(directory.path(), 4), &shelf, &addresses[..4]).await;
    assert_eq!(report.tier(Tier::Disk).hits, 4);
    let bytes = fs::metadata(directory.path().join("chunks")).unwrap().len();
    assert!(bytes <= 4 * CHUNK_BYTES as u64, "{bytes}");
    assert_eq!(fs::metadata(directory.path().join("index")).unwrap().len(), 64 + 4 * 40);
}

#[tokio::test]
async fn a_full_cache_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, shelf, addresses) = warm(&disk_only(directory.path(), 8), 50).await;
    let disk = cache.report().disk.unwrap();
    assert_eq!(
        (disk.held.chunks, disk.held.bytes, disk.held.bytes_limit),
        (8, 8 << 19, 8 << 19)
    );
    assert_eq!((disk.writes, disk.held.evictions), (50, 42));
    for address in addresses {
        assert_eq!(
            demand(&cache, address).await.unwrap().0.stored(),
            &shelf.bytes(address.id)
        );
    }
    assert_eq!(cache.report().tier(Tier::Disk).corrupt, 0);
}

/// A slot that is overwritten while it is read is a miss, not a bad copy that somebody is woken up for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_eviction_do_not_take_each_other_for_damage() {
    let directory = tempfile::tempdir().unwrap();
    let (shelf, addresses) = Shelf::filled(12, CHUNK_BYTES);
    let cache = Cache::open(disk_only(directory.path(), 4), shelf.clone()).unwrap();
    let readers = (0..8_usize).map(|reader| {
        let (cache, shelf, addresses) = (cache.clone(), shelf.clone(), addresses.clone());
        tokio::spawn(async move {
            for turn in 0..100 {
                let address = addresses[(turn * (reader + 1) + reader) % addresses.len()];
                let (chunk, _) = demand(&cache, address).await.unwrap();
                assert_eq!(chunk.stored(), &shelf.bytes(address.id));
            }
        })
    });
    for reader in futures::future::join_all(readers).await {
        reader.unwrap();
    }
    let report = cache.report();
    assert_eq!(
        (report.tier(Tier::Disk).corrupt, report.tier(Tier::Disk).errors),
        (0, 0)
    );
    assert!(
        report.tier(Tier::Disk).hits > 0 && report.disk.unwrap().held.evictions > 0,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_second_cache_does_without_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let settings = disk_only(directory.path(), 8);
    let (first, shelf, addresses) = warm(&settings, 1).await;
    let second = Cache::open(settings, shelf).unwrap();
    assert!(second.report().disk.is_none());
    assert_eq!(demand(&second, addresses[0]).await.unwrap().1, Tier::Origin);
    assert_eq!(demand(&first, addresses[0]).await.unwrap().1, Tier::Disk);
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let (cache, _, addresses) = warm(&disk_only(&file, 8), 1).await;
    assert!(cache.report().disk.is_none());
    assert_eq!(demand(&cache, addresses[0]).await.unwrap().1, Tier::Origin);
}

/// A small tmpfs, unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "lambent-test"])
            .arg(directory.path())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Needs root, to mount; says so and passes without.
#[tokio::test]
async fn a_full_disk_is_written_no_more_and_still_read() {
    let Some(small) = SmallDisk::mount() else {
        eprintln!("not root: a full disk was not tested");
        return;
    };
    let settings = disk_only(small.0.path(), 64);
    let (shelf, addresses) = Shelf::filled(8, CHUNK_BYTES);
    let cache = Cache::open(settings, shelf).unwrap();
    for address in &addresses {
        demand(&cache, *address).await.unwrap();
    }
    cache.close().await;
    let disk = cache.report().disk.unwrap();
    assert_eq!(
        (disk.writes, disk.write_errors, disk.writing),
        (1, 3, false),
        "{disk:?}"
    );
    assert_eq!(demand(&cache, addresses[0]).await.unwrap().1, Tier::Disk);
    assert_eq!(demand(&cache, addresses[7]).await.unwrap().1, Tier::Origin);
}
