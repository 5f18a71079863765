//! Why the worker did not do what it was asked.

use block::kernel::KernelError;
use block::mounter::MounterError;
use chunk::{ManifestError, StartPackError, TraceError};
use keys::KeyError;
use std::io;
use std::path::PathBuf;
use store::StoreError;

/// An operation of the worker that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The store failed, or has no such manifest.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name leads to no image.
    #[error("{0}")]
    Find(Box<dyn std::error::Error + Send + Sync>),
    /// The data key could not be unwrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key was refused while the image was mounted.
    #[error(
        "the key of account {account} was refused while image {name} was mounted, and its reads fail: restore the key, \
         unmount the image everywhere on this machine, and mount it again"
    )]
    KeyRefused {
        /// The image.
        name: String,
        /// Whose key.
        account: String,
    },
    /// The manifest is damaged.
    #[error("image {name}: {source}")]
    Manifest {
        /// The image.
        name: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// What the kernel was to do for an image was not done.
    #[error(transparent)]
    Mounter(#[from] MounterError),
    /// A file or socket of the worker could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The target is no directory.
    #[error("cannot mount on {}: it is not a directory (create it first)", path.display())]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing that is mounted matches.
    #[error("nothing is mounted {what}: `lambent image mounts` shows what is")]
    NotMounted {
        /// What was looked for.
        what: String,
    },
    /// Another daemon serves this directory.
    #[error("another daemon serves {}", directory.display())]
    Busy {
        /// The worker's directory.
        directory: PathBuf,
    },
    /// The client means another store.
    #[error("the daemon of {} serves the store {serves}, not {asked}: unmount its images first, or choose another --data", directory.display())]
    OtherStore {
        /// The worker's directory.
        directory: PathBuf,
        /// What this daemon serves.
        serves: String,
        /// What was asked for.
        asked: String,
    },
    /// The client is of another build.
    #[error(
        "the daemon speaks protocol {speaks}, this client {asked}: unmount its images, or use the same build for both"
    )]
    OtherProtocol {
        /// The daemon's.
        speaks: u32,
        /// The client's.
        asked: u32,
    },
    /// Bad settings.
    #[error(transparent)]
    Settings(#[from] crate::SettingsError),
    /// Bad settings of the cache.
    #[error("cache: {0}")]
    CacheSettings(#[from] cache::SettingsError),
}

/// Why a start's trace or pack was not used or not stored: a start works without.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Pack(#[from] StartPackError),
    #[error("a block of the start could not be read again")]
    Read,
    #[error("root {generation} takes no new chunks")]
    NotActive { generation: u32 },
}
