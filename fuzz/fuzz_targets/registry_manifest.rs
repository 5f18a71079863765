//! A manifest or index as it is pushed to the built-in registry. The first byte chooses its Content-Type.

#![no_main]

use control::packages::repositories::{RepositoryError, manifest_names};
use image::source::decode::decode_document;
use libfuzzer_sys::fuzz_target;

const CONTENT_TYPES: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/json",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let content_type = CONTENT_TYPES[usize::from(*choice) % CONTENT_TYPES.len()];
    match manifest_names(content_type, bytes) {
        Ok(_) => assert_ne!(content_type, "application/json"),
        Err(RepositoryError::ManifestInvalid { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    // What it is read by when a function is made of it, whether the registry took it or not.
    let _ = decode_document(bytes);
});
