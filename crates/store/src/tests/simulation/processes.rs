//! Who works on the store at the same time.

use super::gated::GatedStore;
use super::servers;
use super::world::{GRACE, World, account, live, parse_record};
use crate::root::RootState;
use crate::{GcProgress, GcSettings, Store, StoreError, WriteMode, layout};
use bytes::Bytes;
use chunk::{
    ChunkEntry, ChunkId, ChunkKey, DataKey, Encoding, Manifest, ManifestDraft, NONCE_BYTES, Run, StartPack,
    StartPackDraft, StartPackNonces,
};
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStore;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local, yield_now};

/// Images, and pieces of content that they are made of: few, so that all meet.
const NAMES: u64 = 4;
const CONTENTS: u64 = 8;
const DATA_KEY: DataKey = DataKey::from_bytes([5; 32]);

/// One process: killed, nothing that it did not write remains.
pub(super) struct Process {
    turns: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts one of any kind.
    pub(super) fn start(world: &Rc<World>) -> Self {
        let turns = Arc::new(Semaphore::new(0));
        let store = world.store(Arc::new(GatedStore::new(world, Arc::clone(&turns))));
        let kind = world.random(100);
        let world = Rc::clone(world);
        let idle = Arc::clone(&turns);
        let task = spawn_local(async move {
            match kind {
                0..33 => push(&world, &store).await,
                33..39 => remove(&world, &store).await,
                39..52 => mount(&world, &store, &idle).await,
                52..58 => start(&world, &store).await,
                58..63 => rotate(&world, &store).await,
                63..71 => servers::claim(&world, &store).await,
                71..77 => servers::release(&world, &store).await,
                _ => collect(&world, &store).await,
            }
        });
        Self { turns, task }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Lets it make one call.
    pub(super) async fn let_go(&self) {
        self.turns.add_permits(1);
        for _ in 0..12 {
            yield_now().await;
            if self.turns.available_permits() == 0 || self.has_ended() {
                break;
            }
        }
    }

    pub(super) fn kill(self) {
        self.task.abort();
    }
}

/// A store that failed is a process that failed; one that lost something is a failure of the test.
pub(super) fn check(error: &StoreError) {
    assert!(
        !matches!(
            error,
            StoreError::RootEvent(_) | StoreError::Corrupt(_) | StoreError::NoActiveRoot(_)
        ),
        "{error}"
    );
}

pub(super) fn name(world: &World) -> String {
    format!("image-{}", world.random(NAMES))
}

async fn push(world: &World, store: &Store) {
    let contents: Vec<u64> = (0..=world.random(3)).map(|_| world.random(CONTENTS)).collect();
    match try_push(store, &name(world), &contents).await {
        Ok(in_lanes) => world.see(|seen| {
            seen.pushes += 1;
            seen.in_lanes += in_lanes;
        }),
        Err(StoreError::Revoked(_)) => world.see(|seen| seen.pushes_revoked += 1),
        Err(error) => check(&error),
    }
}

/// Gives the number of chunks that are popular, and so lie under a lane's salt.
async fn try_push(store: &Store, name: &str, contents: &[u64]) -> Result<u64, StoreError> {
    let push = store.begin_push().await?;
    let root = push.root().clone();
    let popular = store.popular_chunks(root.generation).await?;
    let lane = popular.lane(&account(), name) + 1;
    let salted = |content: &u64| {
        let shared = ChunkId::of(&[&root.salt[..], &content.to_le_bytes()].concat());
        let mut salt = root.salt;
        salt[0] ^= if popular.contains(&shared) { lane as u8 } else { 0 };
        (salt, *content)
    };
    let salted: Vec<_> = contents.iter().map(salted).collect();
    let in_lanes = salted.iter().filter(|(salt, _)| *salt != root.salt).count();
    let chunks = put_chunks(store, root.generation, salted.into_iter()).await?;
    let manifest = Manifest::seal(&draft(root.generation, chunks), &DATA_KEY, b"wrapped", nonce(store));
    let id = store.put_manifest(root.generation, manifest.into()).await?;
    let record = format!("{} {id}", root.generation);
    push.commit((&account(), name), id, record.into()).await?;
    Ok(in_lanes as u64)
}

type DraftChunks = Vec<(ChunkEntry, Option<ChunkKey>)>;

async fn put_chunks(
    store: &Store,
    generation: u32,
    contents: impl Iterator<Item = ([u8; 32], u64)>,
) -> Result<DraftChunks, StoreError> {
    let writer = store.chunk_writer(generation, WriteMode::Store);
    let mut chunks = Vec::new();
    for (salt, content) in contents {
        let stored = [&salt[..], &content.to_le_bytes()].concat();
        let entry = ChunkEntry::Data {
            id: ChunkId::of(&stored),
            stored_bytes: stored.len() as u32,
            encoding: Encoding::Raw,
        };
        chunks.push((entry, Some(ChunkKey::from_bytes([1; 32]))));
        if writer.submit(ChunkId::of(&stored), stored).await.is_err() {
            // `finish` says why.
            break;
        }
    }
    writer.finish().await?;
    Ok(chunks)
}

fn draft(generation: u32, chunks: DraftChunks) -> ManifestDraft {
    ManifestDraft {
        chunks,
        metadata_chunks: 0,
        generation,
    }
}

fn nonce(store: &Store) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    store.fill_random(&mut nonce);
    nonce
}

async fn remove(world: &World, store: &Store) {
    match store.delete_record(&account(), &name(world)).await {
        Ok(()) => world.see(|seen| seen.removals += 1),
        Err(error) => check(&error),
    }
}

/// Reads an image again and again, long after its record may have gone; between reads it sleeps away some turns.
async fn mount(world: &World, store: &Store, turns: &Semaphore) {
    let Ok(record) = store.get_record(&account(), &name(world)).await else {
        return;
    };
    let (generation, id) = parse_record(&record);
    for _ in 0..=world.random(12) {
        let alarms_before = store.expired_reads();
        match try_read(store, generation, id).await {
            Ok(()) => world.see(|seen| seen.reads += 1),
            Err(StoreError::Missing(missing)) => {
                assert!(!world.must_be_readable(id), "a mount cannot read: {missing}");
            }
            Err(error) => check(&error),
        }
        world.see(|seen| seen.alarms += store.expired_reads() - alarms_before);
        for _ in 0..world.random(30) {
            turns.acquire().await.expect("nobody closes it").forget();
        }
    }
}

async fn try_read(store: &Store, generation: u32, id: ChunkId) -> Result<(), StoreError> {
    let bytes = store.get_manifest(generation, id).await?;
    for id in Manifest::decode(&bytes)
        .unwrap()
        .entries()
        .iter()
        .filter_map(ChunkEntry::id)
    {
        let stored = store.get_chunk(generation, id).await?;
        assert_eq!(ChunkId::of(&stored), id);
    }
    Ok(())
}

/// Leaves a trace and a start pack, as a worker does.
async fn start(world: &World, store: &Store) {
    match try_start(world, store).await {
        Ok(()) => world.see(|seen| seen.starts += 1),
        Err(error) => check(&error),
    }
}

async fn try_start(world: &World, store: &Store) -> Result<(), StoreError> {
    let record = store.get_record(&account(), &name(world)).await?;
    let (generation, manifest) = parse_record(&record);
    store.get_trace(generation, manifest).await?;
    store
        .put_trace(generation, manifest, Bytes::from_static(b"trace"))
        .await?;
    let root = store.home(generation, manifest).await?;
    let generation = root.generation;
    if root.state != RootState::Active {
        return Ok(());
    }
    let content = CONTENTS + world.random(CONTENTS);
    let chunks = put_chunks(store, generation, std::iter::once((root.salt, content))).await?;
    let pack = StartPackDraft {
        runs: vec![Run { block: 0, blocks: 1 }],
        chunks: draft(generation, chunks),
    };
    let nonces = StartPackNonces {
        keys: nonce(store),
        runs: nonce(store),
    };
    let sealed = pack.seal(&DATA_KEY, b"wrapped", nonces, manifest);
    store.put_start_pack(generation, manifest, sealed.into()).await
}

/// Wraps an image's key anew, as a rotation does.
async fn rotate(world: &World, store: &Store) {
    match try_rotate(world, store).await {
        Ok(()) => world.see(|seen| seen.rotations += 1),
        Err(error) => check(&error),
    }
}

async fn try_rotate(world: &World, store: &Store) -> Result<(), StoreError> {
    let record = store.get_record(&account(), &name(world)).await?;
    let (_, manifest) = parse_record(&record);
    let anew = Bytes::from_static(b"wrapped anew");
    store.put_wrapped_key(manifest, anew).await?;
    world.wrapped_anew(manifest);
    Ok(())
}

fn gc_settings() -> GcSettings {
    GcSettings {
        retire_after: GRACE,
        expire_after: GRACE,
        delete_after: GRACE,
        popular_above: Some(1),
        ..GcSettings::default()
    }
}

async fn collect(world: &World, store: &Store) {
    let settings = GcSettings {
        is_dry_run: world.random(20) == 0,
        ..gc_settings()
    };
    let collected = store
        .collect(&settings, || live(store).boxed(), &GcProgress::default())
        .await;
    match collected {
        Ok(report) => {
            let fault = report.faults.iter().find(|fault| world.is_fault(fault));
            assert_eq!(fault, None);
            let deleted = report.changes.iter().filter(|change| change.1 == RootState::Deleted);
            let deleted = if settings.is_dry_run { 0 } else { deleted.count() as u64 };
            world.see(|seen| {
                seen.collections += 1;
                seen.manifests_moved += report.manifests_moved;
                seen.roots_deleted += deleted;
                seen.pushes_revoked += report.pushes_revoked;
                seen.keys_deleted += if settings.is_dry_run { 0 } else { report.keys_deleted };
            });
        }
        Err(error) => check(&error),
    }
}

/// A mount goes on reading an image that was removed.
pub(super) async fn raise_alarm(world: &World) {
    let store = world.judges_store();
    try_push(&store, "image", &[1, 2]).await.unwrap();
    let (generation, id) = parse_record(&store.get_record(&account(), "image").await.unwrap());
    store.delete_record(&account(), "image").await.unwrap();
    let collect = async || {
        world.advance(GRACE.as_millis() as u64);
        let progress = GcProgress::default();
        let collected = store.collect(&gc_settings(), || live(&store).boxed(), &progress).await;
        let root = store.root(generation).await.unwrap();
        (collected.unwrap().alarms, root.state, root.alarms)
    };
    assert_eq!(collect().await, (vec![], RootState::Retired, 0));
    assert_eq!(collect().await, (vec![], RootState::Expired, 0));
    try_read(&store, generation, id).await.unwrap();
    assert_eq!(store.expired_reads(), 3, "a manifest and two chunks");
    assert_eq!(collect().await, (vec![generation], RootState::Retired, 1));
    try_read(&store, generation, id).await.unwrap();
    assert_eq!(store.expired_reads(), 3, "a retired root may be read");
    assert_eq!(collect().await, (vec![], RootState::Expired, 1));
    assert_eq!(collect().await, (vec![], RootState::Deleted, 1));
    let gone = try_read(&store, generation, id).await.unwrap_err();
    assert!(matches!(gone, StoreError::Missing(_)), "{gone}");
}

/// Collects until nothing is due any more, without faults; then the store holds what lives, and nothing else.
pub(super) async fn settle(world: &Rc<World>) {
    world.end_faults();
    let store = world.judges_store();
    servers::begin_again(world, &store).await;
    // What a clock that was set back has put off.
    world.advance(50 * 24 * 3_600_000);
    for _ in 0..12 {
        world.advance(GRACE.as_millis() as u64);
        collect(world, &store).await;
        world.judge(true).await;
    }
    let mut needed = BTreeSet::new();
    for one in live(&store).await.unwrap() {
        try_read(&store, one.generation, one.manifest).await.unwrap();
        let bytes = store.get_manifest(one.generation, one.manifest).await.unwrap();
        needed.insert(one.manifest);
        needed.extend(
            Manifest::decode(&bytes)
                .unwrap()
                .entries()
                .iter()
                .filter_map(ChunkEntry::id),
        );
        if let Some(pack) = store.get_start_pack(one.generation, one.manifest).await.unwrap() {
            let device = StartPack::packed_device(&pack).unwrap();
            for id in device.entries().iter().filter_map(ChunkEntry::id) {
                store.get_chunk(device.generation(), id).await.unwrap();
                needed.insert(id);
            }
        }
    }
    let active = store.active_root().await.unwrap().generation;
    let objects: Vec<_> = world.objects().list(None).try_collect().await.unwrap();
    for key in objects.iter().map(|object| &object.location) {
        let tree = key.as_ref().split('/').next().unwrap();
        if let ("chunks" | "manifests" | "keys", Some(id)) = (tree, layout::id(key)) {
            assert!(needed.contains(&id), "{key} is dead and was not deleted");
        }
        if layout::TREES.contains(&tree) && tree != "pushes" {
            let folder = format!("{tree}/{active:08}/");
            assert!(
                key.as_ref().starts_with(&folder),
                "{key} is not in the active root {active}"
            );
        }
    }
    assert_eq!(store.expired_reads(), 0);
}
