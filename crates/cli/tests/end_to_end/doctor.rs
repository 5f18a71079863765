//! `lambent doctor` on the machine that runs these tests, which has all that Lambent needs.

use serde_json::Value;
use std::process::Command;

fn doctor(arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambent"));
    let output = command.arg("doctor").args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[test]
fn a_machine_that_was_set_up_is_well() {
    let (json, success) = doctor(&["--json"]);
    let checks: Vec<Value> = serde_json::from_str(&json).unwrap();
    let state = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no check of {name}: {json}"))["state"].clone()
    };
    for name in [
        "user",
        "kernel",
        "control groups",
        "namespaces",
        "fuse",
        "loop devices",
        "seccomp",
        "nft",
        "criu",
    ] {
        assert_eq!(state(name), "ok", "{name}: {json}");
    }
    assert!(success);
}

#[test]
fn people_read_a_line_for_each_check() {
    let (text, _) = doctor(&[]);
    assert!(text.lines().any(|line| line.starts_with("ok       kernel")), "{text}");
    assert!(text.lines().count() >= 11, "{text}");
}

/// Whoever is not root is told what to do, and by the code, too.
#[test]
fn without_root_the_user_is_missing() {
    let program = tempfile::Builder::new().prefix("lambent").tempfile_in("/tmp").unwrap();
    let path = program.into_temp_path();
    // By a process of its own: a file that this one had open to write could not be run while another test's child has it.
    let copied = Command::new("install")
        .arg("--mode=755")
        .arg(env!("CARGO_BIN_EXE_lambent"))
        .arg(&path)
        .status();
    assert!(copied.unwrap().success());
    let mut command = Command::new("setpriv");
    let output = command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&*path)
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let user = &checks[0];
    assert_eq!(
        (user["name"].as_str(), user["state"].as_str()),
        (Some("user"), Some("missing"))
    );
    assert!(user["advice"].as_str().unwrap().contains("sudo"));
}
