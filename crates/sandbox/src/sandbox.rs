//! The caller's side of one sandbox.

use crate::cgroup::Group;
use crate::dialer::Dialer;
use crate::error::SandboxError;
use crate::socket;
use crate::spawner::{IdRange, KILL_WAIT, no_answer};
use crate::spec::{ProcessSpec, SandboxSpec, Usage};
use crate::wire::{FromInit, ToInit};
use rustix::fs::OFlags;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Init only forks; a sandbox that uses up its processor quota delays it by a few periods of 20 ms.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Executing may have to fetch the first pages of the program.
const LAUNCH_WAIT: Duration = Duration::from_secs(60);
/// Processes stop within a millisecond unless they wait for a device; a read of ours fails after less.
const FREEZE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a launch failure: one short JSON object.
const FAILURE_BYTES_MAX: u64 = 4096;

/// One living sandbox. Dropping it kills everything in it and removes its control groups.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    /// One question and its answer at a time. `None` after a question without an answer: the next answer would be that
    /// of the last question. Init ends when it is closed.
    control: Mutex<Option<OwnedFd>>,
    listener: Option<TcpListener>,
    /// A pidfd: readable when init, and so everything, has ended.
    init: OwnedFd,
    /// Only to be asked how much lies in it. Closed after all has ended, since it keeps the files.
    tmp: OwnedFd,
    group: Group,
    files_max: u64,
    memory_bytes_max: u64,
    frozen: AtomicBool,
    /// Given back last, when nobody has these ids any more.
    range: IdRange,
}

/// What init hands over when it is ready.
pub(crate) struct Born {
    pub(crate) listener: TcpListener,
    pub(crate) init: OwnedFd,
    pub(crate) tmp: OwnedFd,
}

/// One process that was started in a sandbox.
#[derive(Debug)]
pub struct Process {
    /// Its id inside, for [`Sandbox::signal`].
    pub id: u32,
    /// What it and its children write to standard output and standard error; non-blocking.
    pub output: OwnedFd,
    /// Becomes readable when it ends, and then gives one [`crate::ExitStatus`] (see [`crate::ExitStatus::read`]);
    /// non-blocking.
    pub exit: OwnedFd,
}

impl Sandbox {
    pub(crate) fn new(spec: &SandboxSpec, control: OwnedFd, born: Born, group: Group, range: IdRange) -> Self {
        Self {
            name: spec.name.clone(),
            control: Mutex::new(Some(control)),
            listener: Some(born.listener),
            init: born.init,
            tmp: born.tmp,
            group,
            files_max: spec.files_max,
            memory_bytes_max: spec.memory_bytes,
            frozen: AtomicBool::new(false),
            range,
        }
    }

    /// The name that it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The listener on 127.0.0.1:9001 inside, once; non-blocking. Close it, and whatever it accepted, when the sandbox
    /// ends: they keep its network namespace alive.
    pub fn take_listener(&mut self) -> Option<TcpListener> {
        self.listener.take()
    }

    /// Opens connections to what listens inside. It keeps nothing alive, and outlives the sandbox to no use.
    ///
    /// # Errors
    /// Those of duplicating a descriptor: there are too many.
    pub fn dialer(&self) -> io::Result<Dialer> {
        Ok(Dialer::new(self.init.try_clone()?))
    }

    /// Starts a process; returns when it runs its program.
    ///
    /// # Errors
    /// [`SandboxError::InvalidProcess`], [`SandboxError::UserUnknown`], [`SandboxError::WorkingDirectory`],
    /// [`SandboxError::ProgramMissing`], [`SandboxError::ProgramRefused`], [`SandboxError::ProgramUnsuitable`],
    /// [`SandboxError::Launch`] or [`SandboxError::Setup`] for everything else that the kernel refuses;
    /// [`SandboxError::Frozen`], [`SandboxError::Dead`], [`SandboxError::Unresponsive`].
    pub fn spawn(&self, process: &ProcessSpec) -> Result<Process, SandboxError> {
        process.check()?;
        let (answer, descriptors) = self.ask(&ToInit::Spawn(process.clone()))?;
        let id = match answer {
            FromInit::Spawned { process } => process,
            FromInit::Failed(failure) => return Err(SandboxError::setup(&self.name, failure)),
            FromInit::Signalled | FromInit::NoSuchProcess => return Err(self.nonsense()),
        };
        let Ok([output, exit, launched]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return Err(self.nonsense());
        };
        self.await_launch(process, launched)?;
        Ok(Process::new(id, output, exit).expect("an open pipe can be made non-blocking"))
    }

    /// Stops everything inside; returns when nothing runs any more. Memory stays.
    ///
    /// # Errors
    /// [`SandboxError::Unresponsive`] if a process cannot be stopped (all run again then), [`SandboxError::Cgroup`].
    pub fn freeze(&self) -> Result<(), SandboxError> {
        // Nobody is in the middle of a question to init, which freezes as well.
        let _control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.group.freeze(FREEZE_WAIT)? {
            return Err(no_answer(
                &self.name,
                "freeze",
                FREEZE_WAIT,
                io::ErrorKind::TimedOut.into(),
            ));
        }
        self.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets everything go on. One system call: it is on the path of every warm invocation.
    ///
    /// # Errors
    /// [`SandboxError::Cgroup`].
    pub fn thaw(&self) -> Result<(), SandboxError> {
        self.group.thaw()?;
        self.frozen.store(false, Ordering::Release);
        Ok(())
    }

    /// Gives it another share of the processors, 1,000 for one: a start may have more than what comes after it.
    ///
    /// # Errors
    /// [`SandboxError::Cgroup`].
    pub fn set_processor(&self, cpu_millis: u32) -> Result<(), SandboxError> {
        self.group.set_processor(cpu_millis)
    }

    /// Sends a signal to a process that [`Self::spawn`] started.
    ///
    /// # Errors
    /// [`SandboxError::NoSuchProcess`] if it has ended; [`SandboxError::Setup`] if there is no such signal;
    /// [`SandboxError::Frozen`], [`SandboxError::Dead`], [`SandboxError::Unresponsive`].
    pub fn signal(&self, process: u32, signal: i32) -> Result<(), SandboxError> {
        match self.ask(&ToInit::Signal { process, signal })?.0 {
            FromInit::Signalled => Ok(()),
            FromInit::Failed(failure) => Err(SandboxError::setup(&self.name, failure)),
            FromInit::NoSuchProcess => Err(SandboxError::NoSuchProcess {
                sandbox: self.name.clone(),
                process,
            }),
            FromInit::Spawned { .. } => Err(self.nonsense()),
        }
    }

    /// What it has used so far; zeros when its groups are gone.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            tmp_bytes: self.tmp_bytes(),
            ..self.group.usage()
        }
    }

    /// Kills everything inside, frozen or not; returns when no process and no control group is left.
    pub fn kill(self) {
        drop(self);
    }

    fn tmp_bytes(&self) -> u64 {
        let tmp = rustix::fs::fstatfs(&self.tmp);
        tmp.map_or(0, |tmp| (tmp.f_blocks - tmp.f_bfree) * tmp.f_bsize.cast_unsigned())
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn range(&self) -> &IdRange {
        &self.range
    }

    pub(crate) fn files_max(&self) -> u64 {
        self.files_max
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// A pidfd.
    pub(crate) fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    pub(crate) fn require_running(&self) -> Result<(), SandboxError> {
        if self.frozen.load(Ordering::Acquire) {
            return Err(SandboxError::Frozen {
                sandbox: self.name.clone(),
            });
        }
        Ok(())
    }

    pub(crate) fn ask(&self, question: &ToInit) -> Result<(FromInit, Vec<OwnedFd>), SandboxError> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        self.require_running()?;
        let answer = match &*control {
            Some(socket) => exchange(socket, question),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        answer.map_err(|source| {
            // A request that was too long was never sent.
            if source.raw_os_error() != Some(libc::E2BIG) {
                *control = None;
            }
            no_answer(&self.name, "answer", ANSWER_WAIT, source)
        })
    }

    /// The pipe closes when the program is executed, and gives a failure otherwise.
    fn await_launch(&self, process: &ProcessSpec, launched: OwnedFd) -> Result<(), SandboxError> {
        let failed = |source| no_answer(&self.name, "execute the program", LAUNCH_WAIT, source);
        if !socket::wait_readable(&launched, LAUNCH_WAIT).map_err(failed)? {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        let mut bytes = Vec::new();
        File::from(launched)
            .take(FAILURE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let failure = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
        Err(SandboxError::launch(process, failure))
    }

    pub(crate) fn nonsense(&self) -> SandboxError {
        no_answer(&self.name, "answer", ANSWER_WAIT, io::ErrorKind::InvalidData.into())
    }

    fn end(&self) -> bool {
        // It may be dead already.
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
        // Version 1 lets a frozen process die only once it is thawed; the signal is there first.
        let _ = self.group.thaw();
        socket::wait_readable(&self.init, KILL_WAIT).unwrap_or(false) && self.group.remove_within(KILL_WAIT)
    }
}

impl Process {
    pub(crate) fn new(id: u32, output: OwnedFd, exit: OwnedFd) -> io::Result<Self> {
        for descriptor in [&output, &exit] {
            let flags = rustix::fs::fcntl_getfl(descriptor)?;
            rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self { id, output, exit })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.end() {
            tracing::error!(
                sandbox = self.name,
                "a killed sandbox does not end: a process waits for a device"
            );
        }
    }
}

fn exchange(socket: &OwnedFd, question: &ToInit) -> io::Result<(FromInit, Vec<OwnedFd>)> {
    socket::send(socket, question, &[])?;
    socket::receive_within(socket, ANSWER_WAIT)
}
