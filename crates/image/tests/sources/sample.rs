//! A small image layout, and what must come out of every copy of it.

use image::source::plain::{PlainLayer, Progress, UnpackOptions, plain_layers};
use image::source::spec::SourceSpec;
use image::source::{ImageSource, Limits, OpenOptions, open};
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout `layout` with uncompressed layers in a directory, and room beside it for copies.
pub(crate) struct Sample {
    pub(crate) directory: TempDir,
    pub(crate) runtime: Runtime,
    /// The plain tar bytes of each layer.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Sample {
    /// Three layers for linux/amd64, the second of them of two megabytes that do not compress.
    pub(crate) fn new() -> Self {
        let sample = Self::empty(vec![
            layer("etc/hostname", b"sample\n"),
            layer("data.bin", &noise(2_000_000)),
            layer("zeros", &[0; 300_000]),
        ]);
        let manifest = sample.manifest("amd64", &sample.layers);
        sample.index(&[manifest]);
        sample
    }

    /// The image for linux/amd64, and one of a single other layer for linux/arm64.
    pub(crate) fn of_two_platforms() -> Self {
        let sample = Self::new();
        let index = [
            sample.manifest("amd64", &sample.layers),
            sample.manifest("arm64", &[layer("arm", b"arm")]),
        ];
        let index = json!({"schemaVersion": 2, "manifests": index});
        let index = sample.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
        sample.index(&[index]);
        sample
    }

    fn empty(layers: Vec<Vec<u8>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("layout/blobs/sha256")).unwrap();
        fs::write(
            directory.path().join("layout/oci-layout"),
            r#"{"imageLayoutVersion": "1.0.0"}"#,
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            directory,
            runtime,
            layers,
        }
    }

    fn manifest(&self, architecture: &str, layers: &[Vec<u8>]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|bytes| sha256(bytes)).collect();
        let config = json!({"os": "linux", "architecture": architecture, "config": {"Env": ["SAMPLE=1"]},
                            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let layers: Vec<Value> = layers
            .iter()
            .map(|bytes| self.blob("application/vnd.oci.image.layer.v1.tar", bytes))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut descriptor = self.blob(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    fn index(&self, entries: &[Value]) {
        let mut entries = entries.to_vec();
        entries[0]["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(self.path("layout/index.json"), index.to_string()).unwrap();
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.path(&format!("layout/blobs/{}", digest.replace(':', "/"))), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new(self.directory.path().to_owned());
        options.platform = Some("linux/amd64".parse().unwrap());
        options
    }

    pub(crate) fn open(&self, source: &str, options: &OpenOptions) -> Result<ImageSource, String> {
        let spec: SourceSpec = source.parse().map_err(message)?;
        open(&spec, options, self.runtime.handle()).map_err(message)
    }

    pub(crate) fn unpack(&self, image: &ImageSource) -> Result<Vec<PlainLayer>, String> {
        let options = UnpackOptions {
            scratch_dir: self.directory.path().to_owned(),
            threads: 2,
            limits: Limits::default(),
        };
        let layers = plain_layers(image, &options, &Progress::default()).map_err(message)?;
        layers.iter().try_for_each(PlainLayer::verify).map_err(message)?;
        Ok(layers)
    }

    /// Opens, unpacks and verifies, and compares every byte; gives what was opened.
    pub(crate) fn check(&self, source: &str, options: &OpenOptions) -> ImageSource {
        let image = self.open(source, options).unwrap();
        let layers = self.unpack(&image).unwrap();
        assert_eq!(layers.len(), self.layers.len(), "{source}");
        for (layer, expected) in layers.iter().zip(&self.layers) {
            let mut bytes = vec![0; layer.bytes as usize];
            layer.file.read_exact_at(&mut bytes, layer.start).unwrap();
            assert!(bytes == *expected, "{source}: {}", layer.name);
        }
        let config = image.config.parsed.config().as_ref().unwrap();
        assert_eq!(config.env().as_ref().unwrap(), &["SAMPLE=1"], "{source}");
        image
    }

    /// The message of whatever fails first, `open` or `unpack`.
    pub(crate) fn failure(&self, source: &str, options: &OpenOptions) -> String {
        match self.open(source, options) {
            Ok(image) => self.unpack(&image).map(|layers| layers.len()).unwrap_err(),
            Err(message) => message,
        }
    }
}

/// An error with its causes, as a command prints it.
pub(crate) fn message(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    format!("sha256:{}", hex::encode(hash))
}

/// Flips one bit in the middle of a file.
pub(crate) fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    words.take(bytes).collect()
}
