//! What a worker can be asked.

use crate::{Invocation, InvokeError, Lease, ProvisionReport, ProvisionTarget, Reply, SnapshotFailure, TakenSnapshot};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// A machine that runs environments. In the same process today; a client of another machine's is the next one.
#[async_trait]
pub trait Worker: fmt::Debug + Send + Sync {
    /// Runs an event in an idle environment of the lease's revision, the one used last, or in a new one.
    ///
    /// Dropping the future does not take the event back: what has begun runs to its end, as in Lambda.
    async fn invoke(&self, lease: Arc<Lease>, invocation: Invocation) -> Result<Reply, InvokeError>;

    /// Ends the environments of a function whose revisions are not among these: idle ones now, busy ones after their
    /// invocation. `arn` is the function's, without a qualifier.
    async fn retire(&self, arn: &str, revisions_kept: &[String]);

    /// Sets which environments of a function are there ahead of invocations; replaces what was set for it. Returns at
    /// once: [`Worker::provisioned`] says how far they are. `arn` is the function's, without a qualifier.
    async fn provision(&self, arn: &str, targets: Vec<ProvisionTarget>);

    /// How they fare: of one function, or of all.
    fn provisioned(&self, arn: Option<&str>) -> Vec<ProvisionReport>;

    /// Waits until something about them differs from when this answered `seen`; 0 answers at once.
    async fn provisioned_changed(&self, seen: u64) -> u64;

    /// Starts one environment of a lease of [`crate::Initialization::SnapStart`], beside all others, lets it initialise
    /// until its runtime asks `restore/next` (or for its first event, where it knows no hooks), writes it to a directory
    /// and ends it. Lambda's limit holds for the initialisation: 130 s, or the function's timeout if that is longer.
    ///
    /// Dropping the future ends the environment; the directory goes with it.
    async fn snapshot(&self, lease: Arc<Lease>) -> Result<TakenSnapshot, SnapshotFailure> {
        Err(SnapshotFailure::Unsuitable {
            reason: format!("this worker takes no snapshots of {}", lease.function.arn),
        })
    }

    /// What runs now.
    fn report(&self) -> WorkerReport;
}

/// What a worker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Environments that wait, frozen.
    pub idle: u64,
    /// Environments that serve.
    pub busy: u64,
    /// Environments on their way up.
    pub starting: u64,
    /// Started since this process began.
    pub started: u64,
}
