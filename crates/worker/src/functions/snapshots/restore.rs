//! Coming up from a snapshot.

use super::super::devices::{Device, DeviceError};
use super::super::dispatch::Machine;
use super::super::environment::Environment;
use super::super::exits::Who;
use super::super::failure::Failure;
use super::super::life::Event;
use super::super::processes::Heard;
use super::super::records::{ComeUp, Outcome, Record};
use super::super::sandboxes::{overlay_source, processor_millis};
use super::super::start::{Begun, StartError, killed, with_sources};
use super::{SnapshotTools, record};
use crate::runtime_api::{KeptConnection, RuntimeEvent};
use api::{ImageAddress, InvokeError, SNAPSHOT_DIRECTORY};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// How long a runtime may take from its restore to its first `next`, which is what its hooks may take. Source: Lambda's
/// developer guide, "Runtime hooks for SnapStart".
const HOOKS_MAX: Duration = Duration::from_secs(10);

/// Why an environment did not come up from its snapshot.
#[derive(Debug)]
pub(in super::super) enum RestoreError {
    /// It may initialise instead; the reason is for people.
    FellBack(String),
    /// The event gets no answer from this environment.
    Start(StartError),
}

/// A snapshot that can be restored here, mounted.
struct Opened {
    device: Arc<Device>,
    is_fresh: bool,
    directory: PathBuf,
    connections: Vec<KeptConnection>,
    tools: SnapshotTools,
}

/// Why a snapshot cannot be restored here.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("snapshot {name} has no directory {SNAPSHOT_DIRECTORY}")]
    Directory { name: String },
    #[error("snapshot {name} cannot be used: {source}")]
    Record { name: String, source: record::RecordError },
    #[error("{0}")]
    Criu(String),
    #[error("it was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Environment {
    /// From nothing to the first `next`, by a snapshot. After an error some of its processes may be there.
    pub(in super::super) async fn restore(
        &mut self,
        image: &ImageAddress,
        begun: &mut Begun,
    ) -> Result<(), RestoreError> {
        let machine = Arc::clone(&self.machine);
        let (opened, prepared) = tokio::join!(open(machine, image), self.prepare(begun));
        prepared.map_err(RestoreError::Start)?;
        let opened = opened.map_err(|error| RestoreError::FellBack(with_sources(&error)))?;
        begun.reads.add(&opened.device, opened.is_fresh);
        let lease = Arc::clone(&self.lease);
        let (processes, log) = self.parts();
        let start = Record::RestoreStart {
            runtime: lease.program.runtime.as_deref(),
            function: (&lease.function.name, &lease.function.version),
        };
        processes.record(log, &start);
        let begin = Instant::now();
        self.put_processes(opened).await?;
        begun.clock.part("restore", begin);
        let hooks = Instant::now();
        let result = self.wait_for_hooks(hooks + HOOKS_MAX).await;
        let come_up = ComeUp::Restored {
            duration: begin.elapsed(),
            billed: hooks.elapsed(),
        };
        self.report_restore(come_up, &result);
        result?;
        begun.clock.part("hooks", hooks);
        begun.clock.initialized();
        begun.init = Some(come_up);
        self.parts().0.initialized(processor_millis(lease.memory_mb));
        self.happened(Event::Prepared);
        self.happened(Event::Initialized);
        Ok(())
    }

    async fn put_processes(&mut self, opened: Opened) -> Result<(), RestoreError> {
        let Opened {
            device,
            directory,
            connections,
            tools,
            ..
        } = opened;
        let processes = self.processes.as_mut().expect("they were made before");
        let restored = tokio::select! {
            biased;
            () = killed(&mut self.orders) => return Err(RestoreError::Start(StartError::Worker(Self::shutting_down()))),
            restored = processes.restore(tools, directory, connections) => restored,
        };
        device.touch();
        restored.map_err(|error| RestoreError::FellBack(with_sources(&error)))
    }

    /// Until runtime and hooks are ready, or have failed.
    async fn wait_for_hooks(&mut self, until: Instant) -> Result<(), RestoreError> {
        loop {
            let processes = self.processes.as_mut().expect("they were made before");
            let heard = tokio::select! {
                biased;
                () = killed(&mut self.orders) => return Err(RestoreError::Start(StartError::Worker(Self::shutting_down()))),
                heard = processes.hear(&mut self.log, None, until) => heard,
            };
            let error = match heard {
                Heard::Runtime(RuntimeEvent::AllIdle) => return Ok(()),
                Heard::Runtime(RuntimeEvent::RestoreError { error_type, body }) => {
                    let error_type = error_type.unwrap_or_else(|| "Runtime.AfterRestoreError".to_owned());
                    let function = self.function_name();
                    let reason = Failure::InitError { error_type, body }.init_reason();
                    InvokeError::RestoreFailed { function, reason }
                }
                Heard::Time => InvokeError::RestoreTimedOut {
                    function: self.function_name(),
                    limit: HOOKS_MAX,
                },
                // It may be no fault of the function's.
                Heard::Exit(Who::Runtime, how) => {
                    let failure = self.parts().0.exit_failure(how);
                    return Err(RestoreError::FellBack(format!(
                        "the restored process ended: {}",
                        failure.init_reason()
                    )));
                }
                Heard::Runtime(_) | Heard::Answer(_) | Heard::Exit(..) => continue,
            };
            return Err(RestoreError::Start(StartError::Worker(error)));
        }
    }

    fn report_restore(&mut self, come_up: ComeUp, result: &Result<(), RestoreError>) {
        let error_type = |error_type: &str| Outcome::Error {
            error_type: error_type.to_owned(),
        };
        let outcome = match result {
            Ok(()) => Outcome::Success,
            Err(RestoreError::Start(StartError::Worker(InvokeError::RestoreTimedOut { .. }))) => Outcome::Timeout,
            Err(RestoreError::Start(_)) => error_type("Runtime.AfterRestoreError"),
            Err(RestoreError::FellBack(_)) => error_type("Runtime.ExitError"),
        };
        let (processes, log) = self.parts();
        processes.drain(log);
        processes.record(log, &Record::RestoreRuntimeDone { outcome: &outcome });
        let report = Record::RestoreReport {
            outcome: &outcome,
            duration: come_up.duration(),
        };
        processes.record(log, &report);
    }
}

async fn open(machine: Arc<Machine>, image: &ImageAddress) -> Result<Opened, OpenError> {
    let (device, is_fresh) = machine.devices.get(image).await?;
    let name = image.name.clone();
    let look = move || -> Result<Opened, OpenError> {
        let Some(directory) = overlay_source(device.tree(), SNAPSHOT_DIRECTORY) else {
            return Err(OpenError::Directory { name });
        };
        let connections = record::read(&directory).map_err(|source| OpenError::Record { name, source })?;
        let tools = machine.snapshot_tools().map_err(OpenError::Criu)?;
        Ok(Opened {
            device,
            is_fresh,
            directory,
            connections,
            tools,
        })
    };
    spawn_blocking(look).await?
}
