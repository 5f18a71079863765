//! Directories that the operator shares with functions.

use crate::endpoint::Endpoint;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// Who owns the directories; the tests in Python know it, too.
const OWNER: u32 = 34_567;

/// Access points' ids are ours to choose, and then the ARNs are known beforehand.
const WRITTEN: &str = "fsap-0123456789abcdef0";
const READ_ONLY: &str = "fsap-0123456789abcdef1";

#[test]
fn functions_share_directories_of_the_operator() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directories = ["written", "read-only"].map(|name| folder.path().join(name));
    for directory in &directories {
        fs::create_dir(directory).unwrap();
        chown(directory, Some(OWNER), Some(OWNER)).unwrap();
    }
    let [written, read_only] = directories.each_ref().map(|path| path.display().to_string());
    let arn = |id: &str| format!("arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/{id}");
    let endpoint = Endpoint::start_with(|up| {
        up.args(["--file-system", &format!("{WRITTEN}={written}")]);
        up.args(["--file-system", &format!("{READ_ONLY}={read_only}:ro")]);
    });
    endpoint.boto3_with(
        "test_file_systems",
        &[
            ("DIRECTORIES", &format!("{written}:{read_only}")),
            (
                "FILE_SYSTEMS",
                &format!("written={},read-only={}", arn(WRITTEN), arn(READ_ONLY)),
            ),
        ],
    );
}

#[test]
fn a_link_in_a_directorys_place_is_not_followed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [shared, secret] = ["shared", "secret"].map(|name| folder.path().join(name));
    for directory in [&shared, &secret] {
        fs::create_dir(directory).unwrap();
        chown(directory, Some(OWNER), Some(OWNER)).unwrap();
        fs::write(directory.join("whose"), directory.display().to_string()).unwrap();
    }
    let endpoint = Endpoint::start_with(|up| {
        up.args(["--file-system", &format!("{WRITTEN}={}", shared.display())]);
    });
    let variables = [
        ("SHARED", shared.display().to_string()),
        ("SECRET", secret.display().to_string()),
        (
            "FILE_SYSTEM",
            format!("arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/{WRITTEN}"),
        ),
    ];
    endpoint.boto3_with(
        "test_file_system_link",
        &variables.each_ref().map(|(name, value)| (*name, &**value)),
    );
}

#[test]
fn a_directory_of_roots_is_not_shared_for_writing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = folder.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_lambent"))
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .arg("--file-system")
        .arg(format!("models={}", folder.path().display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("belongs to root"), "{said}");
}
