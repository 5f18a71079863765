//! The server's side: tasks, each over a socket of its own, and the process that does them.

use super::message::{Answer, MESSAGE_BYTES_MAX, MountTask, Refusal, Request};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Makes the command of a process that calls [`super::serve`].
type MakeCommand = Box<dyn Fn() -> io::Result<Command> + Send + Sync>;

/// Has tasks done by a mounter, which it starts, and starts again should it die. Calls block as long as the kernel
/// takes; any number may be under way.
pub struct Mounter {
    command: MakeCommand,
    /// The line to the process, once there is one.
    line: Mutex<Option<OwnedFd>>,
}

/// A task that was not done.
#[derive(Debug, thiserror::Error)]
pub enum MounterError {
    /// The mounter says why not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no mounter.
    #[error("could not start or reach the process that mounts: {0}")]
    Unreachable(#[source] io::Error),
    /// It ended in the middle, or answered what is no answer.
    #[error("the process that mounts ended before it answered: try again")]
    Ended,
}

impl Mounter {
    /// `command` makes the command of a process that calls [`super::serve`]; its standard input will be the line.
    pub fn new(command: impl Fn() -> io::Result<Command> + Send + Sync + 'static) -> Self {
        Self {
            command: Box::new(command),
            line: Mutex::new(None),
        }
    }

    /// Starts the process ahead of the first task, without waiting for it.
    pub fn start(&self) -> Result<(), MounterError> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_none() {
            *line = Some(self.spawn()?);
        }
        Ok(())
    }

    /// Mounts, and puts a loop device over the file first if there is none; gives its path. What is mounted at the
    /// target already stays as it is.
    pub fn mount(&self, task: MountTask) -> Result<PathBuf, MounterError> {
        match self.ask(&Request::Mount(task))? {
            Answer::Mounted(loop_device) => Ok(loop_device),
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::Done => Err(MounterError::Ended),
        }
    }

    /// Unmounts what is at `target`.
    pub fn unmount(&self, target: &Path) -> Result<(), MounterError> {
        self.done(&Request::Unmount(target.to_owned()))
    }

    /// How far the kernel reads ahead on a loop device, in KiB.
    pub fn set_read_ahead(&self, loop_device: &Path, kb: u32) -> Result<(), MounterError> {
        let loop_device = loop_device.to_owned();
        self.done(&Request::ReadAhead { loop_device, kb })
    }

    fn done(&self, request: &Request) -> Result<(), MounterError> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::Mounted(_) => Err(MounterError::Ended),
        }
    }

    fn ask(&self, request: &Request) -> Result<Answer, MounterError> {
        let (mut here, there) = UnixStream::pair().map_err(MounterError::Unreachable)?;
        here.write_all(&request.encode())
            .and_then(|()| here.shutdown(Shutdown::Write))
            .map_err(MounterError::Unreachable)?;
        self.pass(&there)?;
        // With our copy of the other end, its death would not be seen.
        drop(there);
        let mut answer = Vec::new();
        let read = here.take(MESSAGE_BYTES_MAX).read_to_end(&mut answer);
        read.map_err(|_| MounterError::Ended)?;
        Answer::decode(&answer).ok_or(MounterError::Ended)
    }

    /// Hands a task's socket to the process; to a new one when that is gone.
    fn pass(&self, task: &UnixStream) -> Result<(), MounterError> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = line.as_ref() {
            match send(there, task) {
                Err(Errno::PIPE | Errno::CONNRESET) => {}
                other => return other.map_err(|errno| MounterError::Unreachable(errno.into())),
            }
        }
        let new = line.insert(self.spawn()?);
        send(new, task).map_err(|errno| MounterError::Unreachable(errno.into()))
    }

    fn spawn(&self) -> Result<OwnedFd, MounterError> {
        let spawn = || -> io::Result<OwnedFd> {
            let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            let mut command = (self.command)()?;
            let mut child = command.stdin(Stdio::from(there)).stdout(Stdio::null()).spawn()?;
            // Waited for, so that one that died leaves no zombie; the last one ends after this process.
            std::thread::Builder::new()
                .name("mounter's end".to_owned())
                .spawn(move || child.wait())?;
            Ok(here)
        };
        spawn().map_err(MounterError::Unreachable)
    }
}

impl fmt::Debug for Mounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mounter").finish_non_exhaustive()
    }
}

fn send(line: &OwnedFd, task: &UnixStream) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [task.as_fd()];
    let pushed = control.push(SendAncillaryMessage::ScmRights(&descriptors));
    assert!(pushed, "the buffer has room for one descriptor");
    sendmsg(line, &[IoSlice::new(b"t")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
