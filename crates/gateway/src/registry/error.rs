//! The registry's errors on the wire: `{"errors": [{"code", "message", "detail"}]}`.

use super::route::RouteFault;
use crate::answer::{Response, json};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use control::packages::repositories::{NameParseError, RepositoryError};
use control::packages::{BlobError, BlobParseError};
use serde_json::json;

/// An error with the specification's code.
#[derive(Debug)]
pub(super) struct RegistryError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What the client needs in order to go on.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl RegistryError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "this resource does not take this method",
        )
    }

    pub(super) fn digest(text: &str) -> Self {
        let shown: String = text.chars().take(160).flat_map(char::escape_debug).collect();
        Self::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            format!("`{shown}` is {BlobParseError}"),
        )
    }

    pub(super) fn answer(self) -> Response {
        let document = json!({ "errors": [{ "code": self.code, "message": self.message, "detail": null }] });
        let mut response = json(self.status, &document);
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<RouteFault> for RegistryError {
    fn from(fault: RouteFault) -> Self {
        let invalid =
            |code, expected| Self::new(StatusCode::BAD_REQUEST, code, NameParseError { expected }.to_string());
        match fault {
            RouteFault::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "UNSUPPORTED",
                "the registry has no such resource",
            ),
            RouteFault::Name => invalid("NAME_INVALID", "repository name"),
            RouteFault::Reference => invalid("MANIFEST_INVALID", "tag or digest"),
        }
    }
}

impl From<RepositoryError> for RegistryError {
    fn from(error: RepositoryError) -> Self {
        let (status, code) = match &error {
            RepositoryError::NameUnknown { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            RepositoryError::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            RepositoryError::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            RepositoryError::ManifestInvalid { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            RepositoryError::ManifestBlobUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            RepositoryError::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            RepositoryError::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            RepositoryError::UploadBusy => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
            RepositoryError::BlobTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            RepositoryError::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            RepositoryError::Disk(error) => return Self::disk(error),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<BlobError> for RegistryError {
    fn from(error: BlobError) -> Self {
        Self::disk(&error)
    }
}

impl RegistryError {
    /// Paths of this machine are for its log, not for a client.
    fn disk(error: &BlobError) -> Self {
        tracing::error!("registry: {error}");
        Self::internal("the registry's disk failed; its log says how")
    }
}
