//! FUSE connections by their numbers: how a session is ended that nobody serves.
//!
//! A process that was killed keeps its descriptors until its last thread is gone, and a thread that waits inside the
//! kernel for this very session is never gone: then the session does not end by itself, and if it was unmounted lazily
//! no path leads to it either. Aborting it by its number makes every waiting request fail with EIO.

use super::error::{KernelError, call_failed};
use super::mounts::resolve_parent;
use super::session::sessions_at;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The number of a session's connection. It is another's as soon as the session is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionNumber(pub u32);

/// The connection of the session that is mounted at `directory`, of the one on top where there are several.
pub fn connection_at(directory: &Path) -> Result<Option<ConnectionNumber>, KernelError> {
    let sessions = sessions_at(&resolve_parent(directory)?)?;
    Ok(sessions.last().map(|session| ConnectionNumber(session.device.1)))
}

/// Ends a connection: whoever waits for an answer, or asks, gets an error at once. False when there is none of this
/// number.
pub fn abort_connection(number: ConnectionNumber) -> Result<bool, KernelError> {
    let file = PathBuf::from(format!("{}/abort", number.0));
    let control = control().map_err(call_failed("show FUSE's connections, to use", &file))?;
    match openat(&control, &file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(abort) => {
            rustix::io::write(&abort, b"1").map_err(call_failed("end a FUSE connection by", &file))?;
            Ok(true)
        }
        Err(Errno::NOENT) => Ok(false),
        Err(source) => Err(call_failed("open", &file)(source)),
    }
}

/// The file system of connections (`Documentation/filesystems/fuse.rst`), attached nowhere: it may not be mounted on
/// this machine, and is no business of ours to mount.
fn control() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
