//! What runs in an environment, and what can be heard of it.

use super::exits::{Exits, Who};
use super::failure::{Failure, HowEnded};
use super::log::Log;
use super::output::{Outputs, Writer};
use super::records::Record;
use super::telemetry;
use crate::runtime_api::{RuntimeAnswer, RuntimeApi, RuntimeApiParts, RuntimeEvent};
use sandbox::{ProcessSpec, Sandbox, SandboxError, Usage};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// A sandbox, the server that its processes talk to, and the processes.
pub(crate) struct Processes {
    sandbox: Arc<Sandbox>,
    pub(crate) api: RuntimeApi,
    events: mpsc::Receiver<RuntimeEvent>,
    exits: Exits,
    outputs: Outputs,
}

/// Something that happened in an environment.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The runtime answered; `None` when there will be no answer.
    Answer(Option<RuntimeAnswer>),
    /// The server of the Runtime API says so.
    Runtime(RuntimeEvent),
    /// A process ended.
    Exit(Who, HowEnded),
    /// It is time.
    Time,
}

impl Processes {
    /// Serves the Runtime API of a new sandbox.
    pub(crate) fn new(mut sandbox: Sandbox, parts: RuntimeApiParts) -> io::Result<Self> {
        let listener = sandbox.take_listener().ok_or(io::ErrorKind::NotConnected)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (api, events) = RuntimeApi::serve(listener, parts);
        Ok(Self {
            sandbox: Arc::new(sandbox),
            api,
            events,
            exits: Exits::default(),
            outputs: Outputs::default(),
        })
    }

    /// Starts a process.
    pub(crate) async fn spawn(&mut self, who: Who, process: ProcessSpec) -> Result<(), SpawnError> {
        let sandbox = Arc::clone(&self.sandbox);
        let started = spawn_blocking(move || sandbox.spawn(&process)).await;
        let process = started.map_err(io::Error::other)??;
        let writer = match who {
            Who::Runtime => Writer::Function,
            Who::Extension(_) => Writer::Extension,
        };
        self.outputs.add(process.output, writer)?;
        self.exits.add(who, process.id, process.exit)?;
        Ok(())
    }

    /// Waits for the next thing that happens, or for a time; writes what the processes print into the log meanwhile.
    /// Cancel safe.
    pub(crate) async fn hear(
        &mut self,
        log: &mut Log,
        mut answer: Option<&mut oneshot::Receiver<RuntimeAnswer>>,
        until: Instant,
    ) -> Heard {
        loop {
            let now = Instant::now();
            log.flush_due(now);
            let wake = log.flush_at().map_or(until, |flush| flush.min(until));
            let (api, outputs) = (&self.api, &mut self.outputs);
            tokio::select! {
                // An answer that is here counts more than the exit that may have followed it.
                biased;
                answer = received(&mut answer) => return Heard::Answer(answer),
                Some(event) = self.events.recv() => return Heard::Runtime(event),
                (who, how) = self.exits.next() => return Heard::Exit(who, how),
                () = outputs.read(|writer, line| print(log, api, writer, line)) => {}
                () = tokio::time::sleep_until(wake.into()) => if until <= Instant::now() {
                    return Heard::Time;
                },
            }
        }
    }

    /// Writes all that was printed until now into the log.
    pub(crate) fn drain(&mut self, log: &mut Log) {
        let (api, outputs) = (&self.api, &mut self.outputs);
        outputs.drain(|writer, line| print(log, api, writer, line));
    }

    /// A record of the platform, for the log and for telemetry.
    pub(crate) fn record(&self, log: &mut Log, record: &Record<'_>) {
        log.platform(record);
        telemetry::platform(&self.api, record);
    }

    /// Lets the processes run. A few system calls at most, so it is done in place: another thread would cost more.
    pub(crate) fn thaw(&self) -> Result<(), SandboxError> {
        self.sandbox.thaw()
    }

    /// Stops all processes where they are.
    pub(crate) async fn freeze(&self) -> Result<(), SandboxError> {
        let sandbox = Arc::clone(&self.sandbox);
        // Waits until the last thread stands still.
        spawn_blocking(move || sandbox.freeze()).await.unwrap_or(Ok(()))
    }

    pub(crate) fn usage(&self) -> Usage {
        self.sandbox.usage()
    }

    /// From now on the function's own share of the processors. Losing it would only be a gain for the function.
    pub(crate) fn initialized(&self, cpu_millis: u32) {
        if let Err(error) = self.sandbox.set_processor(cpu_millis) {
            tracing::warn!("an environment keeps the processors of its initialisation: {error}");
        }
    }

    /// Lambda's word for the end of the runtime's process.
    pub(crate) fn exit_failure(&self, how: HowEnded) -> Failure {
        if how == HowEnded::Signal(9) && self.usage().out_of_memory_kills > 0 {
            return Failure::OutOfMemory;
        }
        Failure::Exited(how)
    }

    /// Asks the runtime to end.
    pub(crate) async fn terminate_runtime(&self) {
        let Some(id) = self.exits.runtime() else {
            return;
        };
        let sandbox = Arc::clone(&self.sandbox);
        // One that has just ended, or does not listen, is killed with the rest.
        let _ = spawn_blocking(move || sandbox.signal(id, SIGTERM)).await;
    }

    /// Waits until all processes have ended, or for a time.
    pub(crate) async fn wait_for_end(&mut self, log: &mut Log, until: Instant) {
        while !self.exits.is_empty() {
            if matches!(self.hear(log, None, until).await, Heard::Time) {
                return;
            }
        }
    }

    /// Kills everything. What was printed until now is in the log afterwards.
    pub(crate) async fn kill(self, log: &mut Log) {
        let Self {
            sandbox,
            api,
            mut outputs,
            ..
        } = self;
        outputs.finish(|writer, line| print(log, &api, writer, line));
        drop(api);
        // It waits until the last process is gone.
        let killed = spawn_blocking(move || drop(sandbox)).await;
        if let Err(error) = killed {
            tracing::error!("an environment's sandbox may be left behind: {error}");
        }
    }
}

/// Source: signal(7).
const SIGTERM: i32 = 15;

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot watch a process: {0}")]
    Watch(#[from] io::Error),
}

fn print(log: &mut Log, api: &RuntimeApi, writer: Writer, line: &str) {
    log.line(line);
    telemetry::line(api, log.format(), writer, line);
}

async fn received(answer: &mut Option<&mut oneshot::Receiver<RuntimeAnswer>>) -> Option<RuntimeAnswer> {
    match answer {
        Some(answer) => answer.await.ok(),
        None => std::future::pending().await,
    }
}
