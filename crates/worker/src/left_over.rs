//! What a daemon and its keeper leave when both are killed, and how it is taken away.
//!
//! As a rule their descriptors close with them, the kernel ends the session, and readers get EIO. What stays is dead:
//! the session's mount, loop devices, mounts of images. A process that was killed can also be caught in the kernel, in a
//! call that waits for its own session; then its descriptors stay open, the directory's lock and the socket among them,
//! and so do all readers. So the daemon leaves on record who serves, in the file `processes` of its directory, and
//! whoever comes next, a client or a daemon, ends the session of those who are dead by its number.

use crate::daemon::{devices_directory, file_error, lock_directory};
use crate::error::WorkerError;
use crate::protocol::SOCKET_NAME;
use block::kernel::{CleanReport, ConnectionNumber, abort_connection, clean_left_over, connection_at};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the dead may take to be gone once their session has ended: milliseconds, and seconds on a busy machine.
const END_MAX: Duration = Duration::from_secs(10);

/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(10);

/// SIGKILL's bit in the masks of `/proc/N/status`.
const KILL_BIT: u64 = 1 << 8;

/// Who serves a directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    daemon: Process,
    keeper: Process,
    /// The number of the session's FUSE connection.
    connection: u32,
}

/// A process, not to be taken for a later one of the same number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    id: i32,
    /// When it started, as field 22 of `/proc/N/stat` says it.
    started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// Killed, and not gone: a thread of it is in the kernel.
    Caught,
    Gone,
}

/// Takes away what a daemon and its keeper left, when both of them are dead: `None` when they are not, or left
/// nothing. Takes seconds at most.
pub fn clean_after_dead(directory: &Path) -> Result<Option<CleanReport>, WorkerError> {
    let Some(record) = Record::read(directory) else {
        return Ok(None);
    };
    if record.is_served() {
        return Ok(None);
    }
    let lock = match lock_after_dead(directory) {
        Err(WorkerError::Busy { .. }) => return Ok(None),
        other => other?,
    };
    let report = clean_left_over(&devices_directory(directory))?;
    let _ = fs::remove_file(directory.join(SOCKET_NAME));
    forget_processes(directory);
    unlock(&lock);
    Ok(Some(report).filter(|report| *report != CleanReport::default()))
}

/// Ends the session of a daemon that is dead and caught, if its keeper is dead too, and waits until it is gone.
pub(crate) fn end_caught(directory: &Path) -> Result<(), WorkerError> {
    if Record::read(directory).is_some_and(|record| record.is_caught()) {
        match lock_after_dead(directory) {
            Ok(lock) => unlock(&lock),
            // Another one is about to serve.
            Err(WorkerError::Busy { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// By hand: a copy of the descriptor in a process that is just being spawned would hold it a moment longer.
fn unlock(lock: &OwnedFd) {
    let _ = flock(lock, FlockOperation::Unlock);
}

/// Locks the directory. When the dead hold it, their session is ended, and then it is theirs no longer.
pub(crate) fn lock_after_dead(directory: &Path) -> Result<OwnedFd, WorkerError> {
    let deadline = Instant::now() + END_MAX;
    let mut is_aborted = false;
    loop {
        let refused = match lock_directory(directory) {
            Err(error @ WorkerError::Busy { .. }) => error,
            other => return other,
        };
        let caught = Record::read(directory).filter(Record::is_caught);
        let Some(record) = caught.filter(|_| Instant::now() < deadline) else {
            return Err(refused);
        };
        // Once: the number may be another session's afterwards.
        if !std::mem::replace(&mut is_aborted, true) {
            abort_connection(ConnectionNumber(record.connection))?;
            tracing::warn!(
                ?record,
                "ended the session of a daemon that is dead and was caught in the kernel"
            );
        }
        std::thread::sleep(LOOK);
    }
}

/// Leaves on record that this process serves the directory's session, under this keeper.
pub(crate) fn record_processes(directory: &Path, keeper: Option<Pid>) -> Result<(), WorkerError> {
    let path = record_path(directory);
    let failed = |source| file_error("write", &path, source);
    let connection = connection_at(&devices_directory(directory))?;
    let (Some(daemon), Some(keeper), Some(connection)) = (
        Process::now(rustix::process::getpid()),
        keeper.and_then(Process::now),
        connection,
    ) else {
        let source = io::Error::new(io::ErrorKind::NotFound, "no keeper, or no session");
        return Err(failed(source));
    };
    let record = Record {
        daemon,
        keeper,
        connection: connection.0,
    };
    // In one step: who reads it finds the one before or this one.
    let new = directory.join("processes.new");
    let bytes = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(failed)
}

/// Nobody serves the directory any more, and nothing is left.
pub(crate) fn forget_processes(directory: &Path) {
    let _ = fs::remove_file(record_path(directory));
}

fn record_path(directory: &Path) -> PathBuf {
    directory.join("processes")
}

impl Record {
    /// One that cannot be read is as none: a build that wrote others, or a machine that lost power.
    fn read(directory: &Path) -> Option<Record> {
        serde_json::from_slice(&fs::read(record_path(directory)).ok()?).ok()
    }

    /// A keeper alone starts a daemon again; a daemon alone serves on.
    fn is_served(&self) -> bool {
        self.lives().contains(&Life::Alive)
    }

    fn is_caught(&self) -> bool {
        !self.is_served() && self.lives().contains(&Life::Caught)
    }

    fn lives(&self) -> [Life; 2] {
        [self.daemon.life(), self.keeper.life()]
    }
}

impl Process {
    fn now(id: Pid) -> Option<Process> {
        let id = id.as_raw_nonzero().get();
        let (_, started) = state_and_start(&fs::read(format!("/proc/{id}/stat")).ok()?)?;
        Some(Process { id, started })
    }

    fn life(&self) -> Life {
        let stat = fs::read(format!("/proc/{}/stat", self.id));
        let Some((state, started)) = stat.ok().as_deref().and_then(state_and_start) else {
            return Life::Gone;
        };
        if started != self.started {
            return Life::Gone;
        }
        match state {
            // Its first thread is dead. Nobody may have waited for it, which is no sign of life.
            b'Z' | b'X' if self.threads() > 1 => Life::Caught,
            b'Z' | b'X' => Life::Gone,
            _ if self.is_killed() => Life::Caught,
            _ => Life::Alive,
        }
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.id)).map_or(0, Iterator::count)
    }

    fn is_killed(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/status", self.id)).is_ok_and(|status| has_pending_kill(&status))
    }
}

/// `/proc/N/stat` (proc(5)): number, name in parentheses, which may hold anything, state, and 18 fields on the start.
fn state_and_start(stat: &[u8]) -> Option<(u8, u64)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether SIGKILL waits for the first thread to leave the kernel.
fn has_pending_kill(status: &str) -> bool {
    let masks = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    masks
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & KILL_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let this = Process::now(rustix::process::getpid()).unwrap();
        assert_eq!(this.life(), Life::Alive);
        let other = Process {
            started: this.started + 1,
            ..this
        };
        assert_eq!(other.life(), Life::Gone);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = Pid::from_child(&child);
        let process = Process::now(id).unwrap();
        // Dead and not waited for, or gone: both are no life.
        rustix::process::waitid(
            rustix::process::WaitId::Pid(id),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert_eq!(process.life(), Life::Gone);
        child.wait().unwrap();
        assert_eq!(process.life(), Life::Gone);
    }

    #[test]
    fn lines_of_proc_are_read_whatever_the_name() {
        let stat = b"7 (a ) b) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(state_and_start(stat), Some((b'Z', 4242)));
        assert_eq!(state_and_start(b"7 (a) Z 1 2"), None);
        assert_eq!(state_and_start(b""), None);
        assert!(has_pending_kill("SigPnd:\t0000000000000100\nShdPnd:\t0\n"));
        assert!(has_pending_kill("SigPnd:\t0\nShdPnd:\t0000000000004100\n"));
        assert!(!has_pending_kill(
            "SigPnd:\t0000000000004000\nSigBlk:\t0000000000000100\n"
        ));
    }
}
