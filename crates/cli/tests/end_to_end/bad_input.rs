//! Images that are broken or hostile: one message that says where, exit code 1, and nothing in the store.

use crate::judges::shell;
use crate::lambent::{Lambent, files};
use crate::layout::{Layer, Layout};

/// A good layer of two files, of which the second spans several tar blocks.
const GOOD: &str =
    "mkdir d; echo text >d/small; head -c 9000 /dev/urandom >d/large; tar --numeric-owner -cf layer.tar d";

/// Breaks a good image by a script that knows `$LAYOUT`, `$LAYER` and `$MANIFEST`.
fn check_broken(breaking: &str, expected: &[&str]) {
    let lambent = Lambent::new();
    let layout = Layout::write(&lambent.path("layout"), &[Layer::of(GOOD)]);
    let (layer, manifest) = (layout.layers[0].display(), layout.manifest.display());
    let variables = format!(
        "LAYOUT={}; LAYER={layer}; MANIFEST={manifest}",
        layout.directory.display()
    );
    shell(&lambent.path(""), &format!("{variables}; {breaking}"));
    check_refused(&lambent, &[&layout.source()], expected);
}

/// An image of one layer whose digests are right, and whose tar, made by a script, is not.
fn check_layer(script: &str, options: &[&str], expected: &[&str]) {
    let layers = [Layer::of(GOOD), Layer::of(script)];
    check_image(&layers, options, expected);
}

fn check_image(layers: &[Layer], options: &[&str], expected: &[&str]) {
    let lambent = Lambent::new();
    let layout = Layout::write(&lambent.path("layout"), layers);
    check_refused(&lambent, &[&[layout.source().as_str()], options].concat(), expected);
}

/// The push fails with a message that has all the expected parts, and leaves no image, manifest or scratch file.
fn check_refused(lambent: &Lambent, arguments: &[&str], expected: &[&str]) {
    let message = lambent.fails(&[&["push"], arguments].concat());
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(
        files(&lambent.store().join("images")),
        [] as [std::path::PathBuf; 0],
        "{message}"
    );
    assert_eq!(
        files(&lambent.store().join("manifests")),
        [] as [std::path::PathBuf; 0],
        "{message}"
    );
    assert_eq!(
        files(&lambent.path("data/scratch")),
        [] as [std::path::PathBuf; 0],
        "{message}"
    );
    assert!(lambent.names().is_empty());
}

#[test]
fn a_copy_that_is_not_whole() {
    for (breaking, expected) in [
        ("truncate -s -1000 $LAYER", &["layer", "bytes"][..]),
        (
            "printf xxxx | dd of=$LAYER bs=1 seek=5000 conv=notrunc status=none",
            &["layer", "corrupt", "sha256:"],
        ),
        (
            "printf xxxx | dd of=$LAYER bs=1 seek=2000 conv=notrunc status=none",
            &["layer", "corrupt", "sha256:"],
        ),
        ("rm $LAYER", &["layer", "missing", "sha256:"]),
        ("rm $MANIFEST", &["manifest", "missing", "sha256:"]),
        (
            "printf ' ' | dd of=$MANIFEST bs=1 seek=1 conv=notrunc status=none",
            &["manifest", "corrupt"],
        ),
        ("printf garbage >$LAYOUT/index.json", &["index", "refused"]),
        ("rm $LAYOUT/index.json", &["index.json"]),
        ("rm $LAYOUT/oci-layout", &["oci-layout"]),
        (
            "echo '{\"imageLayoutVersion\": \"9.9.9\"}' >$LAYOUT/oci-layout",
            &["9.9.9"],
        ),
        ("rm -r $LAYOUT", &["layout"]),
    ] {
        check_broken(breaking, expected);
    }
}

#[test]
fn entries_that_leave_the_root() {
    for (script, expected) in [
        (
            "echo >f; tar -P --transform 's,^f,../escape,' -cf layer.tar f",
            &["../escape", "layer", "escapes"][..],
        ),
        (
            "echo >f; tar -P --transform 's,^f,a/../../escape,' -cf layer.tar f",
            &["a/../../escape", "escapes"],
        ),
        (
            "echo >f; tar -P --transform 's,^f,/etc/escape,' -cf layer.tar f",
            &["/etc/escape", "absolute"],
        ),
        (
            "ln -s ../../outside out; tar -cf layer.tar out; rm out; mkdir out; echo >out/f; tar -rf layer.tar out/f",
            &["out/f", "escapes", "out"],
        ),
    ] {
        check_layer(script, &[], expected);
    }
}

#[test]
fn entries_that_cannot_be() {
    for (script, expected) in [
        (
            "echo >a; ln a b; tar -cf layer.tar a b; tar --delete -f layer.tar a",
            &["layer 2", "`b`", "hard link to `a`", "does not exist"][..],
        ),
        (
            "head -c 2000 /dev/zero >a; tar -cf layer.tar a; truncate -s 1200 layer.tar",
            &["truncated"],
        ),
        (
            "echo >a; tar -cf layer.tar a; printf xxxx | dd of=layer.tar bs=1 seek=10 conv=notrunc status=none",
            &["checksum"],
        ),
        ("head -c 5000 /dev/zero | tr '\\0' q >layer.tar", &["layer", "tar"]),
    ] {
        check_layer(script, &[], expected);
    }
}

#[test]
fn archives_that_grow_too_large() {
    let bomb = "truncate -s 200M zeros; tar -cf layer.tar zeros; rm zeros";
    let encode = |program: &str, encoding: &'static str| {
        let script = format!("{bomb}; {program} <layer.tar >stored; cp stored layer.tar");
        let stored = Layer::of(&script).plain;
        Layer {
            encoding,
            stored,
            plain: Layer::of(bomb).plain,
        }
    };
    for layer in [encode("gzip -1", "+gzip"), encode("zstd -q", "+zstd")] {
        check_image(&[layer], &["--unpacked-max", "10MiB"], &["--unpacked-max"]);
    }
    check_layer(
        "truncate -s 200M hole; tar --sparse -cf layer.tar hole",
        &["--unpacked-max", "10MiB"],
        &["--unpacked-max"],
    );
    check_layer(
        "mkdir d; touch d/{1..100}; tar -cf layer.tar d",
        &["--entries-max", "50"],
        &["--entries-max"],
    );
}

#[test]
fn compressed_layers_that_are_cut_or_wrong() {
    let plain = Layer::of(GOOD).plain;
    let gzip = Layer::of(&format!("{GOOD}; gzip <layer.tar >g; mv g layer.tar")).plain;
    let zstd = Layer::of(&format!("{GOOD}; zstd -q <layer.tar >z; mv z layer.tar")).plain;
    for (encoding, stored) in [("+gzip", gzip), ("+zstd", zstd)] {
        let cut = stored[..stored.len() - 20].to_vec();
        check_image(
            &[Layer {
                encoding,
                stored: cut,
                plain: plain.clone(),
            }],
            &[],
            &["layer"],
        );
        // The blob's digest is right; what it unpacks to is not what the configuration names.
        check_image(
            &[Layer {
                encoding,
                stored,
                plain: b"another".to_vec(),
            }],
            &[],
            &["layer", "corrupt"],
        );
    }
}

#[test]
fn sources_that_are_not_there() {
    for (source, expected) in [
        ("oci:/nowhere/at/all", "/nowhere/at/all"),
        ("oci-archive:/nowhere.tar", "/nowhere.tar"),
        ("docker-archive:/dev/null", "/dev/null"),
        // Port 1 is reserved and nobody listens.
        ("127.0.0.1:1/image:latest", "127.0.0.1:1"),
    ] {
        check_refused(&Lambent::new(), &[source], &[expected]);
    }
}
