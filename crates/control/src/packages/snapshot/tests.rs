//! A directory with all that a function may have left, in a device that e2fsprogs read.

use crate::packages::{PackageError, Packages};
use chunk::Account;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

/// More than these snapshots have.
const BYTES_MAX: u64 = 1 << 20;

fn account() -> Account {
    "123456789012".parse().unwrap()
}

/// A directory as a worker leaves it, with files of the function's.
fn leave(directory: &Path) {
    let tmp = directory.join("tmp");
    fs::create_dir_all(tmp.join("a/b")).unwrap();
    fs::write(directory.join("pages-1.img"), vec![7_u8; 300_000]).unwrap();
    fs::set_permissions(directory.join("pages-1.img"), Permissions::from_mode(0o644)).unwrap();
    fs::write(tmp.join("own"), b"mine").unwrap();
    chown(tmp.join("own"), Some(993), Some(990)).unwrap();
    fs::set_permissions(tmp.join("own"), Permissions::from_mode(0o4751)).unwrap();
    fs::write(tmp.join("a/b").join("n".repeat(250)), b"long").unwrap();
    fs::write(tmp.join(OsStr::from_bytes(b"caf\xe9")), b"latin").unwrap();
    symlink("/etc/passwd", tmp.join("link")).unwrap();
    drop(UnixListener::bind(tmp.join("socket")).unwrap());
    fs::set_permissions(&tmp, Permissions::from_mode(0o1777)).unwrap();
}

async fn export(packages: &Packages, address: &api::ImageAddress, to: PathBuf) {
    let (name, account) = (address.name.clone(), address.account.clone());
    let exported = packages.blocking(move |packages| {
        let images = packages.images(&account);
        let exported = images.export(&name, &to, &AtomicU64::new(0));
        exported
            .map(drop)
            .map_err(|error| PackageError::internal(error.to_string()))
    });
    exported.await.unwrap();
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_keeps_owners_and_modes_and_its_directory_goes() {
    let work = tempfile::tempdir().unwrap();
    let packages = crate::record_tests::packages(work.path(), work.path());
    let directory = work.path().join("taken");
    leave(&directory);
    let address = packages
        .keep_snapshot(&account(), directory.clone(), BYTES_MAX)
        .await
        .unwrap();
    assert!(!directory.exists());
    assert!(address.name.starts_with("lambda-snapshot-"), "{}", address.name);

    let device = work.path().join("device");
    export(&packages, &address, device.clone()).await;
    said(Command::new("e2fsck").arg("-fn").arg(&device));
    let ask = |request: &str| said(Command::new("debugfs").args(["-R", request]).arg(&device));
    let own = ask("stat /snapshot/tmp/own");
    for part in ["Mode:  04751", "User:   993", "Group:   990"] {
        assert!(own.contains(part), "{part}: {own}");
    }
    assert!(ask("stat /snapshot/tmp").contains("Mode:  01777"));
    assert_eq!(ask("cat /snapshot/pages-1.img").len(), 300_000);
    assert!(ask("stat /snapshot/tmp/link").contains("/etc/passwd"));
    assert!(ask(&format!("stat /snapshot/tmp/a/b/{}", "n".repeat(250))).contains("regular"));
    let listed = ask("ls -p /snapshot/tmp");
    assert!(!listed.contains("socket") && listed.contains("caf"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_packed_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let packages = crate::record_tests::packages(work.path(), work.path());
    let missing = work.path().join("missing");
    let error = packages
        .keep_snapshot(&account(), missing, BYTES_MAX)
        .await
        .unwrap_err();
    assert!(error.message.starts_with("cannot pack the snapshot"), "{error}");
    assert!(!work.path().join("packages/devices/made").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_too_large_is_not_packed_and_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let packages = crate::record_tests::packages(work.path(), work.path());
    let directory = work.path().join("taken");
    leave(&directory);
    let long = fs::File::create(directory.join("tmp/long")).unwrap();
    long.set_len(1 << 40).unwrap();
    let refused = packages.keep_snapshot(&account(), directory.clone(), BYTES_MAX).await;
    let message = refused.unwrap_err().message;
    assert!(message.contains("of at most 1048576 bytes"), "{message}");
    assert!(!directory.exists());
    assert!(!work.path().join("packages/devices/made").exists());
}
