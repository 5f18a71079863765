//! What each push moved, as bars: in chunks, and in the layers that a registry would have got.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::terminal::{bar, bytes, columns};

/// One push and what it moved.
pub(super) struct Push {
    pub(super) name: String,
    /// Sealed chunks that the store did not have.
    pub(super) new_bytes: u64,
    /// Layers that a registry would not have had, plain.
    pub(super) layer_bytes: u64,
    /// The same layers as gzip, by the share that gzip leaves of the first image.
    pub(super) gzip_bytes: u64,
    pub(super) image_bytes: u64,
    pub(super) seconds: f64,
}

/// The bars of all pushes, on one scale.
pub(super) struct Chart<'a> {
    pub(super) pushes: &'a [Push],
}

impl Chart<'_> {
    pub(super) fn print(&self) {
        const LABEL: usize = 20;
        const NUMBER: usize = 11;
        let whole = self
            .pushes
            .iter()
            .map(|push| push.image_bytes.max(push.layer_bytes))
            .max()
            .unwrap_or(1);
        let width = columns().saturating_sub(2 + LABEL + NUMBER + 2).max(10);
        println!("\n▌ Bytes that each push adds to a store, on one scale\n");
        for push in self.pushes {
            println!("  {}", push.name);
            for (label, part) in [
                ("lambent", push.new_bytes),
                ("layers, gzip (est.)", push.gzip_bytes),
                ("layers, plain", push.layer_bytes),
                ("image", push.image_bytes),
            ] {
                println!(
                    "    {label:<LABEL$}{:>NUMBER$} {}",
                    bytes(part),
                    bar(part, whole, width - 3)
                );
            }
        }
        println!("  gzip: plain layers times the share that gzip -6 leaves of the first image's layers");
    }
}

/// Layers that a registry has got so far, by digest.
#[derive(Default)]
pub(super) struct MovedLayers(BTreeMap<String, u64>);

impl MovedLayers {
    /// Bytes of the layers of an image that were not there yet.
    pub(super) fn add(&mut self, layout: &Path) -> Result<u64> {
        let mut new = 0;
        for (digest, bytes) in layers(layout)? {
            if self.0.insert(digest, bytes).is_none() {
                new += bytes;
            }
        }
        Ok(new)
    }
}

/// What gzip leaves of an image's layers: `IMAGE-gzip` beside `IMAGE`.
pub(super) fn gzip_share(corpus: &Path, image: &str) -> Result<f64> {
    let sum = |name: &str| -> Result<u64> { Ok(layers(&corpus.join(name))?.iter().map(|(_, bytes)| bytes).sum()) };
    Ok(sum(&format!("{image}-gzip"))? as f64 / sum(image)? as f64)
}

fn layers(layout: &Path) -> Result<Vec<(String, u64)>> {
    let index = json(&layout.join("index.json"))?;
    let digest = index["manifests"][0]["digest"]
        .as_str()
        .context("the layout has an image")?;
    let manifest = json(&layout.join("blobs").join(digest.replace(':', "/")))?;
    let layers = manifest["layers"].as_array().context("the image has layers")?;
    let layers = layers
        .iter()
        .map(|layer| Some((layer["digest"].as_str()?.to_owned(), layer["size"].as_u64()?)));
    layers.collect::<Option<_>>().context("layers have digests and sizes")
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", path.display()))
}
