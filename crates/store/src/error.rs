//! What an operation on a store may answer instead of a result.

use crate::{CallFailed, NoActiveRoot, PushRevoked, RecordNameError, RootEventRefused, WriterStopped};

/// What the reader of an error can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later.
    Retry,
    /// Change the request, a setting or a permission.
    FixRequest,
    /// What is stored is damaged.
    BadData,
    /// Report it.
    Bug,
}

/// An operation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object store did not do what it was asked.
    #[error(transparent)]
    Call(#[from] CallFailed),
    /// There is no such object.
    #[error(transparent)]
    Missing(#[from] ObjectMissing),
    /// An object is not what its key says.
    #[error(transparent)]
    Corrupt(#[from] ObjectCorrupt),
    /// An object is larger than its sort may be.
    #[error(transparent)]
    TooLarge(#[from] ObjectTooLarge),
    /// A name that has no key.
    #[error(transparent)]
    Name(#[from] RecordNameError),
    /// The store holds roots, but none to write to.
    #[error(transparent)]
    NoActiveRoot(#[from] NoActiveRoot),
    /// The push took longer than its root lived.
    #[error(transparent)]
    Revoked(#[from] PushRevoked),
    /// Something happened to a root that cannot happen to it.
    #[error(transparent)]
    RootEvent(RootEventRefused),
    /// An earlier chunk of this push failed.
    #[error(transparent)]
    Stopped(#[from] WriterStopped),
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(failed) => failed.fault().kind(),
            Self::Missing(missing) => missing.sort.kind_when_missing(),
            Self::Corrupt(_) | Self::NoActiveRoot(_) => ErrorKind::BadData,
            Self::TooLarge(_) | Self::Name(_) => ErrorKind::FixRequest,
            Self::Stopped(_) | Self::Revoked(_) => ErrorKind::Retry,
            Self::RootEvent(_) => ErrorKind::Bug,
        }
    }
}

/// The sorts of object that a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Root,
    Chunk,
    Manifest,
    Record,
    Trace,
    StartPack,
    WrappedKey,
    Push,
    Policy,
    Popular,
}

impl Sort {
    /// Bytes that an object of this sort may have; reading stops before a larger one is in memory.
    pub(crate) const fn bytes_max(self) -> u64 {
        match self {
            // A few fields.
            Self::Root | Self::Push | Self::Policy => 4 * 1024,
            Self::Chunk => chunk::CHUNK_BYTES as u64,
            // Of a device of about 480 GiB; the largest image that lambent takes needs 1.4 MiB.
            Self::Manifest => 64 * 1024 * 1024,
            // What registries allow for an image's own manifest or configuration.
            Self::Record => 4 * 1024 * 1024,
            // 1,048,576 runs of 11 bytes, and an envelope.
            Self::Trace => 12 * 1024 * 1024,
            // As many runs of 6 bytes, and the chunk list of 16 GiB.
            Self::StartPack => 12 * 1024 * 1024,
            // 16,384 ids and a header.
            Self::Popular => 1024 * 1024,
            // A name of 2 KiB and a ciphertext; manifests allow as much.
            Self::WrappedKey => 16 * 1024,
        }
    }

    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Chunk => "chunk",
            Self::Manifest => "manifest",
            Self::Record => "image",
            Self::Trace => "trace of manifest",
            Self::StartPack => "start pack of manifest",
            Self::WrappedKey => "wrapped key of manifest",
            Self::Push => "push",
            Self::Policy => "policy of account",
            Self::Popular => "list of popular chunks of root",
        }
    }

    const fn kind_when_missing(self) -> ErrorKind {
        match self {
            // Somebody typed its name.
            Self::Record => ErrorKind::FixRequest,
            // Something stored points at it.
            Self::Root
            | Self::Chunk
            | Self::Manifest
            | Self::Trace
            | Self::StartPack
            | Self::WrappedKey
            | Self::Push
            | Self::Policy
            | Self::Popular => ErrorKind::BadData,
        }
    }
}

/// There is no such object.
#[derive(Debug, thiserror::Error)]
#[error("{} `{name}` does not exist in {place}", sort.noun())]
pub struct ObjectMissing {
    pub(crate) sort: Sort,
    pub(crate) name: String,
    pub(crate) place: String,
}

/// An object is not what its key says.
#[derive(Debug, thiserror::Error)]
#[error("{} `{name}` in {place} is corrupt: {reason}; push the image again", sort.noun())]
pub struct ObjectCorrupt {
    pub(crate) sort: Sort,
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) reason: String,
}

/// An object that a caller wants to store is larger than its sort may be.
#[derive(Debug, thiserror::Error)]
#[error("{} `{name}` has {bytes} bytes: at most {} can be stored", sort.noun(), sort.bytes_max())]
pub struct ObjectTooLarge {
    pub(crate) sort: Sort,
    pub(crate) name: String,
    pub(crate) bytes: usize,
}
