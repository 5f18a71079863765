//! Bytes in the store that somebody changed, and pushes that somebody killed.

use crate::lambent::{Lambent, corpus, failure, files};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Changes one bit in the middle of a file.
fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let place = at(bytes.len());
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_changed_chunk_is_named_and_never_exported() {
    let lambent = Lambent::new();
    lambent.push(&corpus("base"), "base");
    let chunks = files(&lambent.store().join("chunks"));
    let damaged = &chunks[chunks.len() / 2];
    flip(damaged, |bytes| bytes / 2);
    let id = damaged.file_name().unwrap().to_str().unwrap();

    let output = lambent.command(&["verify", "base", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["faults"], 1, "{report}");
    assert!(report["named"][0].as_str().unwrap().contains(id), "{report}");

    let file = lambent.path("base.ext4");
    let message = lambent.fails(&["export", "base", file.to_str().unwrap()]);
    assert!(message.contains(id), "{message}");
    assert!(!file.exists(), "a half-written file has no name");
    fs::remove_file(damaged).unwrap();
    assert!(lambent.fails(&["export", "base", file.to_str().unwrap()]).contains(id));
    // The way out that the message names.
    assert_eq!(lambent.push(&corpus("base"), "base")["chunks_new"], 1);
    lambent.assert_whole("base");
}

#[test]
fn a_changed_manifest_or_record_is_refused() {
    for directory in ["manifests", "images"] {
        for place in [|_| 3, |bytes| bytes / 3, |bytes| bytes / 2, |bytes| bytes - 2] as [fn(usize) -> usize; 4] {
            let lambent = Lambent::new();
            let layers = [crate::layout::Layer::of("echo text >f; tar -cf layer.tar f")];
            let layout = crate::layout::Layout::write(&lambent.path("layout"), &layers);
            lambent.push(&layout.source(), "image");
            let damaged = files(&lambent.store().join(directory));
            flip(&damaged[0], place);
            let message = lambent.fails(&["inspect", "image"]);
            assert!(message.contains("image"), "{message}");
        }
    }
}

#[test]
fn a_killed_push_leaves_nothing_visible_and_can_run_again() {
    let lambent = Lambent::new();
    let layers = [crate::layout::Layer::of("echo text >f; tar -cf layer.tar f")];
    let layout = crate::layout::Layout::write(&lambent.path("layout"), &layers);
    lambent.push(&layout.source(), "before");
    // From before the store is opened to long after the first chunks; from gzip, those of large files come first.
    for (name, chunks_min) in [
        ("base-gzip", 0),
        ("base", 1),
        ("base-gzip", 10),
        ("base", 40),
        ("base-gzip", 80),
        ("base", 120),
    ] {
        let mut push = lambent.command(&["push", &corpus(name), "--name", "killed"]);
        let mut child = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while files(&lambent.store().join("chunks")).len() < chunks_min && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let was_killed = !child.wait().unwrap().success();
        assert!(was_killed, "the push ended before {chunks_min} chunks");
        assert_eq!(lambent.names(), ["before"]);
        lambent.assert_whole("before");
    }
    lambent.push(&corpus("base"), "killed");
    lambent.assert_whole("killed");
    assert_eq!(lambent.names(), ["before", "killed"]);
    assert!(files(&lambent.path("data/scratch")).is_empty());
}

#[test]
fn two_pushes_at_once_both_succeed() {
    let lambent = Lambent::new();
    let children = ["one", "two"].map(|name| {
        let mut push = lambent.command(&["push", &corpus("base"), "--name", name, "--json"]);
        push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", failure(&output));
    }
    for name in ["one", "two"] {
        lambent.assert_whole(name);
    }
    assert_eq!(lambent.json(&["compare", "one", "two"])["only_first"]["chunks"], 0);
}
