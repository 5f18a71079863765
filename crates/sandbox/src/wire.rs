//! The messages between caller, spawner, builder and init. They never leave the machine, and both ends are the same
//! build of the same program, so they carry no version.

use crate::cgroup::Layout;
use crate::snapshot::Identity;
use crate::spec::{ProcessSpec, SandboxSpec};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::Ipv4Addr;

/// Caller to spawner.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToSpawner {
    /// The first message: what to clear in the end, the groups and the rules of this name.
    Begin {
        groups: Layout,
        name: String,
    },
    Create(CreateRequest),
    Criu(CriuRequest),
}

/// Descriptors: init's end of the sandbox's socket; if `unified`, the version 2 group's directory; then the `tasks`
/// file of each version 1 group.
#[derive(Serialize, Deserialize)]
pub(crate) struct CreateRequest {
    pub(crate) spec: SandboxSpec,
    /// First of the 65536 ids of the host that stand for ids 0..=65535 inside.
    pub(crate) ids_from: u32,
    pub(crate) unified: bool,
    /// Its `/etc/resolv.conf`, if it has a way out.
    pub(crate) resolver: Option<String>,
}

/// One run of CRIU in a sandbox. Descriptors: the guide's end of a socket of its own, a pidfd of the sandbox's init,
/// CRIU's tree, its scratch, the directory of images; for a restore then the pipe of the process's output, if `unified`
/// the version 2 group's directory, and the `tasks` file of each version 1 group.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CriuRequest {
    pub(crate) act: CriuAct,
    /// As in [`CreateRequest`].
    pub(crate) ids_from: u32,
    pub(crate) files_max: u64,
    /// Bytes of all images that CRIU may write.
    pub(crate) images_max: u64,
    pub(crate) unified: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum CriuAct {
    /// Of the process with this id inside.
    Dump { process: u32 },
    /// Of a process whose output was the pipe of this number.
    Restore { output: u64 },
}

/// Guide to caller, once.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromGuide {
    Done,
    /// CRIU, or what was found inside, says no.
    Refused {
        reason: String,
    },
    Failed(Failure),
}

/// Spawner to caller, once.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpawnerReady;

/// Builder to init, with the descriptors of detached mounts: root, `/dev`, the files of `/etc`, `/tmp`, `/dev/shm`, then
/// the overlays, then the shared directories.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mounts {
    /// Of the sandbox's end of the way out.
    pub(crate) address: Option<Ipv4Addr>,
}

/// Builder or init to caller, once; descriptors of `Ready`: the listener, a pidfd of init, the
/// mount of `/tmp`.
#[derive(Serialize, Deserialize)]
pub(crate) enum Created {
    Ready,
    Failed(Failure),
}

/// Caller to init.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToInit {
    Spawn(ProcessSpec),
    Signal {
        process: u32,
        signal: i32,
    },
    /// A process that CRIU will restore: to be watched as one that was spawned.
    Adopt(Identity),
}

/// Init to caller, one for each [`ToInit`].
#[derive(Serialize, Deserialize)]
pub(crate) enum FromInit {
    /// Descriptors: output, exit, and the pipe that closes when the program runs or else gives a [`LaunchFailure`]; of
    /// an adopted process, output, exit, and the end of the output that it writes to.
    Spawned {
        process: u32,
    },
    Failed(Failure),
    Signalled,
    NoSuchProcess,
}

/// What was tried, and the kernel's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) errno: i32,
}

/// Why a forked process never became its program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LaunchFailure {
    User { problem: String },
    Directory { errno: i32 },
    Program { errno: i32 },
    Step(Failure),
}

/// Names the step that failed; the text is only made when it did.
pub(crate) trait Step<T> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step: name(),
            errno: error.into().raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

impl From<Failure> for LaunchFailure {
    fn from(failure: Failure) -> Self {
        Self::Step(failure)
    }
}
