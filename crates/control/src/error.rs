//! Why the record refuses.

use crate::PackageError;
use std::path::PathBuf;

/// Why an operation on the record did not happen. Messages of the first group are what clients of Lambda read; the
/// gateway turns each variant into one error shape of the API.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such thing: `ResourceNotFoundException`.
    #[error("{what}")]
    NotFound {
        /// A full sentence, as Lambda says it.
        what: String,
    },
    /// It exists, is in use, or something else is being done to it: `ResourceConflictException`.
    #[error("{message}")]
    Conflict {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// It is being changed, so it cannot be changed now: `ResourceInUseException`.
    #[error("{message}")]
    InUse {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// An event was not written, because what was to be written with it failed, or the record is being closed.
    #[error("the event was not written: the record is failing or being closed. Try again")]
    EventNotWritten,
    /// The request cannot be fulfilled as it stands: `InvalidParameterValueException`.
    #[error("{message}")]
    Invalid {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// A value is outside what Lambda's model allows, in a way that the model's table does not say:
    /// `ValidationException`.
    #[error("{message}")]
    OutOfModel {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// The RevisionId is not the current one: `PreconditionFailedException`.
    #[error("{message}")]
    PreconditionFailed {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// A policy would grow beyond its limit: `PolicyLengthExceededException`.
    #[error("{message}")]
    PolicyLengthExceeded {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// More of something than an account may have: `ServiceQuotaExceededException`.
    #[error("{message}")]
    LimitExceeded {
        /// A full sentence, as Lambda says it.
        message: String,
    },
    /// `ProvisionedConcurrencyConfigNotFoundException`.
    #[error("{what}")]
    ProvisionedConcurrencyConfigNotFound {
        /// A full sentence, as Lambda says it.
        what: String,
    },
    /// Code cannot be used.
    #[error(transparent)]
    Package(#[from] PackageError),

    /// The database failed; trying again may help.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored document is not what this program wrote.
    #[error("the record of {what} in the database cannot be read: {source}")]
    Record {
        /// Which.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A stored account is not one.
    #[error("the database names the account `{text}`, which is not 12 digits")]
    Account {
        /// What stands there.
        text: String,
    },
    /// A newer Lambent wrote the database.
    #[error("the database has schema version {found}, this program knows {known}: use the newer Lambent that wrote it")]
    SchemaNewer {
        /// What the database says.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A file of the record cannot be used.
    #[error("cannot use `{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ControlError {
    /// A [`ControlError::NotFound`] with this sentence.
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// A [`ControlError::Conflict`] with this sentence.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict {
            message: message.into(),
        }
    }

    /// A [`ControlError::Invalid`] with this sentence.
    pub(crate) fn out_of_model(message: impl Into<String>) -> Self {
        Self::OutOfModel {
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
        }
    }

    /// What most operations on URLs, policies and layers answer where there is none.
    pub(crate) fn no_such_resource() -> Self {
        Self::not_found("The resource you requested does not exist.")
    }

    /// The same error; if it is [`ControlError::NotFound`], another in its place: many operations say in words of their
    /// own that there is no such function.
    #[must_use]
    pub(crate) fn if_not_found(self, instead: impl FnOnce() -> Self) -> Self {
        match self {
            Self::NotFound { .. } => instead(),
            other => other,
        }
    }

    /// A [`ControlError::PreconditionFailed`] with Lambda's sentence.
    pub(crate) fn revision_mismatch() -> Self {
        let message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias \
                       API to retrieve the latest Revision Id"
            .to_owned();
        Self::PreconditionFailed { message }
    }
}
