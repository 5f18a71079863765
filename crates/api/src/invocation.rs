//! One invocation and what comes back.

use crate::ColdStart;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// One event for one function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// A UUID as text; unique.
    pub request_id: String,
    /// The ARN as it was asked for, with its qualifier if there was one.
    pub arn: String,
    /// JSON, checked by the gateway; at most 6 MiB.
    pub payload: Bytes,
    /// JSON, decoded from base64.
    pub client_context: Option<String>,
    /// Value of `Lambda-Runtime-Trace-Id`.
    pub trace_id: String,
    /// Whether the caller can take a stream.
    pub mode: ResponseMode,
    /// Whether the caller wants the last 4 KiB of the log.
    pub tail: bool,
}

/// How a caller takes the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// At once and whole, at most 6 MiB; what a runtime streams is collected.
    Buffered,
    /// As it comes, at most 200 MiB.
    Streaming,
}

/// The function's answer. A function that fails answers too: errors of functions are payloads.
#[derive(Debug)]
pub struct Reply {
    /// As the runtime said it; `application/json` where it said nothing.
    pub content_type: String,
    /// What it answered.
    pub body: Body,
    /// Comes when the invocation is over; for a buffered one soon after the reply. The worker always sends it.
    pub ending: oneshot::Receiver<Ending>,
    /// The mark of a buffered answer that is an error; a stream's comes with its ending.
    pub error: Option<ErrorMark>,
}

/// Bytes of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of them.
    Whole(Bytes),
    /// As they come; closed at the end, after which the ending says how it went.
    Stream(mpsc::Receiver<Bytes>),
}

/// Value of `X-Amz-Function-Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMark {
    /// The function's code reported it.
    Handled,
    /// The platform or the runtime reported it: what Lambda says nowadays for nearly all.
    Unhandled,
}

/// How an invocation went.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Set when the function failed. For a stream that failed on its way: its type and its message.
    pub error: Option<(ErrorMark, String, String)>,
    /// The last 4 KiB of the environment's log with the REPORT line; present when asked for.
    pub log_tail: Option<Bytes>,
    /// What it cost.
    pub report: Report,
}

/// The figures of a REPORT line.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// From the event's delivery to the end.
    pub duration: Duration,
    /// Rounded up to milliseconds, initialisation included where Lambda bills it.
    pub billed: Duration,
    /// The limit.
    pub memory_mb: u32,
    /// Most that the environment has ever used, MB.
    pub memory_used_mb: u32,
    /// Set when this invocation waited for a new environment.
    pub cold_start: Option<ColdStart>,
}

/// Why there is no answer. None of these is the function's own failure.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// This machine has no room: memory, or the number of environments.
    #[error("no room for another environment: {0}")]
    NoCapacity(String),
    /// The environment could not be made. A function that exits or fails in its own initialisation answers instead.
    #[error("cannot start an environment of {function}: {reason}")]
    CannotStart {
        /// Name and version.
        function: String,
        /// What was tried and why it failed.
        reason: String,
    },
    /// The program that the image names cannot be run: Lambda's `Runtime.InvalidEntrypoint` and its kin.
    #[error("cannot run {program}: {reason}")]
    InvalidEntrypoint {
        /// What was to be run.
        program: String,
        /// Why not.
        reason: String,
    },
    /// A hook after the restore of a snapshot failed: Lambda's `SnapStartException`.
    #[error("cannot restore {function}: a hook after the restore failed: {reason}")]
    RestoreFailed {
        /// Name and version.
        function: String,
        /// What the runtime said.
        reason: String,
    },
    /// The hooks after the restore of a snapshot took too long: Lambda's `SnapStartTimeoutException`.
    #[error("cannot restore {function}: its hooks after the restore took longer than {} s", limit.as_secs())]
    RestoreTimedOut {
        /// Name and version.
        function: String,
        /// How long they may take.
        limit: Duration,
    },
    /// The worker is ending.
    #[error("the worker is shutting down")]
    ShuttingDown,
}
