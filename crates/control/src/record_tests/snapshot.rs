//! Versions with SnapStart, where the test is the worker.

use super::*;
use crate::{AliasChange, Optimization, PublishRequest, QualifiedName, Reason, SnapshotEnd, SnapshotWish};
use api::{Initialization, SnapshotFailure, TakenSnapshot};
use std::fs;

/// A function with SnapStart, Active.
async fn with_snap_start(fixture: &Fixture, name: &str) {
    fixture.active(name).await;
    let settings = Settings {
        snap_start: Some("PublishedVersions".into()),
        ..Settings::default()
    };
    let changed = fixture
        .control
        .update_configuration(&fixture.account, name, settings, None);
    changed.await.unwrap();
    fixture.settled(name, None).await;
}

async fn publish(fixture: &Fixture, name: &str) -> FunctionRecord {
    let control = &fixture.control;
    let published = control.publish_version(&fixture.account, name, PublishRequest::default());
    published.await.unwrap()
}

/// What is wanted, as soon as the code is prepared.
async fn wanted(control: &Control, key: (&Account, &str)) -> SnapshotWish {
    let mut changes = control.changes();
    let wait = async {
        loop {
            if let Some(wish) = control.snapshots_wanted(Some(key)).await.unwrap().pop() {
                return wish;
            }
            changes.recv().await.unwrap();
        }
    };
    tokio::time::timeout(WAIT, wait).await.expect("a snapshot is wanted")
}

fn taken(fixture: &Fixture) -> TakenSnapshot {
    let directory = fixture.directory.path().join("taken");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("pages-1.img"), b"memory").unwrap();
    TakenSnapshot {
        directory,
        memory_bytes: 6,
        init: Duration::from_millis(900),
        checkpoint: Duration::from_millis(80),
        processor: "x86_64-made".into(),
    }
}

/// Snapshots that have a record in the store.
fn stored(fixture: &Fixture) -> usize {
    let images = fixture.directory.path().join("store/images");
    let listed = fs::read_dir(images.join(fixture.account.as_str()));
    let names = listed.into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().contains("lambda-snapshot-"))
        .count()
}

fn init_failed() -> SnapshotFailure {
    SnapshotFailure::Init {
        error_type: "Runtime.ExitError".into(),
        message: "exit status 1".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_pending_until_its_snapshot_is_there() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    with_snap_start(&fixture, "hello").await;
    let latest = control.function(account, "hello", None).await.unwrap();
    assert_eq!(latest.optimization, Optimization::Unasked, "of versions alone");
    let published = publish(&fixture, "hello").await;
    let creating = Reason {
        code: "Creating".into(),
        text: "The function is being created.".into(),
    };
    assert_eq!(published.lifecycle.state, State::Pending);
    assert_eq!(published.lifecycle.state_reason, Some(creating));
    let wish = wanted(control, (account, "hello")).await;
    assert_eq!(wish.lease.initialization, Initialization::SnapStart);
    assert_eq!(wish.lease.snapshot, None);
    let refused = control.resolve(account, "hello", Some("1"), 0.0).await.map(drop);
    let message =
        "The operation cannot be performed at this time. The function is currently in the following state: Pending";
    check_error(refused, "Conflict", message);
    let latest = control.resolve(account, "hello", None, 0.0).await.unwrap().lease;
    assert_eq!(latest.initialization, Initialization::OnDemand);

    let snapshot = taken(&fixture);
    let directory = snapshot.directory.clone();
    assert_eq!(
        control.snapshot_taken(&wish, snapshot).await.unwrap(),
        SnapshotEnd::Recorded
    );
    assert!(!directory.exists());
    let version = control.function(account, "hello", Some("1")).await.unwrap();
    assert!(is_active(&version) && !version.lifecycle.is_preparing());
    assert_eq!(version.optimization.status(), "On");
    let lease = control.resolve(account, "hello", Some("1"), 0.0).await.unwrap().lease;
    assert_ne!(lease.revision, wish.lease.revision);
    let device = lease.snapshot.as_ref().unwrap();
    assert_eq!(device.account, *account);
    assert_eq!(stored(&fixture), 1);
    assert!(control.snapshots_wanted(None).await.unwrap().is_empty());
    // Who asks twice has asked for nothing.
    let again = control.snapshot_failed(&wish, &init_failed()).await.unwrap();
    assert_eq!(again, SnapshotEnd::Unwanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_to_initialise_is_failed_and_one_without_snapshots_works() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    with_snap_start(&fixture, "hello").await;
    publish(&fixture, "hello").await;
    let wish = wanted(control, (account, "hello")).await;
    control.snapshot_failed(&wish, &init_failed()).await.unwrap();
    let version = control.function(account, "hello", Some("1")).await.unwrap();
    let reason = version.lifecycle.state_reason.unwrap();
    assert_eq!(version.lifecycle.state, State::Failed);
    assert_eq!(reason.code, "FunctionError.RuntimeInitError");
    let refused = control.resolve(account, "hello", Some("1"), 0.0).await.unwrap_err();
    assert!(refused.to_string().ends_with("exit status 1"), "{refused}");

    fixture.set_memory("hello", 256).await;
    publish(&fixture, "hello").await;
    let wish = wanted(control, (account, "hello")).await;
    let reason = "there is no CRIU".to_owned();
    let failure = SnapshotFailure::Unsuitable { reason: reason.clone() };
    control.snapshot_failed(&wish, &failure).await.unwrap();
    let version = control.function(account, "hello", Some("2")).await.unwrap();
    assert!(is_active(&version));
    assert_eq!(version.optimization, Optimization::Off { reason });
    let lease = control.resolve(account, "hello", Some("2"), 0.0).await.unwrap().lease;
    assert_eq!(
        (lease.initialization, &lease.snapshot),
        (Initialization::SnapStart, &None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_interrupted_is_wanted_again() {
    let fixture = Fixture::new().await;
    with_snap_start(&fixture, "hello").await;
    publish(&fixture, "hello").await;
    let before = wanted(&fixture.control, (&fixture.account, "hello")).await;
    let reopened = open(fixture.directory.path()).await.unwrap();
    reopened.resume_preparations().await.unwrap();
    let after = wanted(&reopened, (&fixture.account, "hello")).await;
    assert_eq!(after.lease.revision, before.lease.revision);
    assert_eq!(after.number, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_deleted_in_the_middle_leaves_nothing() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    with_snap_start(&fixture, "hello").await;
    publish(&fixture, "hello").await;
    let wish = wanted(control, (account, "hello")).await;
    control.delete_function(account, "hello", Some("1")).await.unwrap();
    assert!(control.snapshots_wanted(None).await.unwrap().is_empty());
    let snapshot = taken(&fixture);
    let directory = snapshot.directory.clone();
    let end = control.snapshot_taken(&wish, snapshot).await.unwrap();
    assert_eq!(
        (end, stored(&fixture), directory.exists()),
        (SnapshotEnd::Unwanted, 0, false)
    );
    let made = fixture
        .directory
        .path()
        .join("packages/devices/made")
        .join(account.as_str());
    assert_eq!(fs::read_dir(made).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_stay_as_long_as_their_versions() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    with_snap_start(&fixture, "hello").await;
    publish(&fixture, "hello").await;
    let wish = wanted(control, (account, "hello")).await;
    control.snapshot_taken(&wish, taken(&fixture)).await.unwrap();
    let day_passes = || {
        let notes = fixture.directory.path().join("packages/devices/unnamed");
        let since = SystemTime::now() - Duration::from_secs(24 * 60 * 60 + 10);
        for note in fs::read_dir(notes.join(account.as_str())).into_iter().flatten() {
            let note = fs::File::open(note.unwrap().path()).unwrap();
            note.set_modified(since).unwrap();
        }
    };
    for _ in 0..2 {
        control.reclaim_blobs().await.unwrap();
        day_passes();
    }
    assert_eq!(stored(&fixture), 1);
    control.delete_function(account, "hello", None).await.unwrap();
    control.reclaim_blobs().await.unwrap();
    day_passes();
    control.reclaim_blobs().await.unwrap();
    assert_eq!(stored(&fixture), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_environments_ahead_exclude_each_other() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    publish(&fixture, "hello").await;
    let alias = AliasChange {
        version: Some("1".into()),
        ..AliasChange::default()
    };
    control.create_alias(account, "hello", "live", alias).await.unwrap();
    let at = |qualifier| QualifiedName {
        account,
        name: "hello",
        qualifier,
    };
    control.put_provisioned_concurrency(&at("live"), 1, 1000).await.unwrap();
    let settings = Settings {
        snap_start: Some("PublishedVersions".into()),
        ..Settings::default()
    };
    let changed = control.update_configuration(account, "hello", settings, None);
    changed.await.unwrap();
    fixture.settled("hello", None).await;
    publish(&fixture, "hello").await;
    let message = "Provisioned Concurrency is not supported for SnapStart enabled functions.";
    let refused = control.put_provisioned_concurrency(&at("2"), 1, 1000).await;
    check_error(refused, "Invalid", message);
    let change = AliasChange {
        version: Some("2".into()),
        ..AliasChange::default()
    };
    let refused = control.update_alias(account, "hello", "live", change).await;
    check_error(refused, "Invalid", message);
}
