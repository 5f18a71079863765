//! Snapshots of initialised environments.

use std::path::PathBuf;
use std::time::Duration;

/// An initialised environment's processes, written to files.
#[derive(Debug)]
pub struct TakenSnapshot {
    /// A fresh directory, readable by all within one that only its owner can enter. Its own mode, and owners and modes of
    /// what lies in it, matter; the caller packs it and removes it.
    pub directory: PathBuf,
    /// Bytes of memory that were written.
    pub memory_bytes: u64,
    /// How long the initialisation took.
    pub init: Duration,
    /// How long the writing took.
    pub checkpoint: Duration,
    /// Architecture, vendor and features of the processors on which it can be restored, as one word.
    pub processor: String,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFailure {
    /// The function's own fault: its initialisation failed, or a hook before the snapshot.
    #[error("{error_type}: {message}")]
    Init {
        /// Lambda's name for it, or the runtime's own.
        error_type: String,
        /// In the runtime's own words where it has any.
        message: String,
    },
    /// The initialisation took longer than it may.
    #[error("the initialisation took longer than {} s", limit.as_secs())]
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
    /// This function, or this machine, cannot have snapshots: the version works as an ordinary one.
    #[error("{reason}")]
    Unsuitable {
        /// Why not, and what to do.
        reason: String,
    },
    /// The worker's fault, such as a full disk or no room: to be tried again.
    #[error("{reason}")]
    Worker {
        /// What was tried and why it failed.
        reason: String,
    },
}
