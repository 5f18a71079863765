//! A writer that dies at any moment leaves nothing torn, and the next one completes its work.

use super::sealed;
use crate::{AwsOptions, Settings, Store, WriteMode};
use chunk::{Account, CHUNK_BYTES, ChunkId};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tells the test binary that it is the child, and where to write.
const FOLDER_VARIABLE: &str = "LAMBENT_TEST_KILLED_WRITER";
const CHUNKS: u64 = 80;

fn account() -> Account {
    "123456789012".parse().unwrap()
}

async fn push(folder: &Path) {
    let location = folder.to_str().unwrap().parse().unwrap();
    let store = Store::open(&location, Settings::default(), &AwsOptions::default()).unwrap();
    let root = store.active_root().await.unwrap();
    let writer = store.chunk_writer(root.generation, WriteMode::Store);
    for seed in 0..CHUNKS {
        let (id, stored) = sealed(seed, CHUNK_BYTES - seed as usize);
        if writer.submit(id, stored).await.is_err() {
            // `finish` says why.
            break;
        }
    }
    writer.finish().await.unwrap_or_else(|error| panic!("{error}"));
    let manifest = store.put_manifest(root.generation, "manifest".into()).await.unwrap();
    store
        .put_record(&account(), "image", manifest.to_string().into())
        .await
        .unwrap();
}

/// Not a test by itself: the process that `killed_writers_leave_nothing_torn` starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        push(Path::new(&folder)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_writers_leave_nothing_torn() {
    let mut killed_early = 0;
    for round in 0..8_u64 {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::killed::child"])
            .env(FOLDER_VARIABLE, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Moments spread over a push, which takes some 150 ms here; the sleep is the moment, and waits for nothing.
        tokio::time::sleep(Duration::from_millis(10 + round * 20)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        killed_early += u64::from(check_what_is_listed(folder.path()).await < CHUNKS);
        push(folder.path()).await;
        assert_eq!(check_what_is_listed(folder.path()).await, CHUNKS);
    }
    assert!(
        killed_early > 0,
        "every child was done before it was killed: the test has shown nothing"
    );
}

/// Every listed chunk is whole, and a listed record finds all of them; gives the count of chunks.
async fn check_what_is_listed(folder: &Path) -> u64 {
    let objects = LocalFileSystem::new_with_prefix(folder).unwrap();
    let listed: Vec<_> = objects.list(Some(&Key::from("chunks"))).try_collect().await.unwrap();
    for object in &listed {
        let bytes = std::fs::read(folder.join(object.location.as_ref())).unwrap();
        assert_eq!(ChunkId::of(&bytes).to_string(), object.location.filename().unwrap());
    }
    let location = folder.to_str().unwrap().parse().unwrap();
    let store = Store::open(&location, Settings::default(), &AwsOptions::default()).unwrap();
    let records = store.list_records(&account()).await.unwrap();
    assert!(records.is_empty() || listed.len() as u64 == CHUNKS);
    listed.len() as u64
}
