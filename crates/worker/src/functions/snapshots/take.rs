//! Taking a snapshot: an environment of its own that initialises, is written and ends.

use super::super::dispatch::{Handle, Machine, Order, orders_max, tell};
use super::super::environment::Environment;
use super::super::failure::Failure;
use super::super::life::Event;
use super::super::pool::{Demand, EnvironmentId, Patience};
use super::super::processes::{CheckpointError, SpawnError};
use super::super::records::InitPhase;
use super::super::start::{Begun, INIT_AHEAD, Limit, StartError, killed, with_sources};
use super::record::RecordError;
use super::{SnapshotDirectory, SnapshotTools, record};
use crate::runtime_api::{KeptConnection, RestoreNext};
use api::{Initialization, InvokeError, Lease, SnapshotFailure, TakenSnapshot};
use sandbox::{DISK_SPARE_BYTES, SandboxError, processor_class};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// The kernel's word for a full disk, in CRIU's complaints.
const NO_SPACE: &str = "No space left";

/// A snapshot on its way to whoever waits for it: removed if nobody takes it.
#[derive(Debug)]
struct Written {
    directory: SnapshotDirectory,
    memory_bytes: u64,
    init: Duration,
    checkpoint: Duration,
}

impl Written {
    fn give_away(self) -> TakenSnapshot {
        TakenSnapshot {
            directory: self.directory.give_away(),
            memory_bytes: self.memory_bytes,
            init: self.init,
            checkpoint: self.checkpoint,
            processor: processor_class(),
        }
    }
}

/// Ends an environment whose snapshot nobody waits for.
struct EndOnDrop(Handle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // One that has ended does not take it.
        let _ = self.0.try_send(Order::Kill);
    }
}

impl Machine {
    /// As [`api::Worker::snapshot`].
    pub(in super::super) async fn snapshot(self: &Arc<Self>, lease: &Lease) -> Result<TakenSnapshot, SnapshotFailure> {
        let lease = Arc::new(Lease {
            // So that no event finds it.
            revision: format!("{} snapshot", lease.revision),
            initialization: Initialization::SnapStart,
            snapshot: None,
            ..lease.clone()
        });
        let id = self.room_for_snapshot(&lease)?;
        let (handle, orders) = mpsc::channel(orders_max(&lease));
        self.introduce(id, handle.clone(), &lease);
        let environment = Environment::new(Arc::clone(self), id, lease, orders);
        let _end = EndOnDrop(handle);
        let (sender, receiver) = oneshot::channel();
        // It is owned by its place in the pool, and awaited by `wait_until_empty`.
        tokio::spawn(async move {
            if let Err(unwanted) = sender.send(environment.live_for_snapshot().await) {
                let _ = spawn_blocking(move || drop(unwanted)).await;
            }
        });
        // Without an answer its task has panicked.
        let written = receiver.await.unwrap_or_else(|_| {
            Err(SnapshotFailure::Worker {
                reason: "the environment's task failed; the worker's log says why".to_owned(),
            })
        });
        // Nothing is awaited from here on: a caller that goes earlier leaves nothing.
        written.map(Written::give_away)
    }

    fn room_for_snapshot(self: &Arc<Self>, lease: &Lease) -> Result<EnvironmentId, SnapshotFailure> {
        let demand = Demand {
            revision: &lease.revision,
            arn: &lease.function.arn,
            memory_mb: lease.memory_mb,
            patience: Patience::None,
        };
        let room = self.pool().start_beside(demand);
        let (id, evicted) = room.map_err(|shortage| SnapshotFailure::Worker {
            reason: shortage.map_or_else(
                || InvokeError::ShuttingDown.to_string(),
                |shortage| shortage.to_string(),
            ),
        })?;
        tell(evicted, || Order::Stop);
        Ok(id)
    }
}

impl Environment {
    /// All of its life, in which it serves nothing.
    async fn live_for_snapshot(mut self) -> Result<Written, SnapshotFailure> {
        self.restore_next = RestoreNext::Held;
        let taken = self.take_snapshot().await;
        self.happened(if taken.is_ok() { Event::Stop } else { Event::Broke });
        self.end("its snapshot is taken").await;
        taken
    }

    async fn take_snapshot(&mut self) -> Result<Written, SnapshotFailure> {
        let machine = Arc::clone(&self.machine);
        let tools = spawn_blocking(move || machine.snapshot_tools()).await.map_err(ours)?;
        let tools = tools.map_err(|reason| SnapshotFailure::Unsuitable { reason })?;
        let limit = INIT_AHEAD.max(self.lease.timeout);
        let mut begun = Begun::new(Instant::now());
        let init = self.initialize(InitPhase::Init, Limit::Init(limit), &mut begun).await;
        // What it touches from now on belongs to no start. Ends within FIGURES_WAIT.
        tokio::spawn(begun.reads.finish());
        let init = init.map_err(|error| init_failure(error, limit))?;
        if let Some(extension) = self.parts().0.api.extensions().first() {
            let reason = format!(
                "extension {} is registered, and an environment with extensions cannot be written to a snapshot",
                extension.name
            );
            return Err(SnapshotFailure::Unsuitable { reason });
        }
        self.write_snapshot(tools, init).await
    }

    async fn write_snapshot(&mut self, tools: SnapshotTools, init: Duration) -> Result<Written, SnapshotFailure> {
        let machine = Arc::clone(&self.machine);
        let directory = spawn_blocking(move || machine.snapshots.create()).await.map_err(ours)?;
        let directory = directory.map_err(|error| SnapshotFailure::Worker {
            reason: format!("cannot make a directory for a snapshot: {error}"),
        })?;
        let processes = self.processes.as_mut().expect("it has initialised");
        require_space(directory.path(), processes.usage().memory_bytes)?;
        processes.drain(&mut self.log);
        let begin = Instant::now();
        let written = tokio::select! {
            biased;
            () = killed(&mut self.orders) => return Err(ours(InvokeError::ShuttingDown)),
            written = processes.checkpoint(tools.clone(), directory.path().to_owned()) => written,
        };
        let checkpoint = begin.elapsed();
        let connections = written.map_err(|error| checkpoint_failure(&error, directory.path()))?;
        let finish = move || -> Result<_, RecordError> {
            record::write(directory.path(), &connections)?;
            let memory_bytes = memory_bytes(directory.path())?;
            // As each start reads them.
            let connections = record::read(directory.path())?;
            Ok((memory_bytes, directory, connections))
        };
        let finished = spawn_blocking(finish).await.map_err(ours)?;
        let (memory_bytes, directory, connections) = finished.map_err(|error| record_failure(&error))?;
        self.try_snapshot(tools, &directory, connections).await?;
        Ok(Written {
            directory,
            memory_bytes,
            init,
            checkpoint,
        })
    }

    /// Restores a snapshot once, in a new sandbox in which nothing goes on: what cannot be restored, as a process with a
    /// connection to somebody else, is known now and not at each start.
    async fn try_snapshot(
        &mut self,
        tools: SnapshotTools,
        directory: &SnapshotDirectory,
        connections: Vec<KeptConnection>,
    ) -> Result<(), SnapshotFailure> {
        self.discard_processes().await;
        let prepared = self.prepare(&mut Begun::new(Instant::now())).await;
        prepared.map_err(|error| init_failure(error, Duration::ZERO))?;
        let processes = self.processes.as_mut().expect("they were made above");
        let restored = tokio::select! {
            biased;
            () = killed(&mut self.orders) => return Err(ours(InvokeError::ShuttingDown)),
            restored = processes.restore(tools, directory.path().to_owned(), connections) => restored,
        };
        restored.map_err(|error| {
            let reason = format!("it was written, and cannot be restored: {}", with_sources(&error));
            match error {
                SpawnError::Sandbox(SandboxError::Snapshot { .. }) => SnapshotFailure::Unsuitable { reason },
                _ => SnapshotFailure::Worker { reason },
            }
        })
    }
}

fn ours(error: impl std::error::Error) -> SnapshotFailure {
    SnapshotFailure::Worker {
        reason: error.to_string(),
    }
}

fn init_failure(error: StartError, limit: Duration) -> SnapshotFailure {
    match error {
        StartError::Function(Failure::TimedOut { .. }) => SnapshotFailure::TimedOut { limit },
        StartError::Function(failure) => SnapshotFailure::Init {
            error_type: failure.error_type().to_owned(),
            message: failure.init_message(),
        },
        StartError::Worker(error @ InvokeError::InvalidEntrypoint { .. }) => SnapshotFailure::Init {
            error_type: "Runtime.InvalidEntrypoint".to_owned(),
            message: error.to_string(),
        },
        StartError::Worker(error) => ours(error),
    }
}

/// More connections than a record holds will be there again.
fn record_failure(error: &RecordError) -> SnapshotFailure {
    let reason = format!("cannot keep the record of a snapshot: {error}");
    match error {
        RecordError::TooLong { .. } => SnapshotFailure::Unsuitable { reason },
        _ => SnapshotFailure::Worker { reason },
    }
}

/// A process that CRIU refuses it will refuse again; a disk that is full, or a sandbox that died, is another matter.
fn checkpoint_failure(error: &CheckpointError, directory: &Path) -> SnapshotFailure {
    let reason = with_sources(error);
    let is_lasting = matches!(
        error,
        CheckpointError::Connections(_) | CheckpointError::Sandbox(SandboxError::Snapshot { .. })
    );
    if is_lasting && !reason.contains(NO_SPACE) && free_bytes(directory).is_none_or(|free| free > 0) {
        return SnapshotFailure::Unsuitable { reason };
    }
    SnapshotFailure::Worker { reason }
}

fn require_space(directory: &Path, memory_bytes: u64) -> Result<(), SnapshotFailure> {
    let needed = memory_bytes.saturating_add(DISK_SPARE_BYTES);
    match free_bytes(directory) {
        Some(free) if free < needed => Err(SnapshotFailure::Worker {
            reason: format!(
                "a snapshot may need {needed} bytes in {}, and {free} are free: make room",
                directory.display()
            ),
        }),
        _ => Ok(()),
    }
}

/// `None` where the kernel does not say it.
fn free_bytes(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

/// CRIU writes memory into files of this name.
fn memory_bytes(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("pages-") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Snapshots;
    use super::*;

    fn refused(reason: &str) -> CheckpointError {
        CheckpointError::Sandbox(SandboxError::Snapshot {
            sandbox: "one".to_owned(),
            act: "write",
            reason: reason.to_owned(),
        })
    }

    #[test]
    fn failures_say_whose_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let failure = |error| checkpoint_failure(&error, directory.path());
        assert!(
            matches!(failure(refused("SysVIPC")), SnapshotFailure::Unsuitable { reason } if reason.contains("SysVIPC"))
        );
        let full = failure(refused("Can't write: No space left on device"));
        assert!(matches!(full, SnapshotFailure::Worker { .. }));
        let gone = failure(CheckpointError::Interrupted(std::io::ErrorKind::Other.into()));
        assert!(matches!(gone, SnapshotFailure::Worker { .. }));
        let slow = failure(CheckpointError::Sandbox(SandboxError::SnapshotInterrupted {
            sandbox: "one".to_owned(),
            act: "write",
            step: "hear of CRIU".to_owned(),
            source: std::io::ErrorKind::TimedOut.into(),
        }));
        assert!(matches!(slow, SnapshotFailure::Worker { reason } if reason.contains("hear of CRIU")));
        let long = record_failure(&RecordError::TooLong { bytes: 5 << 20 });
        assert!(matches!(long, SnapshotFailure::Unsuitable { .. }));
        let unread = record_failure(&std::io::Error::from(std::io::ErrorKind::Other).into());
        assert!(matches!(unread, SnapshotFailure::Worker { .. }));
        let limit = Duration::from_secs(130);
        let init = init_failure(
            StartError::Function(Failure::TimedOut {
                timeout: Duration::ZERO,
            }),
            limit,
        );
        assert_eq!(init, SnapshotFailure::TimedOut { limit });
    }

    #[test]
    fn a_snapshot_whose_waiter_goes_after_it_was_sent_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(data.path().join("snapshots"), Vec::new()).unwrap();
        let written = || Written {
            directory: snapshots.create().unwrap(),
            memory_bytes: 0,
            init: Duration::ZERO,
            checkpoint: Duration::ZERO,
        };
        let (sender, receiver) = oneshot::channel();
        let sent = written();
        let path = sent.directory.path().to_owned();
        sender.send(sent).unwrap();
        assert!(path.is_dir());
        drop(receiver);
        assert!(!path.exists());
        assert!(written().give_away().directory.is_dir());
    }

    #[test]
    fn a_disk_without_room_is_named() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(require_space(directory.path(), 0), Ok(()));
        let refused = require_space(directory.path(), u64::MAX).unwrap_err();
        assert!(matches!(refused, SnapshotFailure::Worker { reason } if reason.contains("make room")));
    }
}
