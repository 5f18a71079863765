//! What deleted functions leave goes. Notes are made older instead of waiting.

use super::*;
use crate::CodeUpdate;
use crate::packages::Reclaimed;
use std::fs::{self, File};

/// A day and a little.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60 + 10);

/// The account's devices that have a record in the store.
fn devices(fixture: &Fixture) -> Vec<String> {
    let directory = fixture
        .directory
        .path()
        .join("store/images")
        .join(fixture.account.as_str());
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn a_day_passes(fixture: &Fixture) {
    let since = SystemTime::now() - LIFE;
    let notes = fixture
        .directory
        .path()
        .join("packages/devices/unnamed")
        .join(fixture.account.as_str());
    for note in fs::read_dir(notes).into_iter().flatten() {
        File::open(note.unwrap().path()).unwrap().set_modified(since).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_deleted_functions_and_versions_lose_their_records_after_a_day() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let first = NewFunction {
        publish: true,
        ..zip_function("hello")
    };
    control.create_function(account, first).await.unwrap();
    fixture.settled("hello", Some("1")).await;
    fixture.settled("hello", None).await;
    let old = devices(&fixture);
    let update = CodeUpdate {
        code: CodeSource::Zip(zip("#!/bin/bash\n")),
        architecture: None,
        publish: false,
        dry_run: false,
        revision_id: None,
    };
    control.update_code(account, "hello", update).await.unwrap();
    fixture.settled("hello", None).await;
    let both = devices(&fixture);
    assert_eq!((old.len(), both.len()), (1, 2));

    // Named by a version, then by nothing.
    let pass = async || control.reclaim_blobs().await.unwrap().devices;
    assert_eq!(pass().await, 0);
    a_day_passes(&fixture);
    assert_eq!((pass().await, devices(&fixture)), (0, both.clone()));
    control.delete_function(account, "hello", Some("1")).await.unwrap();
    assert_eq!(pass().await, 0, "only now without a name");
    assert_eq!(pass().await, 0, "a day has not passed");
    a_day_passes(&fixture);
    assert_eq!(pass().await, 1);
    let left = devices(&fixture);
    assert!(left.len() == 1 && left != old, "{left:?}");

    control.delete_function(account, "hello", None).await.unwrap();
    pass().await;
    a_day_passes(&fixture);
    // Version 1's code again, whose device has gone.
    control.create_function(account, zip_function("again")).await.unwrap();
    fixture.settled("again", None).await;
    let freed: Reclaimed = control.reclaim_blobs().await.unwrap();
    assert_eq!(freed.devices, 1, "the other one goes");
    assert_eq!(devices(&fixture), old, "made anew after it had gone");
    let bases = fixture.directory.path().join("store/images/000000000000");
    assert_eq!(fs::read_dir(bases).unwrap().count(), 1, "the runtime's base stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_claimed_again_stays() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control.create_function(account, zip_function("hello")).await.unwrap();
    fixture.settled("hello", None).await;
    let made = devices(&fixture);
    control.delete_function(account, "hello", None).await.unwrap();
    control.reclaim_blobs().await.unwrap();
    a_day_passes(&fixture);
    control.create_function(account, zip_function("other")).await.unwrap();
    fixture.settled("other", None).await;
    control.delete_function(account, "other", None).await.unwrap();
    assert_eq!(control.reclaim_blobs().await.unwrap().devices, 0, "its day begins anew");
    assert_eq!(devices(&fixture), made);
}
