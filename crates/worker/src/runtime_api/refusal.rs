//! Everything that is not done, as Lambda says it: status, `errorType`, `errorMessage`.

use super::event::DeliverError;
use super::{EXTENSIONS_MAX, RESPONSE_BYTES_MAX};
use hyper::StatusCode;

/// Why a request, or an input of the machine, is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not the invocation that the runtime has.
    InvalidRequestId,
    /// Not in this state.
    RuntimeTransition { from: &'static str, to: &'static str },
    /// A response mode that there is not.
    InvalidResponseMode,
    /// A body over its limit.
    TooLarge,
    /// The body ended early.
    Truncated,
    /// An extension's call without its identifier.
    IdentifierMissing,
    /// An identifier that is no UUID.
    IdentifierInvalid,
    /// An identifier that was never given out.
    IdentifierUnknown,
    /// A registration without a name, or with one that is too long.
    NameInvalid,
    /// Two internal extensions of one name.
    NameTaken,
    /// The initialisation is over.
    RegistrationClosed,
    /// One more than Lambda runs.
    TooManyExtensions { count: usize },
    /// Neither INVOKE nor SHUTDOWN.
    EventUnknown { event: String },
    /// SHUTDOWN for an internal extension.
    ShutdownForInternal,
    /// A body that is not what it should be.
    FormatInvalid { reason: String },
    /// Not in this state.
    ExtensionTransition {
        name: String,
        from: &'static str,
        to: &'static str,
    },
    /// An extension's error without its type.
    ErrorTypeMissing,
    /// There is no way to a subscriber. `api`: `Telemetry` or `Logs`.
    TelemetryUnsupported { api: &'static str },
    /// The initialisation is over.
    TelemetryClosed { api: &'static str },
    /// A subscription that does not follow the schema.
    SubscriptionInvalid { reason: String },
    /// An event of the owner; never an answer to a request.
    NotDelivered(DeliverError),
    /// No such path.
    PathUnknown,
    /// Another method.
    MethodUnknown,
}

impl Refusal {
    /// Lambda answers all that is wrong with an extension's call with 403, and "not supported" with 202: an extension
    /// is to go on without telemetry.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRequestId | Self::InvalidResponseMode | Self::Truncated | Self::SubscriptionInvalid { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TelemetryUnsupported { .. } => StatusCode::ACCEPTED,
            Self::PathUnknown => StatusCode::NOT_FOUND,
            Self::MethodUnknown => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotDelivered(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::RuntimeTransition { .. }
            | Self::IdentifierMissing
            | Self::IdentifierInvalid
            | Self::IdentifierUnknown
            | Self::NameInvalid
            | Self::NameTaken
            | Self::RegistrationClosed
            | Self::TooManyExtensions { .. }
            | Self::EventUnknown { .. }
            | Self::ShutdownForInternal
            | Self::FormatInvalid { .. }
            | Self::ExtensionTransition { .. }
            | Self::ErrorTypeMissing
            | Self::TelemetryClosed { .. } => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidRequestId => "InvalidRequestID",
            Self::RuntimeTransition { .. } => "InvalidStateTransition",
            Self::InvalidResponseMode => "InvalidFunctionResponseMode",
            Self::TooLarge => "RequestEntityTooLarge",
            Self::Truncated => "TruncatedHTTPRequest",
            Self::IdentifierMissing => "Extension.MissingExtensionIdentifier",
            Self::IdentifierInvalid => "Extension.InvalidExtensionIdentifier",
            Self::IdentifierUnknown => "Extension.UnknownExtensionIdentifier",
            Self::NameInvalid => "Extension.InvalidExtensionName",
            Self::NameTaken | Self::ExtensionTransition { .. } => "Extension.InvalidExtensionState",
            Self::RegistrationClosed => "Extension.RegistrationClosed",
            Self::TooManyExtensions { .. } => "Extension.TooManyExtensions",
            Self::EventUnknown { .. } | Self::ShutdownForInternal => "Extension.InvalidEventType",
            Self::FormatInvalid { .. } => "InvalidRequestFormat",
            Self::ErrorTypeMissing => "Extension.MissingHeader",
            Self::TelemetryUnsupported { api: "Logs" } => "Logs.NotSupported",
            Self::TelemetryUnsupported { .. } => "Telemetry.NotSupported",
            Self::TelemetryClosed { api: "Logs" } => "Logs.SubscriptionClosed",
            Self::TelemetryClosed { .. } => "Telemetry.SubscriptionClosed",
            Self::SubscriptionInvalid { .. } => "ValidationError",
            Self::NotDelivered(_) => "InternalServerError",
            Self::PathUnknown => "NotFound",
            Self::MethodUnknown => "MethodNotAllowed",
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::InvalidRequestId => "Invalid request ID".to_owned(),
            Self::RuntimeTransition { from, to } => {
                format!("the runtime cannot go from state {from} to state {to}")
            }
            Self::InvalidResponseMode => "Invalid function response mode".to_owned(),
            Self::TooLarge => format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."),
            Self::Truncated => "the request ended before its body was complete".to_owned(),
            Self::IdentifierMissing => "Missing Lambda-Extension-Identifier header".to_owned(),
            Self::IdentifierInvalid => "Invalid Lambda-Extension-Identifier".to_owned(),
            Self::IdentifierUnknown => "no extension has this Lambda-Extension-Identifier".to_owned(),
            Self::NameInvalid => "Lambda-Extension-Name must have 1 to 128 characters".to_owned(),
            Self::NameTaken => "Extension with this name already registered".to_owned(),
            Self::RegistrationClosed => "the initialisation is over: extensions cannot register any more".to_owned(),
            Self::TooManyExtensions { .. } => format!("Extension limit ({EXTENSIONS_MAX}) reached"),
            Self::EventUnknown { event } => format!("{event}: the events are INVOKE and SHUTDOWN"),
            Self::ShutdownForInternal => "SHUTDOWN: internal extensions cannot register for it".to_owned(),
            Self::FormatInvalid { reason } | Self::SubscriptionInvalid { reason } => reason.clone(),
            Self::ExtensionTransition { name, from, to } => {
                format!("extension {name} cannot go from state {from} to state {to}")
            }
            Self::ErrorTypeMissing => "Lambda-Extension-Function-Error-Type not found".to_owned(),
            Self::TelemetryUnsupported { api } => format!("{api} API is not supported"),
            Self::TelemetryClosed { api } => format!("{api} API subscription is closed already"),
            Self::NotDelivered(error) => error.to_string(),
            Self::PathUnknown => "there is nothing at this path".to_owned(),
            Self::MethodUnknown => "this path has another method".to_owned(),
        }
    }
}
