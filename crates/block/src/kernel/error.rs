//! What the kernel path may answer instead of a result.

use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// An operation on the kernel path that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel refused a call.
    #[error(transparent)]
    Call(#[from] CallFailed),
    /// Somebody still uses a mount.
    #[error(transparent)]
    Busy(#[from] MountBusy),
    /// Every free loop device was taken by somebody else first.
    #[error(transparent)]
    NoFreeLoop(#[from] NoFreeLoop),
    /// A path names something other than a loop device.
    #[error(transparent)]
    NotALoopDevice(#[from] NotALoopDevice),
    /// The kernel opened the session in a way that this code does not know.
    #[error(transparent)]
    Protocol(#[from] ProtocolUnknown),
}

/// A system call, or a file of `/proc` or `/sys`, that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {tried} {on}", on = .on.display())]
pub struct CallFailed {
    /// What was tried, as a verb that the path follows.
    pub tried: &'static str,
    /// What it was tried on.
    pub on: PathBuf,
    /// The kernel's answer.
    pub source: std::io::Error,
}

/// A mount that cannot go yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "{target} is still in use: an open file, a working directory, a mount below it or another mount namespace \
     holds it (hint: `fuser -vm {target}` lists processes)",
    target = .target.display()
)]
pub struct MountBusy {
    /// Where it is mounted.
    pub target: PathBuf,
}

/// Other processes took every loop device between our asking for a free one and our use of it.
#[derive(Debug, thiserror::Error)]
#[error("found no free loop device in {tries} tries: other processes took each of them first")]
pub struct NoFreeLoop {
    /// How often it was tried.
    pub tries: u32,
}

/// A path that should name a loop device and does not.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not a loop device", path = .path.display())]
pub struct NotALoopDevice {
    /// The path.
    pub path: PathBuf,
}

/// The first request of a session was not one that this code can answer.
#[derive(Debug, thiserror::Error)]
#[error("the kernel opened the FUSE session with {what}, where INIT of protocol 7.{minor_min} or newer was expected")]
pub struct ProtocolUnknown {
    /// What came instead.
    pub what: String,
    /// The oldest minor version that this code speaks.
    pub minor_min: u32,
}

/// Names what was tried, for `map_err`.
pub(super) fn call_failed<E: Into<std::io::Error>>(tried: &'static str, on: &Path) -> impl FnOnce(E) -> KernelError {
    move |source| {
        KernelError::Call(CallFailed {
            tried,
            on: on.to_owned(),
            source: source.into(),
        })
    }
}

impl KernelError {
    /// The kernel's error number, when a call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            KernelError::Call(call) => Errno::from_io_error(&call.source),
            KernelError::Busy(_) => Some(Errno::BUSY),
            KernelError::NoFreeLoop(_) | KernelError::NotALoopDevice(_) | KernelError::Protocol(_) => None,
        }
    }
}
