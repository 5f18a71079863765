//! The HTTP server that a runtime and its extensions talk to: Runtime API 2018-06-01, Extensions API 2020-01-01,
//! Telemetry API 2022-07-01 and the older Logs API 2020-08-15. One for each environment.
//!
//! What may happen when is decided by one plain machine ([`machine`]) that knows no HTTP, no task and no clock. Around
//! it lies [`shared`], which keeps what the machine's states stand for: the event, the polls that wait, the caller's
//! end of an answer. The files named after a path of the API turn requests into inputs of the machine and its
//! refusals into Lambda's answers. Telemetry has a machine of its own, a buffer for each subscriber. A runtime that takes
//! several invocations at once has them beside the machine, in [`many`].
//!
//! Whatever runs in the environment is hostile: it gets a limited number of connections, headers and bodies, and all
//! that it can break is its own environment. Nothing here waits for a timeout: an environment may be frozen at any
//! moment, and how long an invocation may take is its owner's business.
//!
//! Order of calls, for the owner of an environment:
//! 1. [`RuntimeApi::serve`], [`RuntimeApi::expect_extensions`], start the external extensions;
//! 2. at [`RuntimeEvent::ExtensionsRegistered`] (at once when none is expected) start the runtime;
//! 3. at [`RuntimeEvent::AllIdle`] the environment is initialised; it may be frozen, or given an event;
//! 4. [`RuntimeApi::deliver`], the answer by its receiver, then [`RuntimeEvent::AllIdle`] again;
//! 5. [`RuntimeApi::shutdown`], signals, and drop.

mod answer;
mod body;
mod event;
mod extension;
mod extension_calls;
mod function_response;
mod invocation_calls;
mod kept;
mod machine;
mod many;
mod refusal;
mod restore_calls;
mod route;
mod server;
mod shared;
mod telemetry;

#[cfg(test)]
mod tests;

pub(crate) use answer::{RuntimeAnswer, StreamEnd};
pub(crate) use event::{DeliverError, ExtensionReport, RuntimeEvent, ShutdownReason, TooManyExtensions};
pub(crate) use kept::{KeptConnection, KeptError};
pub(crate) use telemetry::{TelemetryEvent, TelemetryRecord};

use api::Invocation;
use shared::Shared;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Largest buffered response: 6 MiB and 100 bytes. Lambda says so itself, in `Function.ResponseSizeTooLarge`.
pub(crate) const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// Largest streamed response, 200 MiB: Lambda's quota for response streaming.
pub(crate) const STREAM_BYTES_MAX: u64 = 200 * 1024 * 1024;

/// Extensions in one environment, external and internal together: Lambda's limit.
pub(crate) const EXTENSIONS_MAX: usize = 10;

/// Opens a connection to a port of 127.0.0.1 inside the environment's network. It is called on a thread that may
/// block, yet must give up within seconds: a frozen subscriber does not accept.
pub(crate) type Connector = Arc<dyn Fn(u16) -> io::Result<TcpStream> + Send + Sync>;

/// What the server needs to know of its environment.
pub(crate) struct RuntimeApiParts {
    /// What extensions are told when they register.
    pub(crate) function: FunctionDescription,
    /// The way to telemetry subscribers; without it subscriptions are answered with `Telemetry.NotSupported`.
    pub(crate) connector: Option<Connector>,
    /// Invocations that the runtime takes at once; 1 of an ordinary one.
    pub(crate) invocations_max: usize,
    /// What `restore/next` is for.
    pub(crate) restore: RestoreNext,
}

/// How the server takes `GET /runtime/restore/next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestoreNext {
    /// Not at all: the function has no SnapStart.
    Unknown,
    /// It is answered at once: the processes are restored, or no snapshot is taken of them.
    AtOnce,
    /// It waits: the processes will be written to a snapshot. Connections are watched for that, see [`kept`].
    Held,
}

/// The function, as extensions are told.
#[derive(Clone, Debug)]
pub(crate) struct FunctionDescription {
    /// The bare name.
    pub(crate) name: String,
    /// `$LATEST`, or a number.
    pub(crate) version: String,
    /// Value of `_HANDLER`; may be empty.
    pub(crate) handler: String,
    /// Twelve digits; told to extensions that ask for it.
    pub(crate) account: String,
}

/// The server of one environment. Dropping it ends its tasks and closes its connections.
pub(crate) struct RuntimeApi {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    /// Connections that restored processes have brought along.
    resumed: JoinSet<()>,
}

impl RuntimeApi {
    /// Begins to serve. The receiver gets what happens, in order; it holds at most [`event::EVENTS_QUEUED_MAX`], which
    /// an owner that reads it cannot fill (an invocation causes at most a dozen).
    pub(crate) fn serve(
        listener: tokio::net::TcpListener,
        parts: RuntimeApiParts,
    ) -> (Self, mpsc::Receiver<RuntimeEvent>) {
        let (events, receiver) = mpsc::channel(event::EVENTS_QUEUED_MAX);
        let shared = Arc::new(Shared::new(parts, events));
        let accepting = tokio::spawn(server::accept(listener, Arc::clone(&shared)));
        let resumed = JoinSet::new();
        let api = Self {
            shared,
            accepting,
            resumed,
        };
        (api, receiver)
    }

    /// Notes all connections and what waits on them, for a snapshot that is taken now; only of [`RestoreNext::Held`].
    pub(crate) fn note_connections(&self) -> Result<Vec<KeptConnection>, KeptError> {
        self.shared
            .keeper
            .as_ref()
            .map_or(Ok(Vec::new()), |keeper| keeper.note())
    }

    /// Whether nothing has come over any connection since they were noted.
    pub(crate) fn is_as_noted(&self) -> bool {
        self.shared.keeper.as_ref().is_none_or(|keeper| keeper.is_as_noted())
    }

    /// Serves connections of restored processes, each with what had come over it before: as if it came now.
    pub(crate) fn resume(&mut self, connections: Vec<(tokio::net::TcpStream, Vec<u8>)>) {
        for (stream, come) in connections {
            self.resumed
                .spawn(server::resume(stream, come, Arc::clone(&self.shared)));
        }
    }

    /// Names the external extensions (file names in /opt/extensions) before they are started. With an empty list
    /// [`RuntimeEvent::ExtensionsRegistered`] comes at once.
    pub(crate) fn expect_extensions(&self, names: Vec<String>) -> Result<(), TooManyExtensions> {
        self.shared.expect_extensions(names)
    }

    /// Gives an event to the runtime's waiting `next`, or to its next one, and to the extensions registered for
    /// INVOKE. The receiver gets the answer; it fails when [`Self::fail_invocation`] was faster, or with the server.
    ///
    /// `deadline_ms` is when the invocation's timeout ends, in milliseconds since 1970.
    pub(crate) fn deliver(
        &self,
        invocation: &Invocation,
        deadline_ms: u64,
    ) -> Result<oneshot::Receiver<RuntimeAnswer>, DeliverError> {
        self.shared.deliver(invocation, deadline_ms)
    }

    /// Ends the invocation without an answer of the runtime: its time is over, or its process. What the runtime still
    /// says about it is answered with 400 `InvalidRequestID`. Does nothing when that invocation is over already.
    pub(crate) fn fail_invocation(&self, request_id: &str) {
        self.shared.fail_invocation(request_id);
    }

    /// Tells the extensions registered for SHUTDOWN that the environment ends, and takes no more events. The owner
    /// waits for their processes to exit, up to `deadline_ms` (milliseconds since 1970), and kills the rest.
    pub(crate) fn shutdown(&self, reason: ShutdownReason, deadline_ms: u64) {
        self.shared.shutdown(reason, deadline_ms);
    }

    /// All extensions, in the order of their registration (expected ones first): for the time that a shutdown may
    /// take, for the EXTENSION lines of the log and the `platform.extension` events.
    pub(crate) fn extensions(&self) -> Vec<ExtensionReport> {
        self.shared.extensions()
    }

    /// Puts an event into the buffers of those who asked for its kind, and, until the initialisation is over, keeps it
    /// for those who ask later. Never waits: a subscriber that is too slow loses events and is told how many.
    pub(crate) fn telemetry(&self, event: TelemetryEvent) {
        self.shared.telemetry.publish(event);
    }

    /// Whether anybody may get telemetry: false spares the work of making events.
    pub(crate) fn wants_telemetry(&self) -> bool {
        self.shared.telemetry.is_wanted()
    }

    /// Sends what is buffered, without waiting for the subscribers' own timeouts; ends when all that was buffered at
    /// this moment is sent or dropped. Before a shutdown; bound it by a timeout.
    pub(crate) async fn flush_telemetry(&self) {
        self.shared.telemetry.flush().await;
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.telemetry.close();
    }
}
