//! What a caller of a function URL gets instead of the function's answer.

use crate::answer::{self, Response};
use crate::lambda::ApiError;
use crate::sigv4::SignatureFailure;
use axum::http::{HeaderValue, StatusCode};
use control::ControlError;
use serde_json::json;
use tracing::warn;

/// Where the guide explains what is to be done.
const FORBIDDEN: &str = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                         https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";

/// Why a function URL does not give the function's answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody has this id.
    NoUrl,
    /// The policy does not let the caller in.
    Forbidden,
    /// The signature is missing or wrong.
    Signature(SignatureFailure),
    /// Beyond 6 MiB.
    TooLarge,
    /// The body did not come to its end.
    BadBody,
    /// The function could not be invoked.
    Invoke(ApiError),
    /// The function failed, or answered what is no HTTP response.
    BadAnswer,
    /// The record failed.
    Record(ControlError),
}

impl Refusal {
    pub(super) fn response(&self) -> Response {
        match self {
            Self::NoUrl => message(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Not Found"),
            Self::Forbidden => message(StatusCode::FORBIDDEN, "AccessDeniedException", FORBIDDEN),
            Self::Signature(SignatureFailure::Missing) => {
                message(StatusCode::FORBIDDEN, "AccessDeniedException", FORBIDDEN)
            }
            Self::Signature(failure) => message(StatusCode::FORBIDDEN, failure.code(), &failure.to_string()),
            Self::TooLarge => message(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestTooLargeException",
                "Request Entity Too Large",
            ),
            Self::BadBody => message(StatusCode::BAD_REQUEST, "BadRequestException", "Bad Request"),
            Self::Invoke(error) => refused_invocation(error),
            Self::BadAnswer => answer::text(StatusCode::BAD_GATEWAY, "text/plain", "Internal Server Error"),
            Self::Record(error) => {
                warn!("a function URL cannot be served: {error}");
                message(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "ServiceException",
                    "Internal Server Error",
                )
            }
        }
    }
}

fn refused_invocation(error: &ApiError) -> Response {
    match error.code {
        "TooManyRequestsException" => {
            let reason = error
                .extra
                .iter()
                .find(|(name, _)| *name == "Reason")
                .map(|(_, reason)| reason.as_str());
            let document = json!({ "Reason": reason, "Type": "User", "message": error.message });
            with_type(answer::json(StatusCode::TOO_MANY_REQUESTS, &document), error.code)
        }
        "ResourceNotFoundException" => message(StatusCode::NOT_FOUND, error.code, "Not Found"),
        code => message(StatusCode::BAD_GATEWAY, code, "Internal Server Error"),
    }
}

fn message(status: StatusCode, code: &'static str, text: &str) -> Response {
    with_type(answer::json(status, &json!({ "Message": text })), code)
}

fn with_type(mut response: Response, code: &'static str) -> Response {
    response
        .headers_mut()
        .insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}
