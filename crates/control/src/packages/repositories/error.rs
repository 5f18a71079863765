//! Why the built-in registry refuses.

use crate::packages::blobs::BlobError;

/// An operation on a repository that was not done.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// No such repository in this account.
    #[error("repository {name} does not exist in this account")]
    NameUnknown {
        /// Its name.
        name: String,
    },
    /// No such blob in the repository.
    #[error("blob {digest} is not in the repository")]
    BlobUnknown {
        /// Its digest.
        digest: String,
    },
    /// No such manifest or tag in the repository.
    #[error("there is no manifest {reference} in the repository")]
    ManifestUnknown {
        /// Tag or digest.
        reference: String,
    },
    /// Not a manifest that is taken.
    #[error("the manifest is not valid: {reason}")]
    ManifestInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest names what is not there.
    #[error("the manifest names {digest}, which is not in the repository: push it first")]
    ManifestBlobUnknown {
        /// The missing one.
        digest: String,
    },
    /// The bytes are not those that the digest names.
    #[error("the bytes have the digest {found}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: String,
        /// What they have.
        found: String,
    },
    /// No such upload; it was finished, cancelled or expired.
    #[error("there is no such upload: it was finished, cancelled, or is older than a day")]
    UploadUnknown,
    /// The upload is being written by another request.
    #[error("another request is writing this upload")]
    UploadBusy,
    /// More than a blob may have.
    #[error("a blob may have at most {bytes_max} bytes")]
    BlobTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Uploads, repositories or tags beyond the limit.
    #[error("{max} {what} are the most there can be: {advice}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
        /// What to do.
        advice: &'static str,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] BlobError),
}
