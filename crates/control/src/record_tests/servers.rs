//! Two servers, each with a record of its own, over one store and one account. Days pass by making notes older.

use super::*;
use image::images::Images;
use image::live::live_manifests;
use std::fs::{self, File};
use std::sync::atomic::AtomicU64;
use store::{GcProgress, GcSettings, Store};

/// A day and a little.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60 + 10);

struct Server {
    directory: TempDir,
    control: Control,
}

impl Server {
    async fn begin(shared: &Path, account: &Account) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = open_sharing(directory.path(), shared).await.unwrap();
        control.create_account(Some(account)).await.unwrap();
        Self { directory, control }
    }

    /// Makes a function of one zip that all have; gives its device.
    async fn function(&self, account: &Account, name: &str) -> ImageAddress {
        self.control.create_function(account, zip_function(name)).await.unwrap();
        let record = settled(&self.control, account, name, None).await;
        assert!(is_active(&record), "{record:?}");
        match record.prepared {
            Some(PreparedCode::Zip { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    /// Deletes the function, and lets pass what it takes until its device is released; gives the records that went.
    async fn delete(&self, account: &Account, name: &str) -> u64 {
        self.control.delete_function(account, name, None).await.unwrap();
        assert_eq!(self.pass().await, 0, "not before a day has passed");
        let notes = self
            .directory
            .path()
            .join("packages/devices/unnamed")
            .join(account.as_str());
        for note in fs::read_dir(notes).unwrap() {
            let note = File::open(note.unwrap().path()).unwrap();
            note.set_modified(SystemTime::now() - LIFE).unwrap();
        }
        self.pass().await
    }

    async fn pass(&self) -> u64 {
        self.control.reclaim_blobs().await.unwrap().devices
    }
}

/// The store, its collections with no graces at all, and an account.
struct Shared {
    directory: TempDir,
    store: Store,
    account: Account,
}

impl Shared {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = store::StoreLocation::Directory(directory.path().join("store"));
        let store = Store::open(&location, store::Settings::default(), &store::AwsOptions::default()).unwrap();
        Self {
            account: "123456789012".parse().unwrap(),
            directory,
            store,
        }
    }

    async fn begin(&self) -> Server {
        Server::begin(self.directory.path(), &self.account).await
    }

    /// Collects again and again; each time all that lives moves to a new root and the old ones go.
    async fn collect(&self) {
        let settings = GcSettings {
            retire_after: Duration::ZERO,
            expire_after: Duration::ZERO,
            delete_after: Duration::ZERO,
            salt_life: Some(Duration::ZERO),
            ..GcSettings::default()
        };
        for _ in 0..3 {
            let progress = GcProgress::default();
            let collected = self
                .store
                .collect(&settings, || Box::pin(live_manifests(&self.store)), &progress);
            let report = collected.await.unwrap();
            assert_eq!(report.faults, [] as [String; 0]);
        }
    }

    /// Whether a function could be started from a device: its manifest and all chunks are there.
    async fn is_whole(&self, device: &ImageAddress) -> bool {
        let Ok(bytes) = self.store.get_manifest(device.generation, device.manifest).await else {
            return false;
        };
        let manifest = chunk::Manifest::decode(&bytes).unwrap();
        for id in manifest.entries().iter().filter_map(chunk::ChunkEntry::id) {
            if self.store.get_chunk(device.generation, id).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_needs_a_device_no_more_leaves_it_to_those_that_do() {
    let shared = Shared::new();
    let account = &shared.account;
    let (first, second) = (shared.begin().await, shared.begin().await);
    let device = first.function(account, "made").await;
    assert_eq!(second.function(account, "found").await, device, "shared");
    // The one that made it is done with it; the store is collected to the last byte that nothing needs.
    assert_eq!(first.delete(account, "made").await, 0, "the other one has it");
    shared.collect().await;
    assert!(shared.is_whole(&device).await);
    // Also when somebody removed the record by hand, which stops nothing that runs.
    shared.store.delete_record(account, &device.name).await.unwrap();
    shared.collect().await;
    assert!(shared.is_whole(&device).await);
    assert_eq!(second.delete(account, "found").await, 1, "the last one takes all away");
    shared.collect().await;
    assert!(!shared.is_whole(&device).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_holds_what_its_record_names_whatever_became_of_the_holds() {
    let shared = Shared::new();
    let account = &shared.account;
    let (first, second) = (shared.begin().await, shared.begin().await);
    let device = first.function(account, "made").await;
    second.function(account, "found").await;
    // As an older build left it.
    for held in shared.store.list_held().await.unwrap() {
        shared.store.let_go(&held).await.unwrap();
    }
    fs::remove_dir_all(second.directory.path().join("packages/devices")).unwrap();
    let second = reopened(second, &shared).await;
    second.pass().await;
    assert_eq!(first.delete(account, "made").await, 0);
    shared.collect().await;
    assert!(shared.is_whole(&device).await);
    let servers = shared.store.servers().await.unwrap();
    let held: Vec<u64> = servers.iter().map(|server| server.devices).collect();
    assert_eq!(
        held.iter().sum::<u64>(),
        2,
        "base and code, by the one that has a function: {servers:?}"
    );
    assert!(servers.iter().all(|server| server.seen.is_some()));
    assert_eq!(second.delete(account, "found").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_held_too_late_is_let_go_at_its_next_pass() {
    let shared = Shared::new();
    let account = &shared.account;
    let server = shared.begin().await;
    let device = server.function(account, "hello").await;
    let held = shared.store.list_held().await.unwrap();
    let ours = held.iter().find(|held| held.manifest == device.manifest).unwrap();
    // As a server that died between its hold and its second look, of a device that was just collected.
    let late = store::Held {
        manifest: "ab".repeat(32).parse().unwrap(),
        ..ours.clone()
    };
    shared.store.hold(&late).await.unwrap();
    server.pass().await;
    let mut after = shared.store.list_held().await.unwrap();
    after.sort();
    let mut before = held;
    before.sort();
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_covers_a_device_whose_record_has_gone() {
    let shared = Shared::new();
    let server = shared.begin().await;
    let device = server.function(&shared.account, "hello").await;
    shared.store.delete_record(&shared.account, &device.name).await.unwrap();
    let keyring = keys::Keyring::open_or_create(shared.directory.path().join("keyring.json")).unwrap();
    keyring.rotate(&shared.account).await.unwrap();
    let images = Images {
        store: shared.store.clone(),
        keys: keys::KeyProvider::Local(keyring),
        account: shared.account.clone(),
        runtime: Handle::current(),
    };
    let rewrap = tokio::task::spawn_blocking(move || images.rewrap(&AtomicU64::new(0)));
    let done = rewrap.await.unwrap().unwrap();
    assert_eq!((done.rewrapped, done.failures), (1, 0), "{done:?}");
    let wrapped = shared.store.get_wrapped_key(device.manifest).await.unwrap();
    assert!(wrapped.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_server_alone_needed_goes_when_it_is_forgotten() {
    let shared = Shared::new();
    let account = &shared.account;
    let (first, lost) = (shared.begin().await, shared.begin().await);
    let device = first.function(account, "made").await;
    lost.function(account, "found").await;
    let both = shared.store.servers().await.unwrap();
    let first_id = fs::read_to_string(first.directory.path().join("packages/devices/server")).unwrap();
    let lost_id = both
        .iter()
        .map(|server| server.server)
        .find(|server| server.to_string() != first_id.trim());
    drop(lost);
    assert_eq!(
        first.delete(account, "made").await,
        0,
        "nobody knows yet that it is lost"
    );
    let forgotten = shared.store.forget_server(lost_id.unwrap()).await.unwrap();
    assert_eq!(
        (forgotten.devices, forgotten.records),
        (2, 1),
        "the base is the other one's, too"
    );
    shared.collect().await;
    assert!(!shared.is_whole(&device).await);
    assert_eq!(shared.store.servers().await.unwrap().len(), 1);
}

async fn reopened(server: Server, shared: &Shared) -> Server {
    let Server { directory, control } = server;
    drop(control);
    let control = open_sharing(directory.path(), shared.directory.path()).await.unwrap();
    Server { directory, control }
}
