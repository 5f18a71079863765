//! How an environment comes up: mounts, sandbox, extensions, runtime, and their initialisation, twice if need be.

use super::cold_start::{StartClock, StartReads};
use super::devices::{Device, DeviceError};
use super::dispatch::{Machine, Order, invocations_max};
use super::environment::Environment;
use super::exits::Who;
use super::extensions::{EXTENSIONS_DIRECTORY, extension_names};
use super::failure::Failure;
use super::job::Job;
use super::life::Event;
use super::processes::{Heard, Processes, SpawnError};
use super::records::{ComeUp, InitPhase, Outcome, Record};
use super::sandboxes::{Trees, overlay_source, processor_millis, sandbox_name, specification};
use super::serve::refuse_with;
use super::settings::FileSystem;
use super::snapshots::{RestoreError, seeding};
use super::variables::{extension_variables, runtime_variables};
use crate::runtime_api::{
    FunctionDescription, RestoreNext, RuntimeApiParts, RuntimeEvent, ShutdownReason, TooManyExtensions,
};
use api::{Initialization, InvokeError, Lease, TierBytes};
use sandbox::{Dialer, ProcessSpec, Sandbox, SandboxError, SharedDirectory};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Longest initialisation ahead of need, which nobody waits for, unless the function's timeout is longer. Source:
/// Lambda's developer guide, "Init phase".
pub(super) const INIT_AHEAD: Duration = Duration::from_secs(130);

/// An environment that is up, or was to be, for its first event.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) clock: StartClock,
    /// What is read of the images, until the event is delivered.
    pub(super) reads: StartReads,
    /// From then on.
    pub(super) tiers: Option<JoinHandle<Vec<TierBytes>>>,
    /// How it came up before the invocation; `None` when it was initialised once more, within the invocation.
    pub(super) init: Option<ComeUp>,
    /// When the invocation began, if that is before now.
    pub(super) invocation: Option<Instant>,
}

impl Begun {
    /// Began when it was asked for.
    pub(super) fn new(asked: Instant) -> Self {
        Self {
            clock: StartClock::new(asked),
            reads: StartReads::default(),
            tiers: None,
            init: None,
            invocation: None,
        }
    }
}

/// Why an environment did not come up.
#[derive(Debug)]
pub(super) enum StartError {
    /// The function's doing: its caller gets an answer.
    Function(Failure),
    /// Ours, or the image's.
    Worker(InvokeError),
}

/// Why an environment could not be made.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("image {image} has no directory {source_path}, or it leads out of the image")]
    Overlay { image: String, source_path: String },
    #[error("the file system {arn} is not here: name its directory with `lambent up --file-system`")]
    FileSystem { arn: String },
    #[error("cannot serve the Runtime API: {0}")]
    Listener(#[from] io::Error),
    #[error(transparent)]
    Extensions(#[from] TooManyExtensions),
}

impl Environment {
    /// Brings the environment up for an event. Gives nothing when that failed; the caller has its answer then.
    pub(super) async fn start(&mut self, job: Job) -> Option<(Job, Begun)> {
        let mut begun = Begun::new(job.asked);
        match self.first_attempt(&mut begun).await {
            Ok(()) => return Some((job, begun)),
            Err(StartError::Worker(error)) => {
                self.happened(Event::Broke);
                job.refuse(error);
                return None;
            }
            Err(StartError::Function(_)) => self.discard_processes().await,
        }
        self.second_attempt(job, begun).await
    }

    /// Brings the environment up ahead of events. The error says what failed, for whoever wants it there.
    pub(super) async fn start_ahead(&mut self) -> Result<(), String> {
        let mut begun = Begun::new(Instant::now());
        let Err(error) = self.first_attempt(&mut begun).await else {
            // What it touches from now on belongs to no start. Ends within FIGURES_WAIT.
            tokio::spawn(begun.reads.finish());
            return Ok(());
        };
        self.happened(Event::Broke);
        Err(match error {
            StartError::Function(failure) => failure.init_reason(),
            StartError::Worker(error) => error.to_string(),
        })
    }

    async fn first_attempt(&mut self, begun: &mut Begun) -> Result<(), StartError> {
        if let Some(image) = self.lease.snapshot.clone()
            && self.lease.initialization == Initialization::SnapStart
        {
            match self.restore(&image, begun).await {
                Ok(()) => return Ok(()),
                Err(RestoreError::Start(error)) => return Err(error),
                Err(RestoreError::FellBack(reason)) => {
                    let function = self.function_name();
                    tracing::warn!(
                        function,
                        "an environment initialises instead of being restored: {reason}"
                    );
                    begun.clock.fell_back(reason);
                    self.discard_processes().await;
                }
            }
        }
        let limit = match self.lease.initialization {
            Initialization::OnDemand | Initialization::SnapStart => self.machine.settings.init,
            Initialization::Provisioned => INIT_AHEAD.max(self.lease.timeout),
        };
        let init = self.initialize(InitPhase::Init, Limit::Init(limit), begun).await?;
        begun.init = Some(ComeUp::Initialized(init));
        Ok(())
    }

    /// Lambda's rule: what fails in the init phase, or is too slow for it, is done once more within the invocation.
    async fn second_attempt(&mut self, job: Job, mut begun: Begun) -> Option<(Job, Begun)> {
        let begin = Instant::now();
        begun.invocation = Some(begin);
        self.log.keep_tail(job.invocation.tail);
        self.log.platform(&Record::Start {
            request_id: &job.invocation.request_id,
            version: &self.lease.function.version,
        });
        let limit = Limit::Function {
            begin,
            timeout: self.lease.timeout,
        };
        match self.initialize(InitPhase::Invoke, limit, &mut begun).await {
            Ok(_) => return Some((job, begun)),
            Err(StartError::Worker(error)) => job.refuse(error),
            Err(StartError::Function(failure)) => {
                self.memory_seen();
                refuse_with(self, job, begun, failure);
            }
        }
        self.happened(Event::Broke);
        None
    }

    /// From nothing to the first `next` of all; gives the time since the first process began.
    pub(super) async fn initialize(
        &mut self,
        phase: InitPhase,
        limit: Limit,
        begun: &mut Begun,
    ) -> Result<Duration, StartError> {
        let extensions = self.prepare(begun).await?;
        let lease = Arc::clone(&self.lease);
        let (processes, log) = self.parts();
        let begin_record = Record::InitStart {
            initialization: lease.initialization,
            phase,
            runtime: lease.program.runtime.as_deref(),
            function: (&lease.function.name, &lease.function.version),
        };
        processes.record(log, &begin_record);
        let begin = Instant::now();
        let result = self.run_up(&extensions, begin + limit.left(begin), begun).await;
        let result = result.map_err(|error| limit.name_timeout(error));
        self.report_init(phase, begin, &result);
        if result.is_ok() {
            // One that is to be written serves nothing, and has all of its processors for the writing.
            if self.restore_next != RestoreNext::Held {
                let share = processor_millis(self.lease.memory_mb);
                self.parts().0.initialized(share);
            }
            begun.clock.part("init", begin);
            begun.clock.initialized();
        }
        result.map(|()| begin.elapsed())
    }

    /// Mounts, sandbox and server; gives the extensions that are to be started.
    pub(super) async fn prepare(&mut self, begun: &mut Begun) -> Result<Vec<String>, StartError> {
        let parts = PrepareParts::of(self);
        let prepared = tokio::select! {
            biased;
            () = killed(&mut self.orders) => return Err(StartError::Worker(Self::shutting_down())),
            prepared = prepare(parts, begun) => prepared,
        };
        let prepared = prepared.map_err(|error| StartError::Worker(self.cannot_start(&error)))?;
        self.sandboxes_made += 1;
        self.devices = prepared.devices;
        self.processes = Some(prepared.processes);
        Ok(prepared.extensions)
    }

    /// Starts extensions, then the runtime, and waits until all of them ask for an event.
    async fn run_up(&mut self, extensions: &[String], until: Instant, begun: &mut Begun) -> Result<(), StartError> {
        let variables = runtime_variables(&self.lease, self.log.stream());
        let begin = Instant::now();
        for name in extensions {
            let process = ProcessSpec {
                arguments: vec![format!("{EXTENSIONS_DIRECTORY}/{name}")],
                environment: extension_variables(&variables),
                working_directory: "/".to_owned(),
                user: self.lease.program.user.clone(),
            };
            self.spawn(Who::Extension(name.clone()), process).await?;
        }
        self.happened(Event::Prepared);
        let mut variables = Some(variables);
        loop {
            let processes = self.processes.as_mut().expect("they were made above");
            let heard = tokio::select! {
                biased;
                () = killed(&mut self.orders) => return Err(StartError::Worker(Self::shutting_down())),
                heard = processes.hear(&mut self.log, None, until) => heard,
            };
            match heard {
                Heard::Runtime(RuntimeEvent::ExtensionsRegistered) => {
                    if !extensions.is_empty() {
                        begun.clock.part("extensions", begin);
                    }
                    // It is said once.
                    if let Some(variables) = variables.take() {
                        let begin = Instant::now();
                        self.spawn(Who::Runtime, self.runtime_process(variables)).await?;
                        begun.clock.part("runtime", begin);
                    }
                }
                Heard::Runtime(RuntimeEvent::AllIdle | RuntimeEvent::Restorable) => {
                    self.happened(Event::Initialized);
                    return Ok(());
                }
                heard => self.judge_init(heard)?,
            }
        }
    }

    /// Whether what happened ends the initialisation.
    fn judge_init(&mut self, heard: Heard) -> Result<(), StartError> {
        let (processes, _) = self.parts();
        let failure = match heard {
            Heard::Runtime(
                RuntimeEvent::InitError { error_type, body } | RuntimeEvent::RestoreError { error_type, body },
            ) => Failure::InitError {
                error_type: error_type.unwrap_or_else(|| "Runtime.Unknown".to_owned()),
                body,
            },
            Heard::Runtime(RuntimeEvent::ExtensionFailed { name, failure, .. }) => Failure::Extension {
                error_type: failure.to_owned(),
                name,
            },
            Heard::Exit(Who::Runtime, how) => processes.exit_failure(how),
            Heard::Exit(Who::Extension(name), _) => Failure::extension_crash(name),
            // Whoever asked knows how long it was.
            Heard::Time => Failure::TimedOut {
                timeout: Duration::ZERO,
            },
            Heard::Runtime(_) | Heard::Answer(_) => return Ok(()),
        };
        self.shutdown = match failure {
            Failure::TimedOut { .. } => ShutdownReason::Timeout,
            _ => ShutdownReason::Failure,
        };
        self.happened(Event::InitFailed);
        Err(StartError::Function(failure))
    }

    async fn spawn(&mut self, who: Who, process: ProcessSpec) -> Result<(), StartError> {
        let (processes, _) = self.parts();
        let spawned = processes.spawn(who, process).await;
        spawned.map_err(|error| {
            StartError::Worker(match error {
                SpawnError::Sandbox(error) if is_entrypoint_error(&error) => InvokeError::InvalidEntrypoint {
                    program: self.lease.program.arguments.first().cloned().unwrap_or_default(),
                    reason: error.to_string(),
                },
                error => self.cannot_start(&error),
            })
        })
    }

    fn runtime_process(&self, environment: Vec<(String, String)>) -> ProcessSpec {
        let program = &self.lease.program;
        let arguments = match self.lease.initialization {
            Initialization::SnapStart => seeding(program.runtime.as_deref(), &program.arguments),
            Initialization::OnDemand | Initialization::Provisioned => program.arguments.clone(),
        };
        ProcessSpec {
            arguments,
            environment,
            working_directory: program.working_directory.clone(),
            user: program.user.clone(),
        }
    }

    fn report_init(&mut self, phase: InitPhase, begin: Instant, result: &Result<(), StartError>) {
        let outcome = match result {
            Ok(()) => Outcome::Success,
            Err(StartError::Function(failure)) => failure.outcome(),
            Err(StartError::Worker(_)) => return,
        };
        let initialization = self.lease.initialization;
        let (processes, log) = self.parts();
        processes.drain(log);
        let done = Record::InitRuntimeDone {
            initialization,
            phase,
            outcome: &outcome,
        };
        processes.record(log, &done);
        let report = Record::InitReport {
            initialization,
            phase,
            outcome: &outcome,
            duration: begin.elapsed(),
        };
        processes.record(log, &report);
    }

    fn cannot_start(&self, error: &dyn std::error::Error) -> InvokeError {
        InvokeError::CannotStart {
            function: self.function_name(),
            reason: with_sources(error),
        }
    }
}

/// What an error says, with what its sources say: errors of the sandbox keep the kernel's word there.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !reason.ends_with(&words) {
            reason = format!("{reason}: {words}");
        }
        source = error.source();
    }
    reason
}

/// How long an initialisation may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// So long.
    Init(Duration),
    /// Until the function's timeout is over, which has begun.
    Function { begin: Instant, timeout: Duration },
}

impl Limit {
    fn left(self, now: Instant) -> Duration {
        match self {
            Self::Init(limit) => limit,
            Self::Function { begin, timeout } => (begin + timeout).saturating_duration_since(now),
        }
    }

    fn name_timeout(self, error: StartError) -> StartError {
        let (Self::Init(limit) | Self::Function { timeout: limit, .. }) = self;
        match error {
            StartError::Function(Failure::TimedOut { .. }) => {
                StartError::Function(Failure::TimedOut { timeout: limit })
            }
            other => other,
        }
    }
}

/// What is there before a process is.
struct Prepared {
    devices: Vec<Arc<Device>>,
    processes: Processes,
    extensions: Vec<String>,
}

struct PrepareParts {
    machine: Arc<Machine>,
    lease: Arc<Lease>,
    name: String,
    restore: RestoreNext,
}

impl PrepareParts {
    fn of(environment: &Environment) -> Self {
        Self {
            machine: Arc::clone(&environment.machine),
            lease: Arc::clone(&environment.lease),
            name: sandbox_name(environment.id, environment.sandboxes_made),
            restore: environment.restore_next,
        }
    }
}

async fn prepare(parts: PrepareParts, begun: &mut Begun) -> Result<Prepared, PrepareError> {
    let begin = Instant::now();
    let devices = mount(&parts, &mut begun.reads).await?;
    begun.clock.part("mount", begin);
    let begin = Instant::now();
    let (lease, held, restore) = (Arc::clone(&parts.lease), devices.clone(), parts.restore);
    let make = move || -> Result<(Sandbox, Vec<String>), PrepareError> {
        let trees = trees(&parts.lease, &held, &parts.machine.settings.file_systems)?;
        let extensions = extension_names(&trees.root, &trees.overlays);
        let sandbox = parts
            .machine
            .sandboxes
            .create(&specification(&parts.lease, parts.name, trees))?;
        Ok((sandbox, extensions))
    };
    let (sandbox, extensions) = spawn_blocking(make).await.map_err(io::Error::other)??;
    let parts = RuntimeApiParts {
        restore,
        ..api_parts(&lease, sandbox.dialer()?)
    };
    let processes = Processes::new(sandbox, parts)?;
    begun.clock.part("sandbox", begin);
    processes.api.expect_extensions(extensions.clone())?;
    Ok(Prepared {
        devices,
        processes,
        extensions,
    })
}

/// Mounts the root and what stands in it, all at once.
async fn mount(parts: &PrepareParts, reads: &mut StartReads) -> Result<Vec<Arc<Device>>, PrepareError> {
    let lease = &parts.lease;
    let images = std::iter::once(&lease.root).chain(lease.overlays.iter().map(|overlay| &overlay.image));
    let mounting: Vec<_> = images
        .map(|image| {
            let (machine, image) = (Arc::clone(&parts.machine), image.clone());
            tokio::spawn(async move { machine.devices.get(&image).await })
        })
        .collect();
    let mut devices = Vec::new();
    for mounted in mounting {
        let (device, is_fresh) = mounted.await.map_err(io::Error::other)??;
        reads.add(&device, is_fresh);
        devices.push(device);
    }
    Ok(devices)
}

/// Reads the images' directories, so it blocks.
fn trees(lease: &Lease, devices: &[Arc<Device>], known: &BTreeMap<String, FileSystem>) -> Result<Trees, PrepareError> {
    let overlays = lease.overlays.iter().zip(&devices[1..]).map(|(overlay, device)| {
        let source = overlay_source(device.tree(), &overlay.source).ok_or_else(|| PrepareError::Overlay {
            image: overlay.image.name.clone(),
            source_path: overlay.source.clone(),
        })?;
        Ok((source, overlay.target.clone()))
    });
    let shared = lease.file_systems.iter().map(|asked| {
        let missing = || PrepareError::FileSystem { arn: asked.arn.clone() };
        let found = known.get(&asked.arn).ok_or_else(missing)?;
        Ok(SharedDirectory {
            directory: found.directory.clone(),
            target: asked.target.clone(),
            access: found.access,
        })
    });
    Ok(Trees {
        shared: shared.collect::<Result<_, PrepareError>>()?,
        root: devices[0].tree().to_owned(),
        overlays: overlays.collect::<Result<_, PrepareError>>()?,
    })
}

fn api_parts(lease: &Lease, dialer: Dialer) -> RuntimeApiParts {
    RuntimeApiParts {
        function: FunctionDescription {
            name: lease.function.name.clone(),
            version: lease.function.version.clone(),
            handler: lease.program.handler.clone(),
            account: lease.function.account.to_string(),
        },
        connector: Some(Arc::new(move |port| dialer.connect(port))),
        invocations_max: invocations_max(lease),
        restore: RestoreNext::Unknown,
    }
}

/// Ends when the environment is to be killed; other orders cannot come before it is idle.
pub(super) async fn killed(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Kill => return,
            Order::Run(_) | Order::Stop => {}
        }
    }
}

const fn is_entrypoint_error(error: &SandboxError) -> bool {
    matches!(
        error,
        SandboxError::InvalidProcess { .. }
            | SandboxError::ProgramMissing { .. }
            | SandboxError::ProgramRefused { .. }
            | SandboxError::ProgramUnsuitable { .. }
            | SandboxError::UserUnknown { .. }
            | SandboxError::WorkingDirectory { .. }
    )
}
