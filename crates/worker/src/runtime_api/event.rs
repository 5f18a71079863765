//! What the owner of an environment hears, and says.

use super::extension::{ExtensionState, Subscriptions};
use bytes::Bytes;

/// Events that wait for the owner. An invocation causes at most two for the runtime and one for each extension; 64 is
/// several times that.
pub(crate) const EVENTS_QUEUED_MAX: usize = 64;

/// What happened in an environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RuntimeEvent {
    /// All expected extensions have registered: the runtime may start.
    ExtensionsRegistered,
    /// The runtime asked for its first event. From here on no internal extension registers any more; subscriptions to
    /// telemetry end with the first `AllIdle`.
    RuntimeReady,
    /// The runtime asked for the next event after it had answered one (or after its invocation was failed).
    RuntimeIdle,
    /// Runtime and extensions all wait for an event: initialised, or done with the invocation. Comes after
    /// `RuntimeReady` or `RuntimeIdle`, at once when there are no extensions.
    AllIdle,
    /// The runtime reported that it cannot initialise; its process usually exits next.
    InitError {
        /// `Lambda-Runtime-Function-Error-Type`; at most 256 characters.
        error_type: Option<String>,
        /// The runtime's JSON; `{"errorType", "errorMessage"}` where it sent nothing.
        body: Bytes,
    },
    /// The runtime waits in `restore/next` to be written to a snapshot.
    Restorable,
    /// The runtime reported that a hook after the restore failed; its process usually exits next. As `InitError`.
    RestoreError {
        /// `Lambda-Runtime-Function-Error-Type`; at most 256 characters.
        error_type: Option<String>,
        /// The runtime's JSON; `{"errorType", "errorMessage"}` where it sent nothing.
        body: Bytes,
    },
    /// An extension reported an error: Lambda ends the environment.
    ExtensionFailed {
        /// Its name.
        name: String,
        /// `Lambda-Extension-Function-Error-Type`; at most 256 characters.
        error_type: String,
        /// Lambda's name for the failure: `Extension.InitError` or `Extension.ExitError`.
        failure: &'static str,
    },
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionReport {
    /// Its file's name, or what an internal one calls itself.
    pub(crate) name: String,
    /// Whether it is a process of its own.
    pub(crate) external: bool,
    /// What it does.
    pub(crate) state: ExtensionState,
    /// What it wants to hear of.
    pub(crate) events: Subscriptions,
    /// What it reported as its error.
    pub(crate) error_type: Option<String>,
}

/// Why an environment ends, as extensions are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    /// It is not needed any more.
    Spindown,
    /// An invocation took too long.
    Timeout,
    /// Runtime or extension failed.
    Failure,
}

impl ShutdownReason {
    /// As in the SHUTDOWN event.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeliverError {
    /// One at a time: [`RuntimeEvent::AllIdle`] has not come yet.
    #[error("the environment still works on its last event")]
    Busy,
    /// The runtime reported that it cannot initialise.
    #[error("the runtime failed to initialise")]
    InitFailed,
    /// It has been told to shut down.
    #[error("the environment is shutting down")]
    ShuttingDown,
}

/// More external extensions than Lambda runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} extensions in /opt/extensions, and at most {} can run: remove some",
    super::EXTENSIONS_MAX
)]
pub(crate) struct TooManyExtensions {
    /// How many there are.
    pub(crate) count: usize,
}
