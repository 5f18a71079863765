//! The bench of packing does what it says, with few chunks and no delay: real server, real proxy, real requests.

use std::process::Command;

#[test]
fn both_ways_are_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args([
            "bench",
            "packing",
            "--chunks",
            "10",
            "--chunk-kib",
            "4",
            "--pack-mib",
            "1",
        ])
        .args(["--one-way-ms", "0", "--rounds", "1", "--dry-run"])
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{errors}");
    for (way, lines) in [("one object a chunk", 6), ("packs of 1 MiB", 6)] {
        assert_eq!(text.lines().filter(|line| line.contains(way)).count(), lines, "{text}");
    }
}
