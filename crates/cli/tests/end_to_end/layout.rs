//! Small image layouts that tests make.

use crate::judges::shell;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer's blob as it is stored, and the tar that it unpacks to.
pub(crate) struct Layer {
    /// `""`, `+gzip` or `+zstd`.
    pub(crate) encoding: &'static str,
    pub(crate) stored: Vec<u8>,
    pub(crate) plain: Vec<u8>,
}

impl Layer {
    /// A plain layer from the `layer.tar` that a script of bash makes in an empty directory.
    pub(crate) fn of(script: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        shell(work.path(), &format!("umask 022; {script}"));
        let plain = fs::read(work.path().join("layer.tar")).unwrap();
        Self {
            encoding: "",
            stored: plain.clone(),
            plain,
        }
    }
}

/// An image layout in a directory, tagged `latest`.
pub(crate) struct Layout {
    pub(crate) directory: PathBuf,
    /// The files of its layers.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) manifest: PathBuf,
}

impl Layout {
    pub(crate) fn write(directory: &Path, layers: &[Layer]) -> Self {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let (os, architecture) = ("linux", architecture());
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(&layer.plain)).collect();
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let config = blob(
            &blobs,
            CONFIG,
            json!({"os": os, "architecture": architecture, "rootfs": rootfs})
                .to_string()
                .as_bytes(),
        );
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| blob(&blobs, &format!("{LAYER}{}", layer.encoding), &layer.stored))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors});
        let mut manifest = blob(&blobs, MANIFEST, manifest.to_string().as_bytes());
        manifest["platform"] = json!({"os": os, "architecture": architecture});
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let path = |descriptor: &Value| blobs.join(&descriptor["digest"].as_str().unwrap()["sha256:".len()..]);
        let layout = Self {
            directory: directory.to_owned(),
            layers: descriptors.iter().map(path).collect(),
            manifest: path(&manifest),
        };
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        fs::write(
            directory.join("index.json"),
            json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
        )
        .unwrap();
        layout
    }

    pub(crate) fn source(&self) -> String {
        format!("oci:{}", self.directory.display())
    }
}

fn blob(blobs: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    fs::write(blobs.join(&digest["sha256:".len()..]), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest(&SHA256, bytes)))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
