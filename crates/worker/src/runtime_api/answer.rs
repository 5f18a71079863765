//! What a runtime answered.

use bytes::Bytes;
use tokio::sync::oneshot;

/// A runtime's answer to one event.
#[derive(Debug)]
pub(crate) enum RuntimeAnswer {
    /// A response. For [`api::ResponseMode::Buffered`] it is always whole, also when the runtime streamed it.
    Response {
        /// As the runtime said it; `application/json` where it said nothing.
        content_type: String,
        /// Whole, or a stream when the caller takes one and the runtime gives one.
        body: api::Body,
        /// For a stream, how it ended: sent before the stream's end can be seen. A whole body has none.
        end: Option<oneshot::Receiver<StreamEnd>>,
    },
    /// The runtime reported an error, by `/error` or in the trailers of a response that was collected.
    Error {
        /// `Lambda-Runtime-Function-Error-Type`, for telemetry and logs; at most 256 characters.
        error_type: Option<String>,
        /// The runtime's JSON as it sent it; `{"errorType", "errorMessage"}` where it sent nothing.
        body: Bytes,
    },
    /// More than [`super::RESPONSE_BYTES_MAX`]: Lambda's `Function.ResponseSizeTooLarge`.
    TooLarge,
    /// The connection broke within the response: Lambda's `Runtime.TruncatedResponse`.
    Truncated,
    /// A value of `Lambda-Runtime-Function-Response-Mode` that there is not: Lambda's
    /// `Runtime.InvalidResponseModeHeader`.
    InvalidResponseMode,
}

/// How a streamed response ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Whole.
    Complete,
    /// The runtime said in the trailers that the function failed on the way.
    Error {
        /// `Lambda-Runtime-Function-Error-Type`; `Runtime.Unknown` where there is a body alone.
        error_type: String,
        /// `Lambda-Runtime-Function-Error-Body`, decoded: JSON, at most 64 KiB; empty when there was none.
        body: Bytes,
    },
    /// More than [`super::STREAM_BYTES_MAX`]; what came until then was passed on.
    TooLarge,
    /// The connection broke within the response.
    Truncated,
}
