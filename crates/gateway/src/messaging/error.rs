//! Why a message was not taken.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// A call to a service that did not succeed, after the SDK's retries.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub(crate) struct SendError {
    /// What was tried, and on what.
    pub(crate) action: String,
    /// The service's words, or the system's.
    pub(crate) reason: String,
    /// The service's name for it.
    pub(crate) code: Option<String>,
    /// Whether the same message can never be taken.
    pub(crate) is_final: bool,
}

/// Codes of SQS and SNS that say that the message itself cannot be taken: too large, or with bytes that no message has.
const FINAL: &[&str] = &[
    "BatchRequestTooLong",
    "InvalidMessageContents",
    "InvalidParameter",
    "InvalidParameterValue",
    "InvalidParameterValueException",
];

impl SendError {
    pub(crate) fn new(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            reason: reason.into(),
            code: None,
            is_final: false,
        }
    }

    pub(super) fn of_service<E>(action: String, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let reason = match (&code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => innermost(error).to_string(),
        };
        let is_final = code.as_deref().is_some_and(|code| FINAL.contains(&code));
        Self {
            action,
            reason,
            code,
            is_final,
        }
    }

    /// Whether the queue does not exist.
    pub(crate) fn is_queue_missing(&self) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| code.ends_with("NonExistentQueue") || code == "QueueDoesNotExist")
    }

    #[must_use]
    pub(crate) fn for_ever(mut self) -> Self {
        self.is_final = true;
        self
    }
}

/// The SDK's outer errors say "service error" and "dispatch failure".
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |cause| (*cause).source())
        .last()
        .unwrap_or(error)
}
