//! The mounter's side: one task after another is taken, and done by a thread of its own.

use super::message::{Answer, MESSAGE_BYTES_MAX, MountTask, Refusal, RefusalKind, Request};
use crate::kernel::{KernelError, LoopDevice, MountOptions, set_read_ahead, unmount};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::error::Error;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Does the tasks that arrive on standard input until the server is gone. `lock` is a file that all mounters of one
/// server and of its successors name; it is made if need be.
pub fn serve(lock: &Path) -> io::Result<()> {
    let line = io::stdin().as_fd().try_clone_to_owned()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    let lock = rustix::fs::open(
        lock,
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    while let Err(error) = flock(&lock, FlockOperation::LockExclusive) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    // Held to the end of the last thread, which may be later than that of this function.
    let _held = lock.into_raw_fd();
    while let Some(task) = receive(&line)? {
        let spawned = std::thread::Builder::new().name("task".to_owned()).spawn(move || {
            if let Err(error) = accept(task) {
                tracing::warn!("a task was lost: {error}");
            }
        });
        // The task's socket closes, and who waits is told.
        if let Err(error) = spawned {
            tracing::warn!("no thread for a task: {error}");
        }
    }
    Ok(())
}

/// The next task's socket; `None` when the server is gone.
fn receive(line: &OwnedFd) -> io::Result<Option<UnixStream>> {
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut byte)];
        let received = match recvmsg(line, slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received,
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let task = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match task {
            Some(task) => return Ok(Some(task.into())),
            None if received.bytes == 0 => return Ok(None),
            // Its socket did not fit into our table of descriptors and is closed: who waits is told.
            None => tracing::warn!("a task came without its socket (hint: the limit of open files may be reached)"),
        }
    }
}

fn accept(mut task: UnixStream) -> io::Result<()> {
    let mut message = Vec::new();
    (&mut task).take(MESSAGE_BYTES_MAX).read_to_end(&mut message)?;
    let request = Request::decode(&message).ok_or(io::ErrorKind::InvalidData)?;
    let mut to_warm = None;
    let answer = match request {
        Request::Mount(mount) => mounted(&mount, &mut to_warm),
        Request::Unmount(target) => done(unmount(&target)),
        Request::ReadAhead { loop_device, kb } => done(set_read_ahead(&loop_device, kb)),
    };
    task.write_all(&answer.encode())?;
    drop(task);
    // Beside whoever mounted: a walk of a large tree would ask for the metadata in thousands of small reads.
    if let Some((loop_device, bytes)) = to_warm
        && let Err(error) = loop_device.warm(bytes)
    {
        tracing::warn!("metadata could not be read ahead: {error}");
    }
    Ok(())
}

fn mounted(task: &MountTask, to_warm: &mut Option<(LoopDevice, u64)>) -> Answer {
    if !task.target.is_dir() {
        return Answer::Refused(Refusal {
            kind: RefusalKind::NotADirectory,
            message: format!("{} is not a directory", task.target.display()),
        });
    }
    match mount(task) {
        Ok((loop_device, is_new)) => {
            let path = loop_device.path().to_owned();
            *to_warm = is_new.then_some((loop_device, task.warm_bytes));
            Answer::Mounted(path)
        }
        Err(error) => refused(&error),
    }
}

/// The loop device is held until the mount is there: with its last descriptor it would detach.
fn mount(task: &MountTask) -> Result<(LoopDevice, bool), KernelError> {
    let (loop_device, is_new) = match known_loop(task) {
        Some(known) => (known, false),
        None => (LoopDevice::attach(&task.file, task.read_ahead_kb)?, true),
    };
    // A client whose server died may ask again for what is there.
    if !loop_device.is_mounted_at(&task.target)? {
        loop_device.mount_ext4(&task.target, MountOptions::default())?;
    }
    Ok((loop_device, is_new))
}

/// Between the last unmount and the word of it, a loop device may be free or another's.
fn known_loop(task: &MountTask) -> Option<LoopDevice> {
    let known = LoopDevice::open(task.loop_device.as_ref()?).ok()?;
    known.is_over(&task.file).unwrap_or(false).then_some(known)
}

fn done(outcome: Result<(), KernelError>) -> Answer {
    outcome.map_or_else(|error| refused(&error), |()| Answer::Done)
}

fn refused(error: &KernelError) -> Answer {
    let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
    Answer::Refused(Refusal {
        kind: RefusalKind::Kernel,
        message: format!("{error}{cause}"),
    })
}
