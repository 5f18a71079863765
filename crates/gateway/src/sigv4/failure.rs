//! Why a request is not believed.

use super::timestamp;
use crate::lambda::ApiError;

/// Why a request is not believed. Codes and texts are AWS's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureFailure {
    /// Neither header nor query.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header or the query cannot be read.
    #[error("{0}")]
    Incomplete(String),
    /// No such key, or a revoked one; or a session token, which this server never gives.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// Signed for something else.
    #[error("Credential should be scoped to correct service: '{0}'. ")]
    WrongService(&'static str),
    /// The scope's date is not the time's.
    #[error("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{0}'")]
    WrongDate(String),
    /// Too old.
    #[error("Signature expired: {} is now earlier than {} ({} - {} min.)",
        timestamp::format(*.signed_ms), timestamp::format(*.now_ms - *.allowed_ms), timestamp::format(*.now_ms), *.allowed_ms / 60_000)]
    Expired {
        /// When it was signed.
        signed_ms: u64,
        /// Our clock.
        now_ms: u64,
        /// How old it may be.
        allowed_ms: u64,
    },
    /// Signed in the future.
    #[error("Signature not yet current: {} is still later than {} ({} + {} min.)",
        timestamp::format(*.signed_ms), timestamp::format(*.now_ms + *.allowed_ms), timestamp::format(*.now_ms), *.allowed_ms / 60_000)]
    NotYetCurrent {
        /// When it was signed.
        signed_ms: u64,
        /// Our clock.
        now_ms: u64,
        /// How far it may lie ahead.
        allowed_ms: u64,
    },
    /// A header that says something is not under the signature.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    Unsigned(String),
    /// The body is not what the signature is over.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    BodyDiffers,
    /// The signature is another.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl SignatureFailure {
    /// The error's code in the Lambda API.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            _ => "InvalidSignatureException",
        }
    }
}

impl From<SignatureFailure> for ApiError {
    fn from(failure: SignatureFailure) -> Self {
        Self::new(failure.code(), failure.to_string())
    }
}
