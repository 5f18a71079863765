//! The JSON documents of an image, decoded from bytes that a stranger wrote.
//!
//! Pure functions: bytes in, checked domain types out. What is checked here is form: sizes, counts, digests, media
//! types. That a blob has the digest that names it is checked where the blob is read.
//!
//! A document is an index or a manifest, never both: one with `layers` and `manifests` is refused, and so is one whose
//! `mediaType` says the opposite of its fields, because two readers could take it for two different images under one
//! digest (CVE-2021-41190).

pub(super) mod media_types;

use super::digest::{Digest, DigestParseError};
use super::platform::Platform;
use media_types::{CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES, expect_layer, expect_type};
use oci_spec::image::{self as oci, ImageConfiguration};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Bytes in one JSON document. 4 MiB: what the distribution specification asks registries to accept for a manifest,
/// and some hundred times what real ones need.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Layers in one image. 500: overlayfs stacks no more (OVL_MAX_STACK), so no container runtime can have run an image
/// with more; and each uncompressed layer of an image layout holds a file descriptor, of which a process usually has
/// 1,024. Docker itself stops at 127.
pub const LAYERS_MAX: usize = 500;

/// Manifests in one index. Real ones list some twenty platforms; the bound keeps a hostile index from costing more
/// than its own 4 MiB.
const MANIFESTS_MAX: usize = 4096;

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the blob is said to be.
    pub media_type: String,
    /// What the blob's bytes hash to.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it runs on, in an index.
    pub platform: Option<Platform>,
    /// `org.opencontainers.image.ref.name`: the tag, in the index of an image layout.
    pub reference_name: Option<String>,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        INDEX_TYPES.contains(&self.media_type.as_str())
    }

    pub(super) fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(Platform::is_attestation)
    }
}

/// A list of manifests, one for each platform or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// In the order of the document.
    pub manifests: Vec<Descriptor>,
}

/// One image: its configuration and its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration blob.
    pub config: Descriptor,
    /// From the base upwards; every media type is one that we can unpack.
    pub layers: Vec<Descriptor>,
}

/// What a tag or a digest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Another choice has to be made.
    Index(Index),
    /// The image.
    Manifest(Manifest),
}

/// An image's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bytes as they were read: their digest is the image's id.
    pub raw: Vec<u8>,
    /// The same parsed: environment, entry point, user and the rest.
    pub parsed: ImageConfiguration,
    /// The digests of the uncompressed layers, from the base upwards.
    pub diff_ids: Vec<Digest>,
    /// What it runs on; `None` when the fields are empty, as some minimal builders leave them.
    pub platform: Option<Platform>,
}

/// One image of `manifest.json` in a `docker save` archive; all but the tags are member names of that archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerImage {
    /// The configuration's member.
    pub config: String,
    /// `RepoTags`.
    pub tags: Vec<String>,
    /// The layers' members, from the base upwards.
    pub layers: Vec<String>,
}

/// Why bytes are not the document that they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any real one.
    #[error("{bytes} bytes of JSON, and {DOCUMENT_BYTES_MAX} are the most that is read")]
    TooLong {
        /// How many there are, or are announced.
        bytes: u64,
    },
    /// Not JSON, or other fields.
    #[error("not valid: {source}")]
    Json {
        /// What the parser says.
        #[from]
        source: serde_json::Error,
    },
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] DigestParseError),
    /// Docker's format from before 2017.
    #[error("a schema 1 manifest, which has no checkable layers: push the image again with a current docker or skopeo")]
    Schema1,
    /// A version of the format that did not exist when this was written.
    #[error("schemaVersion {found} is not known here: only 2 is")]
    SchemaVersion {
        /// What stands there.
        found: u32,
    },
    /// Index and manifest at once.
    #[error("both an index and a manifest (CVE-2021-41190): refused")]
    Ambiguous,
    /// Something else that registries keep: a chart, a signature, a model.
    #[error("media type `{media_type}` is not known here: {expected} is expected")]
    MediaType {
        /// The foreign type.
        media_type: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A layer that has to be fetched from its vendor.
    #[error("layer {digest} is not distributed with the image (`{media_type}`), as in Windows base images: refused")]
    ForeignLayer {
        /// Which layer.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// More entries than [`LAYERS_MAX`] or any real index.
    #[error("{found} {what}, and {max} are the most that is read")]
    TooMany {
        /// Layers or manifests.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
}

/// Enough of a document to say what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireDockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Decodes an index or a manifest, whichever it is.
pub fn decode_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let outline: Outline = parse(bytes)?;
    if outline.schema_version == 1 || outline.fs_layers.is_some() {
        return Err(DecodeError::Schema1);
    }
    if outline.schema_version != 2 {
        let found = outline.schema_version;
        return Err(DecodeError::SchemaVersion { found });
    }
    let is_index = outline.manifests.is_some();
    if is_index && (outline.layers.is_some() || outline.config.is_some()) {
        return Err(DecodeError::Ambiguous);
    }
    let (types, expected) = if is_index {
        (INDEX_TYPES, "an image index")
    } else {
        (MANIFEST_TYPES, "an image manifest")
    };
    // An empty text is what Go writes for an absent one.
    let media_type = outline.media_type.filter(|media_type| !media_type.is_empty());
    if let Some(media_type) = media_type {
        expect_type(&media_type, &types, expected)?;
    }
    if is_index {
        decode_index(bytes).map(Document::Index)
    } else {
        decode_manifest(bytes).map(Document::Manifest)
    }
}

/// Decodes an OCI image index or a Docker manifest list.
pub fn decode_index(bytes: &[u8]) -> Result<Index, DecodeError> {
    let wire: oci::ImageIndex = parse(bytes)?;
    expect_count("manifests", wire.manifests().len(), MANIFESTS_MAX)?;
    let manifests = wire.manifests().iter().map(descriptor).collect::<Result<_, _>>()?;
    Ok(Index { manifests })
}

/// Decodes an OCI image manifest or a Docker schema 2 manifest.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, DecodeError> {
    let wire: oci::ImageManifest = parse(bytes)?;
    expect_count("layers", wire.layers().len(), LAYERS_MAX)?;
    let config = descriptor(wire.config())?;
    expect_type(&config.media_type, &CONFIG_TYPES, "a container image's configuration")?;
    expect_length(config.bytes)?;
    let layers: Vec<Descriptor> = wire.layers().iter().map(descriptor).collect::<Result<_, _>>()?;
    layers.iter().try_for_each(expect_layer)?;
    Ok(Manifest { config, layers })
}

/// Decodes an image's configuration, OCI's or Docker's.
pub fn decode_config(bytes: &[u8]) -> Result<Config, DecodeError> {
    let parsed: ImageConfiguration = parse(bytes)?;
    let diff_ids = parsed.rootfs().diff_ids();
    expect_count("layers", diff_ids.len(), LAYERS_MAX)?;
    let diff_ids = diff_ids.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let (os, architecture) = (parsed.os().to_string(), parsed.architecture().to_string());
    let is_known = !os.is_empty() && !architecture.is_empty();
    let platform = is_known.then(|| Platform::new(&os, &architecture, parsed.variant().as_deref()));
    Ok(Config {
        raw: bytes.to_vec(),
        parsed,
        diff_ids,
        platform,
    })
}

/// Decodes `manifest.json` of a `docker save` archive.
pub fn decode_docker_manifest(bytes: &[u8]) -> Result<Vec<DockerImage>, DecodeError> {
    let wire: Vec<WireDockerImage> = parse(bytes)?;
    let mut images = Vec::with_capacity(wire.len());
    for image in wire {
        let layers = image.layers.unwrap_or_default();
        expect_count("layers", layers.len(), LAYERS_MAX)?;
        images.push(DockerImage {
            config: image.config,
            tags: image.repo_tags.unwrap_or_default(),
            layers,
        });
    }
    Ok(images)
}

/// Refuses a length that no document may have, before the bytes are fetched.
pub(super) fn expect_length(bytes: u64) -> Result<(), DecodeError> {
    if bytes > DOCUMENT_BYTES_MAX as u64 {
        return Err(DecodeError::TooLong { bytes });
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    expect_length(bytes.len() as u64)?;
    Ok(serde_json::from_slice(bytes)?)
}

fn descriptor(wire: &oci::Descriptor) -> Result<Descriptor, DecodeError> {
    let platform = wire.platform().as_ref().map(|platform| {
        let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
        Platform::new(&os, &architecture, platform.variant().as_deref())
    });
    let annotations = wire.annotations().as_ref();
    Ok(Descriptor {
        media_type: wire.media_type().to_string(),
        digest: wire.digest().as_ref().parse()?,
        bytes: wire.size(),
        platform,
        reference_name: annotations.and_then(|all| all.get(oci::ANNOTATION_REF_NAME)).cloned(),
    })
}

fn expect_count(what: &'static str, found: usize, max: usize) -> Result<(), DecodeError> {
    if found > max {
        return Err(DecodeError::TooMany { what, found, max });
    }
    Ok(())
}

/// A stranger's text for a message: no control characters, no end of it beyond a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(160).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
