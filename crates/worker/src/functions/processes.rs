//! What runs in an environment, and what can be heard of it.

use super::exits::{Exits, Who};
use super::failure::{Failure, HowEnded};
use super::log::Log;
use super::output::{Outputs, Writer};
use super::records::Record;
use super::snapshots::SnapshotTools;
use super::telemetry;
use crate::runtime_api::{
    KeptConnection, KeptError, RestoreNext, RuntimeAnswer, RuntimeApi, RuntimeApiParts, RuntimeEvent,
};
use sandbox::{Identity, ProcessSpec, Sandbox, SandboxError, Usage};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// A sandbox, the server that its processes talk to, and the processes.
pub(crate) struct Processes {
    sandbox: Arc<Sandbox>,
    pub(crate) api: RuntimeApi,
    events: mpsc::Receiver<RuntimeEvent>,
    exits: Exits,
    outputs: Outputs,
    /// The runtime's, if its process is to be written to a snapshot.
    identity: Option<Identity>,
    is_for_snapshot: bool,
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
        let is_for_snapshot = parts.restore == RestoreNext::Held;
        let (api, events) = RuntimeApi::serve(listener, parts);
        Ok(Self {
            sandbox: Arc::new(sandbox),
            api,
            events,
            exits: Exits::default(),
            outputs: Outputs::default(),
            identity: None,
            is_for_snapshot,
        })
    }

    /// Starts a process.
    pub(crate) async fn spawn(&mut self, who: Who, process: ProcessSpec) -> Result<(), SpawnError> {
        let sandbox = Arc::clone(&self.sandbox);
        let started = spawn_blocking(move || sandbox.spawn(&process)).await;
        let process = started.map_err(io::Error::other)??;
        if self.is_for_snapshot && who == Who::Runtime {
            self.identity = Some(self.sandbox.identity(&process)?);
        }
        let writer = match who {
            Who::Runtime => Writer::Function,
            Who::Extension(_) => Writer::Extension,
        };
        self.outputs.add(process.output, writer)?;
        self.exits.add(who, process.id, process.exit)?;
        Ok(())
    }

    /// Writes the runtime's process, which waits, to an empty directory that all can read; gives what its connections wait
    /// for. Nothing runs any more then.
    pub(crate) async fn checkpoint(
        &mut self,
        tools: SnapshotTools,
        directory: PathBuf,
    ) -> Result<Vec<KeptConnection>, CheckpointError> {
        let identity = self.identity.ok_or(CheckpointError::NoRuntime)?;
        let connections = self.note_connections().await?;
        let sandbox = Arc::clone(&self.sandbox);
        let write = move || sandbox.checkpoint((&tools.spawner, &tools.criu), &identity, &directory);
        spawn_blocking(write).await.map_err(io::Error::other)??;
        if !self.api.is_as_noted() {
            return Err(KeptError::Talks("something came while it was written".to_owned()).into());
        }
        Ok(connections)
    }

    /// A connection may be ending just now, which takes a moment to be seen on this side.
    async fn note_connections(&self) -> Result<Vec<KeptConnection>, KeptError> {
        for _ in 1..NOTES_MAX {
            if let Ok(noted) = self.api.note_connections() {
                return Ok(noted);
            }
            tokio::time::sleep(NOTE_PAUSE).await;
        }
        self.api.note_connections()
    }

    /// Puts the process of a snapshot's directory into the sandbox, in which nothing has been started, and goes on with
    /// its connections.
    pub(crate) async fn restore(
        &mut self,
        tools: SnapshotTools,
        directory: PathBuf,
        connections: Vec<KeptConnection>,
    ) -> Result<(), SpawnError> {
        let sandbox = Arc::clone(&self.sandbox);
        let restore = move || -> Result<_, SpawnError> {
            let dialer = sandbox.dialer()?;
            let rebuild = |kept: KeptConnection| {
                let stream = kept.connection.rebuild(&dialer)?;
                stream.set_nonblocking(true)?;
                Ok((stream, kept.come))
            };
            // Before the process, whose ends look for these; served after it, when there is somebody to answer.
            let streams = connections.into_iter().map(rebuild).collect::<io::Result<Vec<_>>>()?;
            let process = sandbox.restore((&tools.spawner, &tools.criu), &directory)?;
            Ok((process, streams))
        };
        let (process, streams) = spawn_blocking(restore).await.map_err(io::Error::other)??;
        self.outputs.add(process.output, Writer::Function)?;
        self.exits.add(Who::Runtime, process.id, process.exit)?;
        let streams = streams
            .into_iter()
            .map(|(stream, come)| Ok((tokio::net::TcpStream::from_std(stream)?, come)));
        self.api.resume(streams.collect::<io::Result<_>>()?);
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

/// How often connections are looked at that cannot be noted, and how long in between: a second in all.
const NOTES_MAX: u32 = 100;
const NOTE_PAUSE: Duration = Duration::from_millis(10);

/// Why a process could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("no runtime has been started")]
    NoRuntime,
    #[error(transparent)]
    Connections(#[from] KeptError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot write the snapshot: {0}")]
    Interrupted(#[from] io::Error),
}

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
