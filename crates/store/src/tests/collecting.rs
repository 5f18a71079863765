//! Garbage collection where the store refuses, or has damaged what was copied. Who dies, and when, is the simulation's.

use super::backends::over;
use super::failing::{FailingStore, Fate};
use super::sealed;
use crate::surroundings::Surroundings;
use crate::{
    ErrorKind, GcProgress, GcReport, GcSettings, LiveManifest, RootState, Settings, Store, StoreError, WriteMode,
    layout,
};
use chunk::{Account, ChunkEntry, ChunkId, ChunkKey, DataKey, Encoding, Manifest, ManifestDraft, NONCE_BYTES};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(3600);
const CHUNK: usize = 1000;

/// A store with a clock that the test moves.
struct World {
    store: Store,
    objects: Arc<FailingStore>,
    now_ms: Arc<AtomicU64>,
}

/// What was pushed.
struct Image {
    generation: u32,
    manifest: ChunkId,
    chunk: ChunkId,
}

fn account() -> Account {
    "123456789012".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let objects = Arc::new(FailingStore::new(&[], Fate::Succeed));
        let now_ms = Arc::new(AtomicU64::new(1_000_000_000));
        let clock = Arc::clone(&now_ms);
        let surroundings = Surroundings {
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            ..Surroundings::default()
        };
        let test = over(Arc::clone(&objects) as _, Settings::default());
        Self {
            store: test.store.with_surroundings(surroundings),
            objects,
            now_ms,
        }
    }

    /// An image of one chunk.
    async fn push(&self, name: &str, seed: u64) -> Image {
        let push = self.store.begin_push().await.unwrap();
        let generation = push.root().generation;
        let (chunk, stored) = sealed(seed, CHUNK);
        let writer = self.store.chunk_writer(generation, WriteMode::Store);
        writer.submit(chunk, stored).await.unwrap();
        writer.finish().await.unwrap();
        let entry = ChunkEntry::Data {
            id: chunk,
            stored_bytes: CHUNK as u32,
            encoding: Encoding::Raw,
        };
        let draft = ManifestDraft {
            chunks: vec![(entry, Some(ChunkKey::from_bytes([1; 32])))],
            metadata_chunks: 0,
            generation,
        };
        let sealed = Manifest::seal(
            &draft,
            &DataKey::from_bytes([5; 32]),
            b"wrapped",
            [seed as u8; NONCE_BYTES],
        );
        let manifest = self.store.put_manifest(generation, sealed.into()).await.unwrap();
        let record = format!("{generation} {manifest}");
        push.commit((&account(), name), manifest, record.into()).await.unwrap();
        Image {
            generation,
            manifest,
            chunk,
        }
    }

    /// A collection when everything is due that was there at the last one.
    async fn collect(&self) -> Result<GcReport, StoreError> {
        self.now_ms.fetch_add(GRACE.as_millis() as u64, Ordering::SeqCst);
        let settings = GcSettings {
            retire_after: GRACE,
            expire_after: GRACE,
            delete_after: GRACE,
            ..GcSettings::default()
        };
        self.store
            .collect(&settings, || Box::pin(live(&self.store)), &GcProgress::default())
            .await
    }

    async fn state(&self, generation: u32) -> RootState {
        self.store.root(generation).await.unwrap().state
    }

    /// Whether it can be read, byte for byte.
    async fn is_whole(&self, image: &Image) -> bool {
        let manifest = self.store.get_manifest(image.generation, image.manifest).await;
        let chunk = self.store.get_chunk(image.generation, image.chunk).await;
        manifest.is_ok() && chunk.is_ok_and(|stored| ChunkId::of(&stored) == image.chunk)
    }

    /// Cuts an object short, as no real store should.
    async fn tear(&self, key: &Path) {
        let whole = self.objects.get(key).await.unwrap().bytes().await.unwrap();
        let half = whole.slice(..whole.len() / 2);
        self.objects.put(key, half.into()).await.unwrap();
    }
}

/// Records are `GENERATION MANIFEST` here.
async fn live(store: &Store) -> Result<Vec<LiveManifest>, StoreError> {
    let mut live = Vec::new();
    for (account, name) in store.list_all_records().await? {
        let record = store.get_record(&account, &name).await?;
        let text = String::from_utf8(record.into()).unwrap();
        let (generation, manifest) = text.split_once(' ').unwrap();
        live.push(LiveManifest {
            manifest: manifest.parse().unwrap(),
            generation: generation.parse().unwrap(),
            name,
            stored_bytes: CHUNK as u64,
        });
    }
    Ok(live)
}

#[tokio::test]
async fn a_bucket_that_lets_nothing_be_deleted_is_named_and_nothing_is_lost() {
    let world = World::new();
    let (lives, dead) = (world.push("lives", 1).await, world.push("dead", 2).await);
    world.store.delete_record(&account(), "dead").await.unwrap();
    world.objects.permit_deletions(false);
    world.collect().await.unwrap();
    world.collect().await.unwrap();
    assert_eq!(world.state(1).await, RootState::Expired);
    for _ in 0..2 {
        let error = world.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FixRequest, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("cannot delete `") && text.ends_with("check the permissions, or the AWS credentials"));
        assert_eq!(world.state(1).await, RootState::Deleting);
        assert!(world.is_whole(&lives).await);
    }
    // Pushes go on; what spoke for one stays until its root goes.
    let later = world.push("later", 3).await;
    world.objects.permit_deletions(true);
    let report = world.collect().await.unwrap();
    assert!(report.objects_deleted >= 4, "{report:?}");
    assert_eq!(world.state(1).await, RootState::Deleted);
    assert!(world.is_whole(&lives).await && world.is_whole(&later).await && !world.is_whole(&dead).await);
}

/// The last look finds it, takes the old root back, and the next move brings again what is not whole.
#[tokio::test]
async fn a_copy_that_is_cut_short_is_made_again_before_its_original_goes() {
    type Key = fn(&Image) -> Path;
    let keys: [Key; 2] = [
        |image| layout::chunk(2, image.chunk),
        |image| layout::manifest(2, image.manifest),
    ];
    for key in keys {
        let world = World::new();
        let lives = world.push("lives", 1).await;
        world.push("dead", 2).await;
        world.store.delete_record(&account(), "dead").await.unwrap();
        world.collect().await.unwrap();
        world.tear(&key(&lives)).await;
        world.collect().await.unwrap();
        assert_eq!(world.state(1).await, RootState::Expired);
        let report = world.collect().await.unwrap();
        assert_eq!(report.alarms, [1], "{report:?}");
        assert_eq!(world.state(1).await, RootState::Retired);
        for state in [RootState::Expired, RootState::Deleted] {
            let report = world.collect().await.unwrap();
            assert_eq!(
                (world.state(1).await, &report.faults[..]),
                (state, &[][..]),
                "{report:?}"
            );
        }
        assert!(world.is_whole(&lives).await, "{}", key(&lives));
    }
}
