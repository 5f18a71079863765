//! What can go wrong, by name.

use crate::wire::{Failure, LaunchFailure};
use std::io;
use std::path::PathBuf;

/// Why a call on a spawner or a sandbox failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The request makes no sense.
    #[error("cannot make sandbox {sandbox:?}: {problem}")]
    InvalidSpec {
        /// Its name.
        sandbox: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The request makes no sense.
    #[error("cannot start {program:?}: {problem}")]
    InvalidProcess {
        /// The program, if one was named.
        program: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The spawner did not come up.
    #[error("cannot start the spawner {}; it must be a program that calls sandbox::run_spawner, run as root", program.display())]
    SpawnerStart {
        /// What was executed.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The spawner is dead; all its sandboxes are, too.
    #[error("the spawner of sandboxes is gone; start another one")]
    SpawnerGone {
        /// What the socket said.
        source: io::Error,
    },
    /// Every range of ids is taken.
    #[error("cannot make sandbox {sandbox:?}: {max} are alive already, one for each range of user ids")]
    TooMany {
        /// Its name.
        sandbox: String,
        /// How many there can be.
        max: u32,
    },
    /// The host has no control groups that we can use.
    #[error(
        "no control group hierarchy gives {controller}; mount cgroup2 at /sys/fs/cgroup, or the version 1 controller"
    )]
    CgroupMissing {
        /// What is missing.
        controller: &'static str,
    },
    /// A control group could not be made, read or changed.
    #[error("cannot {act} control group file {}", path.display())]
    Cgroup {
        /// Verb.
        act: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host gives sandboxes no way to the network.
    #[error("cannot connect sandboxes to the network: {step}")]
    Outbound {
        /// What was tried.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// A step of making the sandbox failed.
    #[error("cannot make sandbox {sandbox:?}: {step}")]
    Setup {
        /// Its name.
        sandbox: String,
        /// What was tried, on what.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// The sandbox died while it was made, or before it answered.
    #[error("sandbox {sandbox:?} is dead; it may have run out of memory")]
    Dead {
        /// Its name.
        sandbox: String,
        /// What its socket said.
        source: io::Error,
    },
    /// The sandbox did not answer in time.
    #[error("sandbox {sandbox:?} did not {act} within {wait_ms} ms")]
    Unresponsive {
        /// Its name.
        sandbox: String,
        /// Verb.
        act: &'static str,
        /// How long we waited.
        wait_ms: u64,
    },
    /// A frozen sandbox cannot start or signal a process; thaw it first.
    #[error("sandbox {sandbox:?} is frozen; thaw it first")]
    Frozen {
        /// Its name.
        sandbox: String,
    },
    /// There is no CRIU that can be used.
    #[error("cannot use CRIU of {}: {problem}; install CRIU 4.2 or newer", directory.display())]
    CriuUnusable {
        /// The tree that was asked for.
        directory: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A process cannot be written or restored: it would be so again.
    #[error("cannot {act} the snapshot of sandbox {sandbox:?}: {reason}")]
    Snapshot {
        /// Its name.
        sandbox: String,
        /// Verb.
        act: &'static str,
        /// In CRIU's words, mostly.
        reason: String,
    },
    /// This machine failed while a process was written or restored: it may go well another time.
    #[error("cannot {act} the snapshot of sandbox {sandbox:?}: {step}")]
    SnapshotInterrupted {
        /// Its name.
        sandbox: String,
        /// Verb.
        act: &'static str,
        /// What was tried.
        step: String,
        /// Why not.
        source: io::Error,
    },
    /// The directory holds no snapshot that can be restored here.
    #[error("cannot restore the snapshot in {}: {problem}", directory.display())]
    SnapshotUnsuitable {
        /// Where it lies.
        directory: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No process that was started here has this id, or it has ended.
    #[error("sandbox {sandbox:?} runs no process {process}")]
    NoSuchProcess {
        /// Its name.
        sandbox: String,
        /// The id, as in [`crate::Process::id`].
        process: u32,
    },
    /// There is no program of this name, or its interpreter is missing.
    #[error("cannot start {program:?}: the image has no such program, or not the interpreter that it asks for")]
    ProgramMissing {
        /// As it was asked for.
        program: String,
    },
    /// The program may not be executed by this user.
    #[error("cannot start {program:?}: it may not be executed by user {user:?}; check its mode in the image")]
    ProgramRefused {
        /// As it was asked for.
        program: String,
        /// As it was asked for.
        user: String,
    },
    /// The file is no program for this machine.
    #[error(
        "cannot start {program:?}: it is no program for this machine ({})",
        std::env::consts::ARCH
    )]
    ProgramUnsuitable {
        /// As it was asked for.
        program: String,
    },
    /// The user or group is not in the image, or its id is above 65535.
    #[error("cannot start {program:?} as user {user:?}: {problem}")]
    UserUnknown {
        /// As it was asked for.
        program: String,
        /// As it was asked for.
        user: String,
        /// What is wrong.
        problem: String,
    },
    /// The working directory cannot be entered.
    #[error("cannot start {program:?}: cannot enter its working directory {directory:?}")]
    WorkingDirectory {
        /// As it was asked for.
        program: String,
        /// As it was asked for.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// Another step of starting a process failed.
    #[error("cannot start {program:?}: {step}")]
    Launch {
        /// As it was asked for.
        program: String,
        /// What was tried.
        step: String,
        /// Why.
        source: io::Error,
    },
}

impl SandboxError {
    pub(crate) fn setup(sandbox: &str, failure: Failure) -> Self {
        Self::Setup {
            sandbox: sandbox.to_owned(),
            step: failure.step,
            source: io::Error::from_raw_os_error(failure.errno),
        }
    }

    pub(crate) fn launch(process: &crate::ProcessSpec, failure: LaunchFailure) -> Self {
        let program = process.arguments.first().cloned().unwrap_or_default();
        let user = process.user.clone();
        match failure {
            LaunchFailure::User { problem } => Self::UserUnknown { program, user, problem },
            LaunchFailure::Directory { errno } => Self::WorkingDirectory {
                program,
                directory: process.working_directory.clone(),
                source: io::Error::from_raw_os_error(errno),
            },
            LaunchFailure::Program { errno } => match errno {
                libc::ENOENT | libc::ENOTDIR => Self::ProgramMissing { program },
                libc::EACCES | libc::EPERM => Self::ProgramRefused { program, user },
                libc::ENOEXEC => Self::ProgramUnsuitable { program },
                _ => Self::Launch {
                    program,
                    step: "execute it".to_owned(),
                    source: io::Error::from_raw_os_error(errno),
                },
            },
            LaunchFailure::Step(Failure { step, errno }) => Self::Launch {
                program,
                step,
                source: io::Error::from_raw_os_error(errno),
            },
        }
    }
}
