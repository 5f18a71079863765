//! What can go wrong between a user's text and plain layers, as one clear message each.

use super::decode::DecodeError;
use super::digest::Digest;
use super::platform::Platform;
use super::registry::RegistryError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What to do about a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Try again later: a network or a registry was not there.
    Retry,
    /// Ask for something else, or give this machine what it lacks: a login, a file, room.
    Request,
    /// The image is damaged or is not one.
    Data,
}

/// A layer in a message: `layer 3 of 7 (sha256:…) of oci:scikit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerName {
    /// Place in the image, from the base upwards; 0 is the base.
    pub index: usize,
    /// How many layers the image has.
    pub layers: usize,
    /// The blob's digest, or the diff_id where the source stores layers without one.
    pub digest: Digest,
    /// The image, as the user named it.
    pub image: String,
}

impl fmt::Display for LayerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            layers,
            digest,
            image,
        } = self;
        write!(formatter, "layer {} of {layers} ({digest}) of {image}", index + 1)
    }
}

/// Why an image cannot be opened, or a layer not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file of the source is missing or cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not a tar archive with an image in it.
    #[error("{path} is not an image archive")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// A compressed archive is longer than the limit.
    #[error("{path} unpacks to more than {max} bytes; if it is not a bomb, raise --unpacked-max")]
    ArchiveTooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A directory or archive without one of the files that make it an image.
    #[error("{image} is not {expected}: it has no {missing}")]
    NotAnImage {
        /// As the user named it.
        image: String,
        /// What it should be.
        expected: &'static str,
        /// The file that it lacks.
        missing: String,
    },
    /// An image layout of another version.
    #[error("{image}: image layout version `{version}` is not known here: only 1.0.0 is")]
    LayoutVersion {
        /// As the user named it.
        image: String,
        /// What stands in `oci-layout`.
        version: String,
    },
    /// A JSON document that does not decode.
    #[error("{what} of {image} is refused")]
    Document {
        /// As the user named it.
        image: String,
        /// Index, manifest or configuration, with the digest where it has one.
        what: String,
        /// Why.
        source: DecodeError,
    },
    /// A manifest names a blob that the source does not have.
    #[error("{what} is missing from {image}: the copy is incomplete")]
    BlobMissing {
        /// As the user named it.
        image: String,
        /// What the blob is, with its digest.
        what: String,
    },
    /// Bytes that are not the named ones.
    #[error("{what} is corrupt: its bytes hash to {found}, not {expected}")]
    WrongDigest {
        /// Manifest, configuration or layer, of which image.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Fewer or more bytes than announced.
    #[error("{what} is corrupt: it has {found} bytes, not {expected}")]
    WrongSize {
        /// Manifest, configuration or layer, of which image.
        what: String,
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// No manifest for the wanted platform.
    #[error("{image} has nothing for {wanted}; it has: {found}. Choose one with --platform")]
    PlatformMissing {
        /// As the user named it.
        image: String,
        /// The host's, or the user's choice.
        wanted: Platform,
        /// What there is.
        found: String,
    },
    /// Indexes inside indexes inside indexes.
    #[error("{image} nests image indexes deeper than {max}: refused")]
    NestedTooDeep {
        /// As the user named it.
        image: String,
        /// The limit.
        max: usize,
    },
    /// The source has no such tag, or several and none was chosen.
    #[error("{image} {problem}; it has: {found}")]
    Tag {
        /// As the user named it.
        image: String,
        /// What is wrong with the choice.
        problem: &'static str,
        /// The tags that there are.
        found: String,
    },
    /// The configuration and the manifest count differently.
    #[error("{image} is corrupt: its manifest has {layers} layers, its configuration {diff_ids}")]
    LayerCount {
        /// As the user named it.
        image: String,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A layer's compressed stream is damaged in a way that its digest does not show.
    #[error("{layer} cannot be unpacked")]
    Unpack {
        /// Which layer.
        layer: LayerName,
        /// What the decoder says.
        source: io::Error,
    },
    /// The layers together are longer than the limit.
    #[error(
        "{layer} passes the limit of {max} unpacked bytes for the whole image; if it is not a bomb, raise --unpacked-max"
    )]
    UnpackedTooLong {
        /// The layer at which the limit was passed.
        layer: LayerName,
        /// The limit.
        max: u64,
    },
    /// The directory for unpacked layers is full, missing or not writable.
    #[error("cannot write unpacked layers to the scratch directory {directory}")]
    Scratch {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A registry does not give a layer.
    #[error("{layer} cannot be fetched")]
    Fetch {
        /// Which layer.
        layer: LayerName,
        /// Why.
        source: Box<RegistryError>,
    },
    /// A registry does not give what was asked for.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The work was given up because another layer failed; that layer's error is the one that is reported.
    #[error("{layer} was given up because another layer failed")]
    GivenUp {
        /// Which layer.
        layer: LayerName,
    },
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        match self {
            Self::Registry(error) => error.kind(),
            Self::Fetch { source, .. } => source.kind(),
            Self::Read { .. } | Self::Scratch { .. } | Self::PlatformMissing { .. } | Self::Tag { .. } => {
                SourceErrorKind::Request
            }
            Self::ArchiveTooLong { .. } | Self::UnpackedTooLong { .. } => SourceErrorKind::Request,
            Self::GivenUp { .. } => SourceErrorKind::Retry,
            Self::Archive { .. }
            | Self::NotAnImage { .. }
            | Self::LayoutVersion { .. }
            | Self::Document { .. }
            | Self::BlobMissing { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. }
            | Self::NestedTooDeep { .. }
            | Self::LayerCount { .. }
            | Self::Unpack { .. } => SourceErrorKind::Data,
        }
    }
}

/// Why a file is not a tar archive that can be indexed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not tar, or a damaged header.
    #[error("its tar headers cannot be read: {source}")]
    Headers {
        /// What the tar reader says.
        #[from]
        source: io::Error,
    },
    /// The file ends inside a member.
    #[error("it is cut short at {bytes} bytes, inside `{name}`")]
    Truncated {
        /// The member.
        name: String,
        /// Where the file ends.
        bytes: u64,
    },
    /// No file in it.
    #[error("it has no files")]
    Empty,
    /// More members than any image has.
    #[error("it has more than {max} members")]
    TooManyMembers {
        /// The limit.
        max: usize,
    },
}
