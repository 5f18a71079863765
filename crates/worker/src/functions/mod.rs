//! The function side of a worker: environments and the invocations that run in them.
//!
//! ```text
//! invoke ─> dispatch ─> pool: idle? busy? room? ─┬─ warm ─────────────────────────────> environment's task
//!                                                └─ new: mounts, sandbox, processes ──> environment's task
//! environment's task: thaw, deliver, hear the answer ─> caller; hear that all are idle ─> pool; freeze
//! ```
//! One task owns one environment and is the only one that touches it; what all share is the [`dispatch::Machine`]. A
//! warm invocation touches one mutex for a moment, no database, no file and no other task's state.
//!
//! Where it differs from AWS: after a timeout or a crash the environment ends, with its /tmp, and the next event gets
//! a new one; Lambda re-uses it. The same holds between the two attempts at initialising.
//!
//! Read first: [`Functions`], `life`, `pool`, `environment`.

mod calendar;
mod cold_start;
mod devices;
mod dispatch;
mod environment;
mod exits;
mod extensions;
mod failure;
mod job;
mod life;
mod log;
mod mounts;
mod output;
mod pool;
mod processes;
mod provision;
mod records;
mod sandboxes;
mod serve;
mod settings;
mod snapshots;
mod start;
mod telemetry;
#[cfg(test)]
mod test_lease;
mod variables;

pub use mounts::{Connect, DaemonMounts, ImageMounts, MountError, MountedTree};
pub use settings::{FileSystem, FunctionSettings};

use api::{
    Invocation, InvokeError, Lease, LogBatch, ProvisionReport, ProvisionTarget, Reply, SnapshotFailure, TakenSnapshot,
    Worker, WorkerReport,
};
use async_trait::async_trait;
use devices::Devices;
use dispatch::{Machine, MachineParts, Order, tell};
use job::Job;
use pool::{Limits, Patience, Pool, starts_max};
use sandbox::{SandboxError, SpawnerSettings};
use sandboxes::Sandboxes;
use snapshots::Snapshots;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How often is looked for images that nobody uses.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// How long environments that were told to end at once may take. To kill a sandbox takes milliseconds; a machine in
/// trouble may take longer, and then the spawner's end finishes the work.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// What the function side of a worker is made from.
#[derive(Debug)]
pub struct FunctionsParts {
    /// Where images come from.
    pub mounts: Arc<dyn ImageMounts>,
    /// A directory of its own for mounts, such as `DATA/functions/mounts`; what is mounted under it is taken away. Beside it
    /// lies `snapshots`, for snapshots that are being taken; what is in it is removed.
    pub mounts_directory: PathBuf,
    /// How the process that makes sandboxes is started.
    pub spawner: SpawnerSettings,
    /// What an operator may tune.
    pub settings: FunctionSettings,
    /// Takes log lines; what finds it full is dropped and counted.
    pub logs: mpsc::Sender<LogBatch>,
}

/// Why the function side did not start.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// The directory for mounts cannot be used.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// No sandbox can be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A blocking call was given up.
    #[error("the start was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Environments and what runs in them. Needs a tokio runtime with time and I/O.
#[derive(Debug)]
pub struct Functions {
    machine: Arc<Machine>,
    sweeper: JoinHandle<()>,
}

impl Functions {
    /// Takes away what a dead process left mounted, starts the spawner, and is ready.
    pub async fn start(parts: FunctionsParts) -> Result<Self, FunctionsError> {
        let FunctionsParts {
            mounts,
            mounts_directory,
            spawner,
            settings,
            logs,
        } = parts;
        let criu = settings.criu.clone();
        let open = move || -> Result<_, FunctionsError> {
            // First: it ends the sandboxes of a predecessor, which hold its mounts.
            let sandboxes = Sandboxes::start(spawner)?;
            let snapshots = Snapshots::open(mounts_directory.with_file_name("snapshots"), criu)?;
            Ok((sandboxes, snapshots, Devices::open(mounts, mounts_directory)?))
        };
        let (sandboxes, snapshots, devices) = tokio::task::spawn_blocking(open).await??;
        let pool = Pool::new(Limits {
            environments_max: settings.environments_max,
            memory_mb_max: settings.memory_mb_max,
            starts_max: starts_max(),
        });
        let machine = Arc::new(Machine::new(MachineParts {
            settings,
            devices,
            sandboxes,
            snapshots,
            logs,
            pool,
        }));
        let sweeper = tokio::spawn(sweep(Arc::clone(&machine)));
        Ok(Self { machine, sweeper })
    }

    /// Ends: takes no more events, waits for those that run, kills what is left when the time is over, and unmounts.
    pub async fn shutdown(&self, drain: Duration) {
        self.sweeper.abort();
        let (idle, waiting) = {
            let mut pool = self.machine.pool();
            (pool.close(), pool.take_waiting())
        };
        tell(idle, || Order::Stop);
        for job in waiting {
            job.refuse(InvokeError::ShuttingDown);
        }
        if tokio::time::timeout(drain, self.machine.wait_until_empty())
            .await
            .is_err()
        {
            tell(self.machine.pool().handles(), || Order::Kill);
            if tokio::time::timeout(KILL_WAIT, self.machine.wait_until_empty())
                .await
                .is_err()
            {
                tracing::error!("environments are left that cannot be killed; the spawner's end will take them");
            }
        }
        self.machine.devices.close().await;
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

#[async_trait]
impl Worker for Functions {
    async fn invoke(&self, lease: Arc<Lease>, invocation: Invocation) -> Result<Reply, InvokeError> {
        let function = Arc::clone(&lease);
        let (job, reply) = Job::new(lease, invocation);
        self.machine.dispatch(job, Patience::Some);
        // Without a reply its task has panicked.
        reply.await.unwrap_or_else(|_| {
            Err(InvokeError::CannotStart {
                function: format!("{}:{}", function.function.name, function.function.version),
                reason: "the environment's task failed; the worker's log says why".to_owned(),
            })
        })
    }

    async fn retire(&self, arn: &str, revisions_kept: &[String]) {
        let idle = self.machine.pool().retire(arn, revisions_kept);
        tell(idle, || Order::Stop);
    }

    async fn snapshot(&self, lease: Arc<Lease>) -> Result<TakenSnapshot, SnapshotFailure> {
        self.machine.snapshot(&lease).await
    }

    async fn provision(&self, arn: &str, targets: Vec<ProvisionTarget>) {
        self.machine.provision(arn, targets);
    }

    fn provisioned(&self, arn: Option<&str>) -> Vec<ProvisionReport> {
        self.machine.pool().provisioned(arn)
    }

    async fn provisioned_changed(&self, seen: u64) -> u64 {
        self.machine.provisioned_changed(seen).await
    }

    fn report(&self) -> WorkerReport {
        let counts = self.machine.pool().counts();
        WorkerReport {
            idle: counts.idle,
            busy: counts.busy,
            starting: counts.starting,
            started: counts.started,
        }
    }
}

async fn sweep(machine: Arc<Machine>) {
    loop {
        tokio::time::sleep(SWEEP_PERIOD).await;
        machine.devices.sweep(machine.settings.mount_idle).await;
        // Where room came free unheard, what is missing is started now.
        machine.replenish();
    }
}
