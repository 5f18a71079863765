//! Small image layouts for unit tests.

use super::digest::{Digest, DigestAlgorithm};
use super::error::SourceError;
use super::plain::{PlainLayer, Progress, UnpackOptions, plain_layers};
use super::{ImageSource, OpenOptions};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use tempfile::TempDir;

pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout in a directory that goes with it.
pub(super) struct Sample {
    pub(super) directory: TempDir,
}

impl Sample {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        fs::write(
            directory.path().join("oci-layout"),
            r#"{"imageLayoutVersion": "1.0.0"}"#,
        )
        .unwrap();
        Self { directory }
    }

    /// Stores a blob and gives its descriptor.
    pub(super) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.directory.path().join(digest.layout_path()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }

    /// Stores an image of layers with their plain bytes, and gives its descriptor.
    pub(super) fn image(&self, layers: &[(Value, &[u8])]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|(_, plain)| sha256(plain).to_string()).collect();
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let layers: Vec<&Value> = layers.iter().map(|(descriptor, _)| descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.blob(
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().as_bytes(),
        )
    }

    pub(super) fn index(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(self.directory.path().join("index.json"), index.to_string()).unwrap();
    }

    pub(super) fn open(&self, tag: &str) -> Result<ImageSource, SourceError> {
        let mut options = OpenOptions::new(self.directory.path().to_owned());
        options.platform = Some("linux/amd64".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let spec = format!("oci:{}{tag}", self.directory.path().display());
        super::open(&spec.parse().unwrap(), &options, runtime.handle())
    }

    /// Opens and unpacks an image of these layers.
    pub(super) fn unpack(&self, layers: &[(Value, &[u8])], max: u64) -> Result<Vec<PlainLayer>, SourceError> {
        self.index(&[self.image(layers)]);
        plain_layers(&self.open("")?, &self.options(max), &Progress::default())
    }

    pub(super) fn options(&self, max: u64) -> UnpackOptions {
        UnpackOptions {
            scratch_dir: self.directory.path().to_owned(),
            threads: 2,
            limits: super::Limits {
                unpacked_bytes_max: max,
            },
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, bytes)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress well and are longer than all buffers together.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    words.take(bytes).collect()
}
