//! What gateway, control and worker say to each other: leases, invocations, what a cold start cost, log lines.
//!
//! No logic lives here; changing it is what "breaking" means. Today gateway and worker share a process and these are
//! values in memory; on many machines they are the same values on a wire.
//!
//! Read first: [`Lease`], [`Invocation`], [`Worker`].

mod as_text;
#[cfg(feature = "example-lease")]
mod example_lease;
mod image_address;
mod invocation;
mod lease;
mod log;
mod provisioned;
mod snapshot;
mod start;
mod worker;

#[cfg(feature = "example-lease")]
pub use example_lease::example_lease;
pub use image_address::ImageAddress;
pub use invocation::{Body, Ending, ErrorMark, Invocation, InvokeError, Reply, Report, ResponseMode};
pub use lease::{
    FunctionIdentity, Initialization, Lease, LogFormat, Logging, Network, Overlay, Program, SNAPSHOT_DIRECTORY,
    SharedFileSystem,
};
pub use log::{LogBatch, LogEvent};
pub use provisioned::{ProvisionFailure, ProvisionReport, ProvisionTarget};
pub use snapshot::{SnapshotFailure, TakenSnapshot};
pub use start::{ColdStart, StartPart, TierBytes};
pub use worker::{Worker, WorkerReport};
