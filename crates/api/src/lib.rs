//! What gateway, control and worker say to each other: leases, invocations, what a cold start cost, log lines.
//!
//! No logic lives here; changing it is what "breaking" means. Today gateway and worker share a process and these are
//! values in memory; on many machines they are the same values on a wire.
//!
//! Read first: [`Lease`], [`Invocation`], [`Worker`].

mod as_text;
mod image_address;
mod invocation;
mod lease;
mod log;
mod provisioned;
mod start;
mod worker;

pub use image_address::ImageAddress;
pub use invocation::{Body, Ending, ErrorMark, Invocation, InvokeError, Reply, Report, ResponseMode};
pub use lease::{
    FunctionIdentity, Initialization, Lease, LogFormat, Logging, Network, Overlay, Program, SharedFileSystem,
};
pub use log::{LogBatch, LogEvent};
pub use provisioned::{ProvisionFailure, ProvisionReport, ProvisionTarget};
pub use start::{ColdStart, StartPart, TierBytes};
pub use worker::{Worker, WorkerReport};
