//! What a dead daemon left behind, taken away.
//!
//! The order matters. First the session is aborted, so that nothing waits for an answer that nobody gives; the loop
//! devices are listed before that session is unmounted, since their files have no path afterwards and a clean-up that
//! was itself interrupted could not find them again.

use super::connections::{ConnectionNumber, abort_connection};
use super::error::{KernelError, call_failed};
use super::loops::{LoopDevice, loops_over};
use super::mounts::{mounts_of, resolve_parent};
use super::session::{sessions_at, unmount_session};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::path::{Path, PathBuf};

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Where ext4 was mounted from a device of the session.
    pub mounts: Vec<PathBuf>,
    /// Loop devices over the session's files.
    pub loops: Vec<PathBuf>,
    /// Dead sessions at the directory.
    pub sessions: u32,
}

/// Takes away what a dead daemon left: the ext4 mounts on loop devices over files in `directory`, those loop devices,
/// and the sessions mounted at `directory`. Whoever still reads gets EIO. Touches nothing else, and of other mount
/// namespaces only what follows from that. Only for a session that nobody serves.
pub fn clean_left_over(directory: &Path) -> Result<CleanReport, KernelError> {
    let directory = resolve_parent(directory)?;
    let mut report = CleanReport::default();
    let sessions = sessions_at(&directory)?;
    for session in &sessions {
        abort(ConnectionNumber(session.device.1), &directory)?;
    }
    for attached in loops_over(&directory).map_err(call_failed("list the loop devices over", &directory))? {
        clean_loop(&attached.path, &mut report)?;
    }
    for _ in sessions_at(&directory)? {
        take_away(&directory)?;
    }
    report.sessions = sessions.len() as u32;
    Ok(report)
}

/// Ends a session, also one that others lie upon. Where the kernel does not show its connections, a forced unmount
/// ends the one on top, whether or not it then succeeds.
fn abort(number: ConnectionNumber, directory: &Path) -> Result<(), KernelError> {
    let Err(error) = abort_connection(number) else {
        return Ok(());
    };
    tracing::warn!("{error}; the session is unmounted by force");
    match rustix::mount::unmount(directory, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(source) => Err(call_failed("abort the FUSE session at", directory)(source)),
    }
}

fn clean_loop(path: &Path, report: &mut CleanReport) -> Result<(), KernelError> {
    // Held, so that the number cannot become somebody else's device between the steps.
    let device = LoopDevice::open(path)?;
    for mount in mounts_of(path)? {
        rustix::mount::unmount(&mount.target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(call_failed("detach the mount at", &mount.target))?;
        report.mounts.push(mount.target);
    }
    match device.clear() {
        Ok(()) => {}
        Err(error) if error.errno() == Some(Errno::NXIO) => {}
        Err(error) => return Err(error),
    }
    report.loops.push(path.to_owned());
    Ok(())
}

/// Unmounts the session on top; lazily when something that we cannot see, such as another mount namespace, holds it.
fn take_away(directory: &Path) -> Result<(), KernelError> {
    match unmount_session(directory) {
        Err(KernelError::Busy(_)) => rustix::mount::unmount(
            directory,
            UnmountFlags::DETACH | UnmountFlags::FORCE | UnmountFlags::NOFOLLOW,
        )
        .map_err(call_failed("detach the FUSE session at", directory)),
        other => other,
    }
}
