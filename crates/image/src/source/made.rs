//! Images of layers that were made on this machine: a zip's files, the directories that a sandbox mounts on.

use super::decode::{DecodeError, decode_config};
use super::digest::{Digest, DigestAlgorithm, Hasher};
use super::error::LayerName;
use super::platform::Platform;
use super::range::Range;
use super::{ImageSource, Layer, LayerData};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// As the OCI specification calls a plain tar layer.
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes hashed at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// An uncompressed tar file.
#[derive(Clone, Debug)]
pub struct TarLayer {
    range: Range,
    digest: Digest,
}

impl TarLayer {
    /// Reads the whole file, from its first byte, for its digest. It must not change afterwards.
    pub fn new(file: File) -> io::Result<Self> {
        let range = Range {
            start: 0,
            bytes: file.metadata()?.len(),
            file: Arc::new(file),
        };
        let digest = hash(&range)?;
        Ok(Self { range, digest })
    }

    /// SHA-256 of the tar bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    fn into_layer(self, image: &str, index: usize, layers: usize) -> Layer {
        Layer {
            name: LayerName {
                index,
                layers,
                digest: self.digest.clone(),
                image: image.to_owned(),
            },
            media_type: PLAIN_LAYER.to_owned(),
            digest: Some(self.digest.clone()),
            bytes: self.range.bytes,
            diff_id: self.digest,
            data: LayerData::Local(self.range),
        }
    }
}

impl ImageSource {
    /// An image of these layers, from the base upwards, and of no configuration but its platform.
    pub fn of_layers(reference: String, platform: Platform, layers: Vec<TarLayer>) -> Result<Self, DecodeError> {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let text = platform.to_string();
        let (os, architecture) = text.split_once('/').unwrap_or((&text, ""));
        let config = serde_json::json!({
            "os": os,
            "architecture": architecture,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).expect("strings are always valid JSON");
        let count = layers.len();
        let layers = layers.into_iter().enumerate();
        Ok(Self {
            manifest_digest: None,
            config_digest: Digest::of(DigestAlgorithm::Sha256, &config),
            config: decode_config(&config)?,
            platform,
            layers: layers
                .map(|(index, layer)| layer.into_layer(&reference, index, count))
                .collect(),
            reference,
        })
    }

    /// The same image with one layer more, below all others: whatever the image has itself wins over it. The
    /// configuration stays as it was, so its `diff_ids` are those of the other layers.
    #[must_use]
    pub fn with_base_layer(mut self, base: TarLayer) -> Self {
        let count = self.layers.len() + 1;
        // A layer's place is also what files that are sealed early are known by, so no two may have the same.
        for layer in &mut self.layers {
            layer.name.index += 1;
            layer.name.layers = count;
        }
        let layer = base.into_layer(&self.reference, 0, count);
        self.layers.insert(0, layer);
        self
    }
}

fn hash(range: &Range) -> io::Result<Digest> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut reader = range.reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample::{LAYER, Sample};

    fn tar_layer(bytes: &[u8]) -> TarLayer {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        TarLayer::new(file).unwrap()
    }

    #[test]
    fn a_base_layer_moves_the_others_up_and_leaves_the_configuration() {
        let sample = Sample::new();
        let layers = [&b"one"[..], b"two"].map(|plain| (sample.blob(LAYER, plain), plain));
        sample.index(&[sample.image(&layers)]);
        let image = sample.open("").unwrap();
        let config = image.config.clone();
        let image = image.with_base_layer(tar_layer(b"base"));
        let places: Vec<_> = image
            .layers
            .iter()
            .map(|layer| (layer.name.index, layer.name.layers))
            .collect();
        assert_eq!(places, [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(image.layers[0].diff_id, Digest::of(DigestAlgorithm::Sha256, b"base"));
        assert_eq!(image.config, config);
    }

    #[test]
    fn an_image_of_layers_names_them_and_its_platform() {
        let platform: Platform = "linux/arm64".parse().unwrap();
        let image = ImageSource::of_layers(
            "made".to_owned(),
            platform.clone(),
            vec![tar_layer(b"a"), tar_layer(b"b")],
        );
        let image = image.unwrap();
        let digests = [b"a", b"b"].map(|bytes| Digest::of(DigestAlgorithm::Sha256, bytes));
        assert_eq!(image.config.diff_ids, digests);
        assert_eq!(
            (image.config.platform.as_ref(), &image.platform),
            (Some(&platform), &platform)
        );
    }
}
