//! The media types that are read, and what is said of others.

use super::{DecodeError, Descriptor, printable};

pub(super) const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
pub(super) const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
pub(super) const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// The compression in the name is not relied on: see `unpack`.
pub(super) const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// What we ask a registry for.
pub(in crate::source) const DOCUMENT_TYPES: [&str; 4] =
    [MANIFEST_TYPES[0], MANIFEST_TYPES[1], INDEX_TYPES[0], INDEX_TYPES[1]];

/// Refuses a layer that we cannot unpack, by name.
pub(super) fn expect_layer(layer: &Descriptor) -> Result<(), DecodeError> {
    let media_type = layer.media_type.as_str();
    if media_type.contains(".nondistributable.") || media_type.contains(".foreign.") {
        return Err(DecodeError::ForeignLayer {
            digest: layer.digest.clone(),
            media_type: printable(media_type),
        });
    }
    expect_type(media_type, &LAYER_TYPES, "a plain, gzip or zstd layer")
}

/// Refuses a media type that is not among `known`.
pub(super) fn expect_type(media_type: &str, known: &[&str], expected: &'static str) -> Result<(), DecodeError> {
    if media_type.contains(".manifest.v1+") && media_type.contains("docker") {
        return Err(DecodeError::Schema1);
    }
    if known.contains(&media_type) {
        return Ok(());
    }
    Err(DecodeError::MediaType {
        media_type: printable(media_type),
        expected,
    })
}
