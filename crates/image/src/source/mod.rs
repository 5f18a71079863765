//! Where images come from: image layouts, archives and registries, as checked plain layers.
//!
//! ```text
//! text ── SourceSpec ── open ──> ImageSource ── plain_layers ──> [PlainLayer] ── verify
//!                        │            │               │                            │
//!                   index, manifest   │        gzip and zstd layers go,       uncompressed local layers
//!                   and config are    │        checked, into an unlinked      are read where they lie;
//!                   checked           │        file                           their digests are checked here
//! ```
//! Nothing is ever extracted here to a path that an image names, and no byte of a blob is trusted before its digest
//! is: a document is hashed before it is parsed, a compressed layer while it is unpacked. Only an uncompressed local
//! layer is handed out unchecked, so that one pass over it can hash while another seals; whoever takes it commits
//! nothing before [`plain::PlainLayer::verify`] has returned.
//!
//! All functions block. Only `registry` is asynchronous inside, on the runtime that [`open`] is given; it never reads
//! an environment variable itself, though its HTTP client honours the usual proxy variables.
//!
//! Read first: [`spec::SourceSpec`], [`ImageSource`], [`plain::PlainLayer`].

mod archive;
pub mod decode;
mod decompress;
pub mod digest;
mod docker;
pub mod error;
mod job;
mod layout;
pub mod made;
pub mod plain;
pub mod platform;
mod range;
pub mod registry;
mod resolve;
#[cfg(test)]
pub(crate) mod sample;
mod scratch;
pub mod spec;
mod stored;
mod unpack;

use decode::{Config, DecodeError, Descriptor};
use digest::Digest;
use error::{LayerName, SourceError};
use platform::Platform;
use range::Range;
use registry::Registry;
use spec::SourceSpec;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

/// How much an image may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Plain bytes of all layers together. 10 GiB: the largest image that AWS Lambda takes.
    pub unpacked_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes_max: 10 * 1024 * 1024 * 1024,
        }
    }
}

/// What a user chooses about reading an image.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Which platform of several; `None` is the host's.
    pub platform: Option<Platform>,
    /// docker's `config.json`, for logins; `None`, or a file that does not exist, is anonymous.
    pub docker_config: Option<PathBuf>,
    /// Registries, as `HOST` or `HOST:PORT`, that are spoken to without TLS; loopback ones always are.
    pub plain_http: Vec<String>,
    /// Where a compressed archive is unpacked.
    pub scratch_dir: PathBuf,
    /// Bounds a compressed archive too.
    pub limits: Limits,
}

impl OpenOptions {
    /// The host's platform, no logins, default limits.
    #[must_use]
    pub fn new(scratch_dir: PathBuf) -> Self {
        Self {
            platform: None,
            docker_config: None,
            plain_http: Vec::new(),
            scratch_dir,
            limits: Limits::default(),
        }
    }

    fn wanted_platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }
}

/// One image of one platform: its documents are read and checked, its layers are not yet read.
#[derive(Debug)]
pub struct ImageSource {
    /// The image as the user named it, in full form.
    pub reference: String,
    /// The digest of its manifest; `docker save` archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of its configuration: docker's image id.
    pub config_digest: Digest,
    /// The configuration, raw and parsed.
    pub config: Config,
    /// What it runs on: the configuration's word, or the wanted platform where that says nothing.
    pub platform: Platform,
    /// From the base upwards; as many as `config.diff_ids`.
    pub layers: Vec<Layer>,
}

/// One layer as the source stores it.
#[derive(Debug)]
pub struct Layer {
    /// For messages.
    pub name: LayerName,
    /// What the manifest calls it; empty for `docker save` archives.
    pub media_type: String,
    /// The stored bytes' digest; `docker save` archives have none.
    pub digest: Option<Digest>,
    /// How many bytes are stored.
    pub bytes: u64,
    /// The digest of its plain bytes.
    pub diff_id: Digest,
    data: LayerData,
}

#[derive(Debug)]
enum LayerData {
    Local(Range),
    Remote(Registry),
}

/// Finds the image, reads its documents and checks them.
///
/// `runtime` is used for registries only, must be of the multi-thread flavour, and this must not be called from one of
/// its own tasks.
pub fn open(spec: &SourceSpec, options: &OpenOptions, runtime: &Handle) -> Result<ImageSource, SourceError> {
    match spec {
        SourceSpec::Layout { directory, tag } => layout::open_directory(directory, tag.as_deref(), spec, options),
        SourceSpec::LayoutArchive { file, tag } => layout::open_archive(file, tag.as_deref(), spec, options),
        SourceSpec::DockerArchive { file, reference } => docker::open(file, reference.as_ref(), spec, options),
        SourceSpec::Registry(reference) => registry::open(reference, options, runtime),
    }
}

/// Opens an image of a directory that has `blobs/sha256/` as an image layout does, but keeps its tags elsewhere.
///
/// `digest` names the image's manifest or an index, `reference` the image in messages. Nothing but the blobs that the
/// manifest names is read.
pub fn open_blobs(
    directory: &Path,
    digest: &Digest,
    reference: &str,
    options: &OpenOptions,
) -> Result<ImageSource, SourceError> {
    layout::open_blobs(directory, digest, reference, options)
}

/// The checked parts from which every kind of source makes its [`ImageSource`].
struct Parts {
    reference: String,
    manifest_digest: Option<Digest>,
    config_digest: Digest,
    config: Config,
    layers: Vec<StoredLayer>,
}

struct StoredLayer {
    media_type: String,
    digest: Option<Digest>,
    bytes: u64,
    data: LayerData,
}

impl Parts {
    fn into_image(self, options: &OpenOptions) -> Result<ImageSource, SourceError> {
        let (layers, diff_ids) = (self.layers.len(), self.config.diff_ids.len());
        if layers != diff_ids {
            let image = self.reference;
            return Err(SourceError::LayerCount {
                image,
                layers,
                diff_ids,
            });
        }
        let platform = runnable_platform(&self.config, &self.reference, options)?;
        let image = self.reference.clone();
        let pairs = self.layers.into_iter().zip(self.config.diff_ids.clone());
        let layers = pairs.enumerate().map(|(index, (stored, diff_id))| Layer {
            name: LayerName {
                index,
                layers,
                digest: stored.digest.as_ref().unwrap_or(&diff_id).clone(),
                image: image.clone(),
            },
            media_type: stored.media_type,
            digest: stored.digest,
            bytes: stored.bytes,
            diff_id,
            data: stored.data,
        });
        Ok(ImageSource {
            layers: layers.collect(),
            reference: self.reference,
            manifest_digest: self.manifest_digest,
            config_digest: self.config_digest,
            config: self.config,
            platform,
        })
    }
}

/// An image for another platform is refused here, and not later by a kernel that cannot start it.
fn runnable_platform(config: &Config, image: &str, options: &OpenOptions) -> Result<Platform, SourceError> {
    let wanted = options.wanted_platform();
    match &config.platform {
        Some(platform) if wanted.fit(platform).is_none() => Err(SourceError::PlatformMissing {
            image: image.to_owned(),
            wanted,
            found: platform.to_string(),
        }),
        Some(platform) => Ok(platform.clone()),
        None => Ok(wanted),
    }
}

/// Checks a document's bytes against the descriptor that led to it.
fn check_blob(what: &str, image: &str, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), SourceError> {
    let what = || format!("{what} {} of {image}", descriptor.digest);
    if bytes.len() as u64 != descriptor.bytes {
        return Err(SourceError::WrongSize {
            what: what(),
            expected: descriptor.bytes,
            found: bytes.len() as u64,
        });
    }
    let found = Digest::of(descriptor.digest.algorithm(), bytes);
    if found != descriptor.digest {
        return Err(SourceError::WrongDigest {
            what: what(),
            expected: descriptor.digest.clone(),
            found,
        });
    }
    Ok(())
}

/// Names the document in which a decoder found fault.
fn refused<'a>(image: &'a str, what: &'a str) -> impl Fn(DecodeError) -> SourceError + 'a {
    move |source| SourceError::Document {
        image: image.to_owned(),
        what: what.to_owned(),
        source,
    }
}
