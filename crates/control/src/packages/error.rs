//! Why there is no package.

use super::blobs::BlobError;
use super::repositories::RepositoryError;

/// A package cannot be stored, found or prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PackageError {
    /// Lambda's word: a `StateReasonCode` such as `InvalidImage`, `ImageAccessDenied`, `InvalidZipFileException`,
    /// `InvalidRuntime`, `InternalError`; or `InvalidParameterValueException` where the request is at fault.
    pub reason_code: &'static str,
    /// What was tried on what, and what to do.
    pub message: String,
}

impl PackageError {
    pub(super) const INVALID_PARAMETER: &'static str = "InvalidParameterValueException";

    pub(super) fn new(reason_code: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason_code,
            message: message.into(),
        }
    }

    /// The caller asked for something that cannot be.
    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMETER, message)
    }

    /// This machine or its store failed.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new("InternalError", message)
    }

    /// Whether the request is at fault, so that it is refused with `InvalidParameterValueException`.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.reason_code == Self::INVALID_PARAMETER
    }
}

impl From<BlobError> for PackageError {
    fn from(error: BlobError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<RepositoryError> for PackageError {
    fn from(error: RepositoryError) -> Self {
        Self::internal(error.to_string())
    }
}
