//! OCI image layouts: a folder with `oci-layout`, `index.json` and `blobs/sha256/`. Source: image-spec 1.1, image-layout.md.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::layer;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer.
pub(super) const TAR_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzip layer.
pub(super) const GZIP_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Creation time of every image and history entry: the day of `Day::FIRST`, so that equal content has an equal digest.
const CREATED: &str = "2025-06-01T00:00:00Z";

/// A blob as manifests name it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// One layer of an image.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    /// Digest of the uncompressed tar.
    pub(super) diff_id: String,
    /// Bytes of the uncompressed tar.
    pub(super) tar_bytes: u64,
    /// What made it, as the history shows it.
    pub(super) created_by: String,
}

/// An image layout with one image, tagged `latest`.
pub(super) struct Layout {
    folder: PathBuf,
    layers: Vec<Layer>,
    manifest_digest: String,
}

impl Layout {
    /// An empty layout in a new folder; [`Layout::finish`] makes it an image.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256")).with_context(|| format!("creating {}", folder.display()))?;
        fs::write(
            folder.join("oci-layout"),
            json!({"imageLayoutVersion": "1.0.0"}).to_string(),
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            layers: Vec::new(),
            manifest_digest: String::new(),
        })
    }

    /// A finished layout whose layers are uncompressed, as those of all parents are.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let index = read_json(&folder.join("index.json"))?;
        let manifest_digest = text(&index["manifests"][0]["digest"])?;
        let mut layout = Self {
            folder: folder.to_owned(),
            layers: Vec::new(),
            manifest_digest,
        };
        let manifest = read_json(&layout.blob_path(&layout.manifest_digest))?;
        let config = read_json(&layout.blob_path(&text(&manifest["config"]["digest"])?))?;
        let blobs: Vec<Descriptor> = serde_json::from_value(manifest["layers"].clone())?;
        for (index, blob) in blobs.into_iter().enumerate() {
            layout.layers.push(Layer {
                diff_id: text(&config["rootfs"]["diff_ids"][index])?,
                tar_bytes: blob.size,
                blob,
                created_by: text(&config["history"][index]["created_by"])?,
            });
        }
        Ok(layout)
    }

    /// The folder of the layout.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lowest layer first.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Digest of the image's manifest.
    pub(super) fn manifest_digest(&self) -> &str {
        &self.manifest_digest
    }

    /// The file of a layer.
    pub(super) fn layer_path(&self, layer: &Layer) -> PathBuf {
        self.blob_path(&layer.blob.digest)
    }

    /// Adds an uncompressed layer; the file moves into the layout.
    pub(super) fn add_tar(&mut self, file: &Path, created_by: &str) -> Result<()> {
        let blob = self.add_file(file, TAR_TYPE)?;
        let (diff_id, tar_bytes) = (blob.digest.clone(), blob.size);
        self.layers.push(Layer {
            blob,
            diff_id,
            tar_bytes,
            created_by: created_by.to_owned(),
        });
        Ok(())
    }

    /// Adds the gzip form of an uncompressed layer; the file moves into the layout.
    pub(super) fn add_gzip(&mut self, file: &Path, uncompressed: &Layer) -> Result<()> {
        let blob = self.add_file(file, GZIP_TYPE)?;
        self.layers.push(Layer {
            blob,
            ..uncompressed.clone()
        });
        Ok(())
    }

    /// Adds a layer of another layout on the same file system; both then share the blob's disk space.
    pub(super) fn add_shared(&mut self, other: &Self, layer: &Layer) -> Result<()> {
        let (from, to) = (other.layer_path(layer), self.layer_path(layer));
        fs::hard_link(&from, &to).with_context(|| format!("linking {} to {}", from.display(), to.display()))?;
        self.layers.push(layer.clone());
        Ok(())
    }

    /// Writes configuration, manifest and index. `run` holds the runtime part of the configuration.
    pub(super) fn finish(&mut self, run: &Value) -> Result<()> {
        let history: Vec<_> = self
            .layers
            .iter()
            .map(|layer| json!({"created": CREATED, "created_by": layer.created_by}))
            .collect();
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| &layer.diff_id).collect();
        let config = self.add_json(
            &json!({
                "created": CREATED,
                "architecture": architecture(),
                "os": "linux",
                "config": run,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": history,
            }),
            CONFIG_TYPE,
        )?;
        let blobs: Vec<_> = self.layers.iter().map(|layer| &layer.blob).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": blobs});
        let manifest = self.add_json(&manifest, MANIFEST_TYPE)?;
        self.write_index(manifest)
    }

    /// Replaces blobs that a sibling folder has too by hard links to them, so that the disk holds them once.
    pub(super) fn share_blobs(&self, corpus: &Path) -> Result<()> {
        let siblings: Vec<_> = fs::read_dir(corpus)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        for layer in &self.layers {
            let path = self.layer_path(layer);
            let relative = path.strip_prefix(&self.folder).context("a blob lies in its layout")?;
            if let Some(same) = siblings
                .iter()
                .map(|folder| folder.join(relative))
                .find(|other| other.is_file())
            {
                let link = path.with_extension("link");
                fs::hard_link(&same, &link).with_context(|| format!("linking {}", same.display()))?;
                fs::rename(&link, &path)?;
            }
        }
        Ok(())
    }

    fn write_index(&mut self, manifest: Descriptor) -> Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": manifest.media_type,
                "digest": manifest.digest,
                "size": manifest.size,
                "platform": {"architecture": architecture(), "os": "linux"},
                "annotations": {"org.opencontainers.image.ref.name": "latest"},
            }],
        });
        fs::write(self.folder.join("index.json"), index.to_string()).context("writing index.json")?;
        self.manifest_digest = manifest.digest;
        Ok(())
    }

    fn add_json(&self, value: &Value, media_type: &str) -> Result<Descriptor> {
        let path = self.folder.join("unnamed.json");
        fs::write(&path, value.to_string()).with_context(|| format!("writing {}", path.display()))?;
        self.add_file(&path, media_type)
    }

    fn add_file(&self, file: &Path, media_type: &str) -> Result<Descriptor> {
        let (digest, size) = layer::digest(file)?;
        let path = self.blob_path(&digest);
        fs::rename(file, &path).with_context(|| format!("moving {} to {}", file.display(), path.display()))?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
        })
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }
}

/// The host's architecture in Go's words, which are OCI's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", path.display()))
}

fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("expected a string in the image's JSON, found {value}"))
}
