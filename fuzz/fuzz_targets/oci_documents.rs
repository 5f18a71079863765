//! The JSON documents of images: index, manifest, configuration, `docker save` list.

#![no_main]

use image::source::decode::{
    Document, decode_config, decode_docker_manifest, decode_document, decode_index, decode_manifest,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match decode_document(bytes) {
        Ok(Document::Index(index)) => assert_eq!(decode_index(bytes).ok(), Some(index)),
        Ok(Document::Manifest(manifest)) => assert_eq!(decode_manifest(bytes).ok(), Some(manifest)),
        Err(error) => drop(error.to_string()),
    }
    if let Ok(config) = decode_config(bytes) {
        assert_eq!(config.raw, bytes);
    }
    let _ = decode_docker_manifest(bytes);
});
