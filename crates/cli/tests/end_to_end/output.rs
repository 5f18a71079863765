//! What commands print, for people and for programs.

use crate::lambent::Lambent;
use crate::layout::{Layer, Layout};
use serde_json::Value;

fn assert_fields(value: &Value, fields: &[&str]) {
    for field in fields {
        let found = field.split('.').fold(value, |value, name| &value[name]);
        assert!(!found.is_null(), "`{field}` is missing: {value}");
    }
}

#[test]
fn json_has_what_was_promised() {
    let lambent = Lambent::new();
    let script = "head -c 900000 /dev/urandom >f; tar -cf layer.tar f";
    let first = Layout::write(&lambent.path("first"), &[Layer::of(script)]);
    let second = Layout::write(&lambent.path("second"), &[Layer::of(script)]);
    let report = lambent.json(&["push", &first.source()]);
    assert_fields(
        &report,
        &[
            "name",
            "image_bytes",
            "chunks",
            "chunks_zero",
            "chunks_new",
            "stored_bytes",
            "seconds",
            "stages.unpack",
            "stages.merge",
            "stages.seal",
            "stages.commit",
            "files",
            "metadata_chunks",
            "manifest_bytes",
            "threads",
            "warnings",
        ],
    );
    assert_eq!(report["name"], "first:latest");
    assert!(report["seconds"].is_number());
    lambent.json(&["push", &second.source()]);
    let compared = lambent.json(&["compare", "first:latest", "second:latest"]);
    assert_fields(
        &compared,
        &[
            "first",
            "second",
            "shared.chunks",
            "shared.stored_bytes",
            "only_first.chunks",
            "only_second.stored_bytes",
        ],
    );
    assert_fields(
        &lambent.json(&["verify", "first:latest"]),
        &["name", "chunks", "stored_bytes", "faults", "named"],
    );
    assert_fields(
        &lambent.json(&["inspect", "first:latest"]),
        &[
            "name",
            "image_bytes",
            "unique_bytes",
            "stored_bytes",
            "layers",
            "config",
        ],
    );
    let file = lambent.path("file");
    assert_fields(
        &lambent.json(&["export", "first:latest", file.to_str().unwrap()]),
        &["name", "file", "image_bytes"],
    );
    assert_eq!(lambent.json(&["ls"]).as_array().unwrap().len(), 2);
    assert_eq!(report["image_bytes"].as_u64().unwrap(), file.metadata().unwrap().len());
    lambent.json(&["rm", "first:latest"]);
    assert_eq!(lambent.names(), ["second:latest"]);
}

#[test]
fn a_dry_run_counts_and_stores_nothing() {
    let lambent = Lambent::new();
    let layout = Layout::write(
        &lambent.path("layout"),
        &[Layer::of("head -c 900000 /dev/urandom >f; tar -cf layer.tar f")],
    );
    let dry = lambent.json(&["push", &layout.source(), "--dry-run"]);
    assert!(lambent.names().is_empty());
    assert!(crate::lambent::files(&lambent.store().join("chunks")).is_empty());
    let real = lambent.json(&["push", &layout.source()]);
    for field in ["chunks", "chunks_zero", "chunks_new", "stored_bytes", "image_bytes"] {
        assert_eq!(dry[field], real[field], "{field}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let lambent = Lambent::new();
    for command in ["push", "ls", "inspect", "verify", "export", "compare", "rm"] {
        assert!(lambent.ok(&[command, "--help"]).contains("Example"), "{command}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_code_2() {
    let lambent = Lambent::new();
    for arguments in [
        &["push"][..],
        &["push", "oci:x", "--compression", "best"],
        &["push", "oci:x", "--unpacked-max", "10GB"],
        &["push", "/a/path"],
        &["inspect"],
        &["ls", "--account", "12"],
        &["nothing"],
    ] {
        let output = lambent.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn tables_are_for_people_and_stay_plain_in_a_pipe() {
    let lambent = Lambent::new();
    let layout = Layout::write(&lambent.path("layout"), &[Layer::of("echo >f; tar -cf layer.tar f")]);
    for command in [
        &["push", &layout.source()][..],
        &["ls"],
        &["inspect", "layout:latest"],
        &["verify", "layout:latest"],
        &["compare", "layout:latest", "layout:latest"],
        &["rm", "layout:latest"],
    ] {
        let output = lambent.command(command).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("layout:latest"),
            "{command:?}: {text}"
        );
        assert!(!text.contains('\u{1b}'), "{command:?} colours a pipe");
        assert!(
            output.stderr.is_empty(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
