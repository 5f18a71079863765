//! What a handler gets and what it may fail with.

use chunk::Account;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// One call of a Lambda operation, authenticated and validated against the model.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who asks.
    pub(crate) account: Account,
    /// Path, query, header and body members by the model's member names; blobs as base64 text as in JSON bodies.
    pub(crate) input: Map<String, Value>,
    /// The Host header as the client sent it, for URLs.
    pub(crate) host: String,
}

impl Call {
    /// The input as a typed structure, `#[serde(rename_all = "PascalCase")]`.
    ///
    /// Fails only where the structure is stricter than the model.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        T::deserialize(&self.input).map_err(|error| ApiError::new("InvalidParameterValueException", error.to_string()))
    }
}

/// An error of the API. Its shape's name decides the status and the case of the message's member, by the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Such as `ResourceNotFoundException`.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// Further members, such as `("Reason", "...")`.
    pub(crate) extra: Vec<(&'static str, String)>,
}

impl ApiError {
    /// An error without further members.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            extra: Vec::new(),
        }
    }

    /// The same error with one member more.
    #[must_use]
    pub(crate) fn with(mut self, member: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((member, value.into()));
        self
    }
}
