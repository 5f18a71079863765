use super::*;
use crate::source::plain::Progress;
use crate::source::sample::{LAYER, Sample, gzip, noise, sha256};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const MAX: u64 = 1 << 30;

fn bytes_of(layer: &PlainLayer) -> Vec<u8> {
    let mut bytes = vec![0; layer.bytes as usize];
    layer.file.read_exact_at(&mut bytes, layer.start).unwrap();
    bytes
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_encoding_gives_the_same_plain_bytes_in_order() {
    let sample = Sample::new();
    let plain: Vec<Vec<u8>> = (0..6_usize).map(|n| noise(1_500_000 + n)).collect();
    let zstd_type = format!("{LAYER}+zstd");
    let gzip_type = format!("{LAYER}+gzip");
    let stored = [
        sample.blob(LAYER, &plain[0]),
        sample.blob(&gzip_type, &gzip(&plain[1])),
        sample.blob(&zstd_type, &zstd::encode_all(&plain[2][..], 1).unwrap()),
        // Types that say something else: the bytes decide.
        sample.blob(LAYER, &gzip(&plain[3])),
        sample.blob(&zstd_type, &plain[4]),
        sample.blob(
            &gzip_type,
            &[gzip(&plain[5][..9]), gzip(&plain[5][9..]), vec![0; 512]].concat(),
        ),
    ];
    let layers: Vec<(Value, &[u8])> = stored.into_iter().zip(plain.iter().map(Vec::as_slice)).collect();
    let unpacked = sample.unpack(&layers, MAX).unwrap();
    let in_place: Vec<bool> = unpacked.iter().map(|layer| !layer.is_verified()).collect();
    assert_eq!(in_place, [true, false, false, false, true, false]);
    for (layer, plain) in unpacked.iter().zip(&plain) {
        layer.verify().unwrap();
        assert!(bytes_of(layer) == *plain, "{}", layer.name);
    }
    assert_eq!(names(sample.directory.path()), ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn a_blob_whose_digest_is_its_diff_id_is_plain_whatever_it_begins_with() {
    let sample = Sample::new();
    let bytes = gzip(b"not to be unpacked");
    let unpacked = sample.unpack(&[(sample.blob(LAYER, &bytes), &bytes)], MAX).unwrap();
    assert_eq!(bytes_of(&unpacked[0]), bytes);
    unpacked[0].verify().unwrap();
}

/// Stores a layer, damages its blob, and gives the message of `plain_layers` or else of `verify`.
fn message(stored: &[u8], diff: &[u8], damage: impl FnOnce(&mut Vec<u8>), max: u64) -> String {
    let sample = Sample::new();
    let first = noise(100);
    let descriptor = sample.blob(LAYER, stored);
    let layers = [(sample.blob(LAYER, &first), &first[..]), (descriptor, diff)];
    sample.index(&[sample.image(&layers)]);
    let mut damaged = stored.to_vec();
    damage(&mut damaged);
    fs::write(sample.directory.path().join(sha256(stored).layout_path()), damaged).unwrap();
    let result = sample
        .open("")
        .and_then(|image| crate::source::plain::plain_layers(&image, &sample.options(max), &Progress::default()))
        .and_then(|layers| layers.iter().try_for_each(PlainLayer::verify));
    let error = result.unwrap_err();
    let source = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn damage_is_named_with_the_layer() {
    let plain = noise(2_000_000);
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for stored in [plain.clone(), gzip(&plain), zstd] {
        let flipped = message(&stored, &plain, |bytes| bytes[1000] ^= 1, MAX);
        assert!(
            flipped.contains("layer 2 of 2 (sha256:") && flipped.contains("hash to"),
            "{flipped}"
        );
        assert!(flipped.contains(" of oci:/"), "{flipped}");
        let cut = message(&stored, &plain, |bytes| bytes.truncate(1000), MAX);
        assert!(
            cut.contains("layer 2 of 2") && cut.contains("has 1000 bytes, not"),
            "{cut}"
        );
    }
}

#[test]
fn a_layer_that_was_wrong_when_it_was_made_is_named() {
    let plain = noise(3_000_000);
    let packed = gzip(&plain);
    let cases: [(&[u8], &[u8], &str); 4] = [
        (&packed, b"other", "unpacked, is corrupt: its bytes hash to"),
        (&packed[..packed.len() / 2], &plain, "cannot be unpacked"),
        (&[&packed[..], b"tail"].concat(), &plain, "neither a member nor zeros"),
        (&plain, b"other", "is corrupt: its bytes hash to"),
    ];
    for (stored, diff, expected) in cases {
        let message = message(stored, diff, |_| {}, MAX);
        assert!(
            message.contains("layer 2 of 2") && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn a_bomb_stops_at_the_limit_and_names_layer_and_flag() {
    let zeros = vec![0; 50_000_000];
    for stored in [gzip(&zeros), zstd::encode_all(&zeros[..], 1).unwrap(), zeros.clone()] {
        let message = message(&stored, &zeros, |_| {}, 1_000_000);
        assert!(
            message.contains("layer 2 of 2") && message.contains("1000000 unpacked bytes"),
            "{message}"
        );
        assert!(message.contains("--unpacked-max"), "{message}");
    }
}

#[test]
fn a_scratch_file_that_cannot_be_written_ends_both_threads() {
    let sample = Sample::new();
    let plain = noise(20_000_000);
    sample.index(&[sample.image(&[(sample.blob(LAYER, &gzip(&plain)), &plain)])]);
    let image = sample.open("").unwrap();
    let (options, progress) = (sample.options(MAX), Progress::default());
    let unpacking = Unpacking {
        job: &Job::new(&image, &options, &progress),
        layer: &image.layers[0],
    };
    let LayerData::Local(range) = &image.layers[0].data else {
        panic!("a layout is local");
    };
    let read_only = Scratch {
        file: Arc::new(File::open(sample.directory.path().join("index.json")).unwrap()),
        end: 0,
    };
    let error = unpacking.unpack(Box::new(range.reader()), &read_only).unwrap_err();
    assert!(matches!(error, SourceError::Scratch { .. }), "{error}");
}

#[test]
fn a_missing_scratch_directory_is_named() {
    let sample = Sample::new();
    sample.index(&[sample.image(&[(sample.blob(LAYER, &gzip(b"a")), b"a")])]);
    let mut options = sample.options(MAX);
    options.scratch_dir = "/nonexistent".into();
    let error = crate::source::plain::plain_layers(&sample.open("").unwrap(), &options, &Progress::default());
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("scratch directory /nonexistent")
    );
}

#[test]
fn tags_choose_and_are_listed() {
    let sample = Sample::new();
    let tagged = |salt: &[u8], tag: &str| {
        let mut entry = sample.image(&[(sample.blob(LAYER, salt), salt)]);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        entry
    };
    let diff_id = |tag: &str| sample.open(tag).map(|image| image.config.diff_ids[0].clone());
    sample.index(&[tagged(b"one", "v1")]);
    assert_eq!(diff_id("").unwrap(), sha256(b"one"));
    sample.index(&[tagged(b"one", "v1"), tagged(b"two", "v2")]);
    assert_eq!(diff_id(":v2").unwrap(), sha256(b"two"));
    let message = diff_id("").unwrap_err().to_string();
    assert!(
        message.contains("several tags: append one, as in :TAG; it has: v1, v2"),
        "{message}"
    );
    let message = diff_id(":v3").unwrap_err().to_string();
    assert!(message.contains("no such tag; it has: v1, v2"), "{message}");
    sample.index(&[tagged(b"one", "v1"), tagged(b"two", "latest")]);
    assert_eq!(diff_id("").unwrap(), sha256(b"two"));
}

#[test]
fn a_damaged_or_missing_document_is_named() {
    let sample = Sample::new();
    let manifest = sample.image(&[(sample.blob(LAYER, b"a"), b"a")]);
    sample.index(std::slice::from_ref(&manifest));
    let digest: Digest = manifest["digest"].as_str().unwrap().parse().unwrap();
    let path = sample.directory.path().join(digest.layout_path());
    let original = fs::read(&path).unwrap();
    let mut changed = original.clone();
    changed[5] ^= 1;
    fs::write(&path, changed).unwrap();
    let message = sample.open("").unwrap_err().to_string();
    assert!(
        message.contains(&format!("manifest {digest} of oci:")) && message.contains("hash to"),
        "{message}"
    );
    fs::remove_file(&path).unwrap();
    let message = sample.open("").unwrap_err().to_string();
    assert!(
        message.contains(&format!("manifest {digest} is missing from oci:")),
        "{message}"
    );
    fs::remove_file(sample.directory.path().join("oci-layout")).unwrap();
    let message = sample.open("").unwrap_err().to_string();
    assert!(
        message.contains("is not an OCI image layout: it has no oci-layout"),
        "{message}"
    );
}
