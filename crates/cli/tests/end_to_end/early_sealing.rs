//! Large files are sealed while their layers are unpacked: no byte of the image may tell, nor a count.

use crate::judges::{assert_equals_umoci, hash, shell};
use crate::lambent::{Lambent, files};
use crate::layout::{Layer, Layout};
use std::fs;

/// Everything that lies around large files: sparse ones of each kind, holes, links, tails of zeros, and a later layer
/// that hides one, replaces one, links to one and adds one.
const LOWER: &str = "head -c 1500000 /dev/urandom >hidden; seq 300000 >text; head -c 524288 /dev/urandom >exact; \
    head -c 524287 /dev/urandom >small; (head -c 600000 /dev/urandom; head -c 900000 /dev/zero) >tail; \
    head -c 700000 /dev/zero >zeros; seq 200000 >replaced; ln text link; truncate -s 3M holes; \
    printf x | dd of=holes bs=1 seek=1500000 conv=notrunc status=none; seq 100 >little";
const UPPER: &str = "touch .wh.hidden; seq 200001 >replaced; head -c 2000000 /dev/urandom >new; ln new other; \
    truncate -s 2M sparse; head -c 800000 /dev/urandom | dd of=sparse bs=4096 seek=100 conv=notrunc status=none";

/// The two layers, with sparse files as `--format` and `--sparse` say.
fn layers(tar_options: &str) -> [Layer; 2] {
    [LOWER, UPPER].map(|script| {
        Layer::of(&format!(
            "mkdir tree; cd tree; {script}; shopt -s dotglob; tar --numeric-owner --sort=name {tar_options} -cf ../layer.tar *"
        ))
    })
}

/// The same layer, compressed by a program.
fn encoded(layer: &Layer, encoding: &'static str) -> Layer {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("plain"), &layer.plain).unwrap();
    let program = match encoding {
        "+gzip" => "gzip -1",
        "+zstd" => "zstd -q -1",
        _ => "cat",
    };
    shell(work.path(), &format!("{program} <plain >stored"));
    Layer {
        encoding,
        stored: fs::read(work.path().join("stored")).unwrap(),
        plain: layer.plain.clone(),
    }
}

fn layout(lambent: &Lambent, layers: &[Layer], encoding: &'static str) -> Layout {
    let layers: Vec<Layer> = layers.iter().map(|layer| encoded(layer, encoding)).collect();
    Layout::write(&lambent.path(&format!("layout{encoding}")), &layers)
}

#[test]
fn neither_encoding_nor_threads_change_a_byte_or_a_chunk() {
    // How many chunks are stored for nothing: three of the hidden file; of the replaced one, whose begin stays, one. An old
    // GNU sparse file ends what is sealed early in its layer, and it comes before the replaced one.
    for (tar_options, in_vain) in [
        ("--format=gnu", 3 + 1),
        ("--format=pax", 3 + 1),
        ("--format=posix --sparse", 3 + 1),
        ("--format=gnu --sparse", 3),
    ] {
        let layers = layers(tar_options);
        let reference = Lambent::new();
        let plain = layout(&reference, &layers, "");
        let expected = reference.push(&plain.source(), "image");
        // umoci cannot read GNU's old form of sparse files.
        if tar_options != "--format=gnu --sparse" {
            assert_equals_umoci(&reference, "image", plain.directory.to_str().unwrap());
        }
        let expected_hash = hash(&reference.export("image"));
        for (encoding, threads) in [("+gzip", "1"), ("+gzip", "4"), ("+zstd", "2")] {
            let lambent = Lambent::new();
            let source = layout(&lambent, &layers, encoding).source();
            let push = ["push", &source, "--name", "image", "--threads", threads];
            let dry = lambent.json(&[&push[..], &["--dry-run"]].concat());
            let report = lambent.json(&push);
            lambent.assert_whole("image");
            assert_eq!(
                hash(&lambent.export("image")),
                expected_hash,
                "{tar_options} {encoding} {threads}"
            );
            for field in [
                "image_bytes",
                "chunks",
                "chunks_zero",
                "metadata_chunks",
                "image_stored_bytes",
            ] {
                assert_eq!(
                    report[field], expected[field],
                    "{tar_options} {encoding} {threads}: {field}"
                );
            }
            for field in ["chunks_new", "stored_bytes"] {
                assert_eq!(dry[field], report[field], "{tar_options} {encoding} {threads}: {field}");
            }
            let again = lambent.json(&push);
            assert_eq!((&again["chunks_new"], &again["stored_bytes"]), (&0.into(), &0.into()));
            // The totals say what was stored.
            let stored = files(&lambent.store().join("chunks")).len() as u64;
            assert_eq!(report["chunks_new"], stored);
            let more = stored - expected["chunks_new"].as_u64().unwrap();
            assert_eq!(more, in_vain, "{tar_options} {encoding} {threads}");
        }
    }
}

#[test]
fn damage_in_a_large_file_is_named_by_its_layer() {
    let layers = layers("");
    for encoding in ["+gzip", "+zstd"] {
        let lambent = Lambent::new();
        let layout = layout(&lambent, &layers, encoding);
        let layer = &layout.layers[0];
        let mut bytes = fs::read(layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(layer, bytes).unwrap();
        let message = lambent.fails(&["push", &layout.source()]);
        assert!(
            message.contains("layer 1 of 2") && message.contains("corrupt"),
            "{message}"
        );
        assert!(lambent.names().is_empty());
        assert!(files(&lambent.store().join("manifests")).is_empty());
        assert!(files(&lambent.path("data/scratch")).is_empty());
    }
}
