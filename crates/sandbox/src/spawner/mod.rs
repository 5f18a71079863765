//! The caller's side of the spawner.

mod builder;
mod mounts;
mod owners;
mod ranges;
mod serve;

pub(crate) use serve::report;
pub use serve::run_spawner;

use crate::cgroup::{Group, Layout, Limits, clear};
use crate::error::SandboxError;
use crate::outbound::Outbound;
use crate::sandbox::{Born, Sandbox};
use crate::socket;
use crate::spec::{SandboxNetwork, SandboxSpec, SpawnerSettings, is_name};
use crate::wire::{CreateRequest, Created, CriuRequest, SpawnerReady, ToSpawner};
pub(crate) use builder::allow_files;
use ranges::Ranges;
pub(crate) use ranges::{IdRange, RANGE_IDS};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The spawner only has to be executed; a machine under full load still does that in far less.
const START_WAIT: Duration = Duration::from_secs(30);
/// Making a sandbox takes milliseconds; but its mounts may have to read from a device that is still fetching.
const CREATE_WAIT: Duration = Duration::from_secs(30);
/// How long a killed sandbox may take to be gone, before its groups are left to the end of the spawner.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(10);

/// Makes sandboxes. Dropping it ends all of them.
///
/// It owns one single-threaded child process. That child has no parent-death signal, since Linux sends it when the
/// *thread* that made the child ends; the end of its socket tells it instead, which also comes when we are killed.
#[derive(Debug)]
pub struct Spawner {
    /// `None` only while it is dropped: closing it is the order to end.
    socket: Option<Mutex<OwnedFd>>,
    child: Child,
    layout: Layout,
    outbound: Outbound,
    ranges: Arc<Ranges>,
}

impl Spawner {
    /// Starts the child process, and clears control groups and rules that a dead predecessor of the same name left.
    ///
    /// # Errors
    /// [`SandboxError::SpawnerStart`], [`SandboxError::CgroupMissing`] or [`SandboxError::Cgroup`].
    pub fn start(settings: &SpawnerSettings) -> Result<Self, SandboxError> {
        if !is_name(&settings.cgroup) {
            return Err(SandboxError::InvalidSpec {
                sandbox: settings.cgroup.clone(),
                problem: "the control group's name must be 1 to 64 letters, digits, '-', '_' or '.'",
            });
        }
        let layout = Layout::make(&settings.cgroup)?;
        Self::start_with(settings, &layout).map_err(|source| {
            // The groups are empty; an error here is less telling than the one that is returned.
            let _ = clear(&layout);
            SandboxError::SpawnerStart {
                program: settings.program.clone(),
                source,
            }
        })
    }

    fn start_with(settings: &SpawnerSettings, layout: &Layout) -> io::Result<Self> {
        let (near, far) = socket::pair()?;
        let mut command = Command::new(&settings.program);
        command
            .args(&settings.arguments)
            .env_clear()
            .stdin(Stdio::from(far))
            .stdout(Stdio::null());
        let child = command.spawn()?;
        // The command keeps the far end open, which would hide the child's death from us.
        drop(command);
        let spawner = Self {
            socket: Some(Mutex::new(near)),
            child,
            layout: layout.clone(),
            outbound: Outbound::new(&settings.cgroup),
            ranges: Arc::new(Ranges::default()),
        };
        let begin = ToSpawner::Begin {
            groups: layout.clone(),
            name: settings.cgroup.clone(),
        };
        spawner.send(&begin, &[])?;
        spawner.with_socket(|near| socket::receive_within::<SpawnerReady>(near, START_WAIT))?;
        Ok(spawner)
    }

    /// Makes one sandbox. Threads may call this at the same time; they do not wait for each other.
    ///
    /// # Errors
    /// [`SandboxError::InvalidSpec`], [`SandboxError::TooMany`], [`SandboxError::Outbound`], [`SandboxError::Cgroup`],
    /// [`SandboxError::SpawnerGone`], [`SandboxError::Setup`] with the step that failed, [`SandboxError::Dead`] or
    /// [`SandboxError::Unresponsive`]. Nothing is left behind after an error.
    pub fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, SandboxError> {
        spec.check()?;
        let range = Ranges::take(&self.ranges).ok_or_else(|| SandboxError::TooMany {
            sandbox: spec.name.clone(),
            max: ranges::RANGES,
        })?;
        let resolver = match spec.network {
            SandboxNetwork::Off => None,
            SandboxNetwork::Outbound => Some(self.outbound.prepare()?.text().to_owned()),
        };
        let group = Group::make(&self.layout, &spec.name, Limits::from(spec))?;
        let made = self.ask(spec, &group, &range, resolver).and_then(|control| {
            let born = await_created(&spec.name, &control)?;
            Ok((control, born))
        });
        match made {
            Ok((control, born)) => Ok(Sandbox::new(spec, control, born, group, range)),
            Err(error) => {
                group.kill_all();
                if !group.remove_within(KILL_WAIT) {
                    tracing::error!(sandbox = spec.name, "a sandbox that failed to start cannot be killed");
                }
                Err(error)
            }
        }
    }

    /// Hands the request over; gives our end of the new sandbox's socket.
    fn ask(
        &self,
        spec: &SandboxSpec,
        group: &Group,
        range: &IdRange,
        resolver: Option<String>,
    ) -> Result<OwnedFd, SandboxError> {
        let (near, far) = socket::pair().map_err(|source| SandboxError::SpawnerGone { source })?;
        let unified = group.unified()?;
        let tasks = group.tasks()?;
        let request = ToSpawner::Create(CreateRequest {
            spec: spec.clone(),
            ids_from: range.first(),
            unified: unified.is_some(),
            resolver,
        });
        let descriptors: Vec<_> = [&far]
            .into_iter()
            .chain(&unified)
            .chain(&tasks)
            .map(AsFd::as_fd)
            .collect();
        self.send(&request, &descriptors)
            .map_err(|source| SandboxError::SpawnerGone { source })?;
        Ok(near)
    }

    /// Starts one run of CRIU; gives the socket on which its guide answers.
    pub(crate) fn guide(&self, request: &CriuRequest, descriptors: &[BorrowedFd<'_>]) -> Result<OwnedFd, SandboxError> {
        let gone = |source| SandboxError::SpawnerGone { source };
        let (near, far) = socket::pair().map_err(gone)?;
        let all: Vec<_> = [far.as_fd()].into_iter().chain(descriptors.iter().copied()).collect();
        self.send(&ToSpawner::Criu(request.clone()), &all).map_err(gone)?;
        Ok(near)
    }

    fn send(&self, message: &ToSpawner, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.with_socket(|near| socket::send(near, message, descriptors))
    }

    fn with_socket<T>(&self, act: impl FnOnce(&OwnedFd) -> T) -> T {
        let socket = self.socket.as_ref().expect("only a dropped spawner has no socket");
        // A descriptor has no half-changed state that a panic could leave.
        act(&socket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        drop(self.socket.take());
        if let Err(error) = self.child.wait() {
            tracing::error!(%error, "cannot wait for the end of the spawner");
        }
        // The spawner has done this, unless it was killed.
        if let Err(error) = clear(&self.layout) {
            tracing::error!(%error, "control groups of sandboxes are left");
        }
        self.outbound.clear();
    }
}

fn await_created(sandbox: &str, control: &OwnedFd) -> Result<Born, SandboxError> {
    let answer = socket::receive_within::<Created>(control, CREATE_WAIT);
    let (created, descriptors) = answer.map_err(|source| no_answer(sandbox, "start", CREATE_WAIT, source))?;
    if let Created::Failed(failure) = created {
        return Err(SandboxError::setup(sandbox, failure));
    }
    let Ok([listener, init, tmp]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        let source = io::ErrorKind::InvalidData.into();
        return Err(no_answer(sandbox, "start", CREATE_WAIT, source));
    };
    Ok(Born {
        listener: listener.into(),
        init,
        tmp,
    })
}

/// What a silent sandbox means.
pub(crate) fn no_answer(sandbox: &str, act: &'static str, wait: Duration, source: io::Error) -> SandboxError {
    let sandbox = sandbox.to_owned();
    match source.kind() {
        io::ErrorKind::TimedOut => SandboxError::Unresponsive {
            sandbox,
            act,
            wait_ms: wait.as_millis() as u64,
        },
        _ => SandboxError::Dead { sandbox, source },
    }
}
