//! What a handler gets and what it may fail with.

use super::function_name::{FunctionName, parse_function};
use crate::Gateway;
use chunk::Account;
use control::PageRequest;
use serde::Deserialize;
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

/// The members that name a function, in every operation that has them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    function_name: String,
    qualifier: Option<String>,
}

/// The members that ask for a page, in every list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Paged {
    marker: Option<String>,
    max_items: Option<u32>,
}

impl Call {
    /// The input as a typed structure, `#[serde(rename_all = "PascalCase")]`.
    ///
    /// Fails only where the structure is stricter than the model.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        T::deserialize(&self.input).map_err(|error| ApiError::new("InvalidParameterValueException", error.to_string()))
    }

    /// The function that the input names; with a qualifier if the name has one, or the operation's `Qualifier` is given.
    pub(crate) fn function(&self, gateway: &Gateway) -> Result<FunctionName, ApiError> {
        let named: Named = self.read()?;
        parse_function(gateway, &self.account, &named.function_name, named.qualifier.as_deref())
    }

    /// The function's name, for operations that versions and aliases do not have: a qualifier is refused, not dropped.
    pub(crate) fn unqualified(&self, gateway: &Gateway) -> Result<String, ApiError> {
        let function = self.function(gateway)?;
        if function.qualifier.is_some() {
            return Err(ApiError::new(
                "InvalidParameterValueException",
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
                 Please specify either a function name or an unqualified function ARN.",
            ));
        }
        Ok(function.name)
    }

    /// The page that the input asks for.
    pub(crate) fn page(&self) -> Result<PageRequest, ApiError> {
        let paged: Paged = self.read()?;
        Ok(PageRequest {
            marker: paged.marker,
            items_max: paged.max_items,
        })
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
