//! One suite that every backend runs.

use super::backends::{TestStore, directory, memory, moto, s3s};
use super::sealed;
use crate::{ErrorKind, Put, RECORD_NAME_BYTES_MAX, RootState, WriteMode, Written, layout};
use bytes::Bytes;
use chunk::{Account, CHUNK_BYTES, ChunkId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(memory()).await;
    one_of_many_makes_the_root(memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_conforms() {
    conforms(directory()).await;
    one_of_many_makes_the_root(directory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3s_conforms() {
    conforms(s3s().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_conforms() {
    conforms(moto()).await;
}

async fn conforms(test: TestStore) {
    puts_are_conditional(&test).await;
    the_first_root_is_made_once(&test).await;
    chunks_are_stored_once(&test).await;
    torn_chunks_are_replaced(&test).await;
    oversized_chunks_are_refused(&test).await;
    absent_chunks_are_named(&test).await;
    manifests_are_checked(&test).await;
    traces_and_packs_are_replaced(&test).await;
    records_are_replaced_listed_and_deleted(&test).await;
    writers_count_each_chunk_once(&test).await;
    two_writers_of_the_same_chunks_both_succeed(&test).await;
    unknown_roots_are_refused(&test).await;
}

/// What the rest relies on.
async fn puts_are_conditional(test: &TestStore) {
    let key = Path::from("probe");
    let create = || test.objects.put_opts(&key, "a".into(), PutMode::Create.into());
    create().await.unwrap();
    let again = create().await.unwrap_err();
    assert!(matches!(again, object_store::Error::AlreadyExists { .. }), "{again}");
    test.objects.delete(&key).await.unwrap();
}

async fn the_first_root_is_made_once(test: &TestStore) {
    test.objects
        .put(&Path::from("roots/notes.txt"), "mine".into())
        .await
        .unwrap();
    let root = test.store.active_root().await.unwrap();
    assert_eq!((root.generation, root.state), (1, RootState::Active));
    assert_ne!(root.salt, [0; 32]);
    assert_eq!(test.store.active_root().await.unwrap(), root);
    assert_eq!(test.store.root(1).await.unwrap(), root);
    let missing = test.store.root(2).await.unwrap_err();
    assert!(
        missing.to_string().starts_with("root `2` does not exist in "),
        "{missing}"
    );
}

async fn one_of_many_makes_the_root(test: TestStore) {
    let roots = futures::future::join_all((0..16).map(|_| {
        let store = test.store.clone();
        tokio::spawn(async move { store.active_root().await.unwrap() })
    }));
    let roots: Vec<_> = roots.await.into_iter().map(Result::unwrap).collect();
    assert!(roots.iter().all(|root| root == &roots[0]));
}

async fn chunks_are_stored_once(test: &TestStore) {
    for bytes in [1, 4096, CHUNK_BYTES] {
        let (id, stored) = sealed(1, bytes);
        let stored = Bytes::from(stored);
        assert_eq!(test.store.find_chunk(1, id, bytes).await.unwrap(), Put::New);
        assert_eq!(test.store.put_chunk(1, id, stored.clone()).await.unwrap(), Put::New);
        assert_eq!(test.store.put_chunk(1, id, stored.clone()).await.unwrap(), Put::Present);
        assert_eq!(test.store.find_chunk(1, id, bytes).await.unwrap(), Put::Present);
        assert_eq!(test.store.get_chunk(1, id).await.unwrap(), stored);
        // Another generation shares nothing.
        assert_eq!(test.store.find_chunk(2, id, bytes).await.unwrap(), Put::New);
    }
}

async fn torn_chunks_are_replaced(test: &TestStore) {
    for torn_bytes in [0, 1, 999] {
        let (id, stored) = sealed(2, 1000);
        let key = layout::chunk(1, id);
        test.objects
            .put(&key, stored[..torn_bytes].to_vec().into())
            .await
            .unwrap();
        assert_eq!(test.store.find_chunk(1, id, 1000).await.unwrap(), Put::New);
        assert_eq!(
            test.store.put_chunk(1, id, stored.clone().into()).await.unwrap(),
            Put::New
        );
        assert_eq!(test.store.get_chunk(1, id).await.unwrap(), stored);
    }
}

async fn oversized_chunks_are_refused(test: &TestStore) {
    let (id, stored) = sealed(3, CHUNK_BYTES + 1);
    let refused = test.store.put_chunk(1, id, stored.clone().into()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FixRequest, "{refused}");
    test.objects.put(&layout::chunk(1, id), stored.into()).await.unwrap();
    let refused = test.store.get_chunk(1, id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadData, "{refused}");
    assert!(refused.to_string().contains("it has 524289 bytes"), "{refused}");
}

async fn absent_chunks_are_named(test: &TestStore) {
    let (id, _) = sealed(4, 10);
    let missing = test.store.get_chunk(1, id).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::BadData);
    assert!(
        missing
            .to_string()
            .starts_with(&format!("chunk `{id}` does not exist in ")),
        "{missing}"
    );
}

async fn manifests_are_checked(test: &TestStore) {
    let bytes = Bytes::from_static(b"a sealed manifest");
    let id = test.store.put_manifest(1, bytes.clone()).await.unwrap();
    assert_eq!(test.store.put_manifest(1, bytes.clone()).await.unwrap(), id);
    assert_eq!(test.store.get_manifest(1, id).await.unwrap(), bytes);
    test.objects
        .put(&layout::manifest(1, id), "A sealed manifest".into())
        .await
        .unwrap();
    let corrupt = test.store.get_manifest(1, id).await.unwrap_err();
    assert_eq!(corrupt.kind(), ErrorKind::BadData);
    assert!(
        corrupt.to_string().contains("its 17 bytes have another hash"),
        "{corrupt}"
    );
}

async fn traces_and_packs_are_replaced(test: &TestStore) {
    let (store, manifest, other) = (&test.store, ChunkId::of(b"manifest"), ChunkId::of(b"other"));
    assert_eq!(store.get_trace(1, manifest).await.unwrap(), None);
    assert_eq!(store.get_start_pack(1, manifest).await.unwrap(), None);
    for round in ["first", "second"] {
        let (trace, pack) = (
            Bytes::from(format!("{round} trace")),
            Bytes::from(format!("{round} pack")),
        );
        store.put_trace(1, manifest, trace.clone()).await.unwrap();
        store.put_start_pack(1, manifest, pack.clone()).await.unwrap();
        assert_eq!(store.get_trace(1, manifest).await.unwrap(), Some(trace));
        assert_eq!(store.get_start_pack(1, manifest).await.unwrap(), Some(pack));
    }
    assert_eq!(store.get_trace(1, other).await.unwrap(), None);
    assert_eq!(store.get_trace(2, manifest).await.unwrap(), None);
}

async fn records_are_replaced_listed_and_deleted(test: &TestStore) {
    let account: Account = "123456789012".parse().unwrap();
    let neighbour: Account = "999999999999".parse().unwrap();
    let mut names = [
        "a",
        "a/b:1",
        "a@sha256:0",
        ".",
        "..",
        "../../roots/x",
        "ä#1",
        "100%",
        "a%2Fb:1",
        "A B+C",
    ]
    .map(str::to_owned)
    .to_vec();
    let long = [100, 200, 201, 400, RECORD_NAME_BYTES_MAX - 4].into_iter();
    names.extend(
        long.filter(|bytes| *bytes < test.key_bytes_max)
            .map(|bytes| "n".repeat(bytes)),
    );
    for name in &names {
        test.store.put_record(&account, name, "old".into()).await.unwrap();
        test.store
            .put_record(&account, name, name.clone().into())
            .await
            .unwrap();
    }
    names.sort();
    let listed = test.store.list_records(&account).await.unwrap();
    assert_eq!(
        listed.iter().map(|entry| &entry.name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    assert!(listed.iter().all(|entry| entry.record_bytes == entry.name.len() as u64));
    assert!(
        listed
            .iter()
            .all(|entry| entry.modified.elapsed().is_ok_and(|age| age.as_secs() < 60))
    );
    assert_eq!(test.store.list_records(&neighbour).await.unwrap(), []);
    for name in &names {
        assert_eq!(test.store.get_record(&account, name).await.unwrap(), name);
        test.store.delete_record(&account, name).await.unwrap();
        for missing in [
            test.store.get_record(&account, name).await.unwrap_err(),
            test.store.delete_record(&account, name).await.unwrap_err(),
        ] {
            assert_eq!(missing.kind(), ErrorKind::FixRequest);
            assert!(
                missing
                    .to_string()
                    .starts_with(&format!("image `{name}` does not exist")),
                "{missing}"
            );
        }
    }
    let foreign = Path::from("images/123456789012/a:b");
    test.objects.put(&foreign, "foreign".into()).await.unwrap();
    assert_eq!(test.store.list_records(&account).await.unwrap(), []);
    let refused = test
        .store
        .put_record(&account, &"n".repeat(600), "x".into())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FixRequest);
}

async fn writers_count_each_chunk_once(test: &TestStore) {
    let push = |mode| async move {
        let writer = test.store.chunk_writer(1, mode);
        for seed in (0..50).chain(0..50) {
            let (id, stored) = sealed(1000 + seed, 2000);
            writer.submit(id, stored).await.unwrap();
        }
        let progress = writer.progress();
        let written = writer.finish().await.unwrap();
        assert_eq!(progress.written(), written);
        written
    };
    let all_new = Written {
        chunks_new: 50,
        chunks_present: 0,
        bytes_new: 100_000,
    };
    let all_present = Written {
        chunks_new: 0,
        chunks_present: 50,
        bytes_new: 0,
    };
    assert_eq!(push(WriteMode::DryRun).await, all_new);
    assert_eq!(push(WriteMode::Store).await, all_new);
    assert_eq!(push(WriteMode::Store).await, all_present);
    assert_eq!(push(WriteMode::DryRun).await, all_present);
}

async fn two_writers_of_the_same_chunks_both_succeed(test: &TestStore) {
    let push = || {
        let store = test.store.clone();
        tokio::spawn(async move {
            let writer = store.chunk_writer(1, WriteMode::Store);
            for seed in 0..100 {
                let (id, stored) = sealed(2000 + seed, 5000);
                writer.submit(id, stored).await.unwrap();
            }
            writer.finish().await.unwrap()
        })
    };
    for written in [push(), push()] {
        let written = written.await.unwrap();
        assert_eq!(written.chunks_new + written.chunks_present, 100);
    }
    for seed in 0..100 {
        let (id, stored) = sealed(2000 + seed, 5000);
        assert_eq!(test.store.get_chunk(1, id).await.unwrap(), stored);
    }
}

async fn unknown_roots_are_refused(test: &TestStore) {
    test.objects
        .put(&layout::root(9, 1), r#"{"version":3,"more":1}"#.into())
        .await
        .unwrap();
    let refused = test.store.active_root().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadData);
    assert!(
        refused.to_string().contains("its version 3 is not known here"),
        "{refused}"
    );
}
