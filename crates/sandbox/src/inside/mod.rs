//! Process 1 of a sandbox: builds it from inside, gives up nearly all rights, then starts, signals and reaps.

mod launch;
mod loopback;
mod rights;
mod root;
mod user;

pub(crate) use rights::become_root_inside;
pub(crate) use root::{HOSTS_FILE, RESOLVER_FILE};

use crate::kernel::{self, Forked};
use crate::outbound;
use crate::seccomp::Filters;
use crate::snapshot::Identity;
use crate::socket;
use crate::spawner::report;
use crate::spec::{ProcessSpec, SandboxSpec};
use crate::status::ExitStatus;
use crate::wire::{Created, Failure, FromInit, Mounts, Step, ToInit};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Gid, Uid, fchown};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, set_parent_process_death_signal, wait,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The builder's part takes milliseconds, unless the image's device is still fetching. The caller gives up after as
/// long.
const BUILDER_WAIT: Duration = Duration::from_secs(30);

/// What init is born with.
pub(crate) struct Birth<'a> {
    pub(crate) spec: &'a SandboxSpec,
    /// To the caller.
    pub(crate) control: &'a OwnedFd,
    /// From the builder.
    pub(crate) builder: OwnedFd,
    /// The `tasks` files of version 1 control groups.
    pub(crate) tasks: Vec<OwnedFd>,
    pub(crate) filters: &'a Filters,
}

/// The life of init. With it ends every process of the sandbox.
pub(crate) fn run(birth: Birth<'_>) -> ! {
    let (control, files_max) = (birth.control, birth.spec.files_max);
    match become_ready(birth) {
        Ok(signals) => serve(control, &signals, files_max),
        Err(failure) => report(control, failure),
    }
    kernel::exit_now(0)
}

fn become_ready(birth: Birth<'_>) -> Result<OwnedFd, Failure> {
    let spec = birth.spec;
    join(birth.tasks)?;
    die_with_spawner()?;
    let listener = loopback::listen()?;
    rustix::system::sethostname(spec.hostname.as_bytes()).step(|| "set the host name".to_owned())?;
    let (Mounts { address }, mounts) =
        socket::receive_within(&birth.builder, BUILDER_WAIT).step(|| "get the mounts from the builder".to_owned())?;
    drop(birth.builder);
    if let Some(address) = address {
        outbound::enter(address)?;
    }
    rights::become_root_inside()?;
    // Changing ids has cleared it.
    die_with_spawner()?;
    let tmp = root::enter(spec, mounts)?;
    rights::keep_the_few()?;
    let signals = kernel::child_signals().step(|| "watch children".to_owned())?;
    let init = pidfd_open(getpid(), PidfdFlags::empty()).step(|| "open a pidfd of init".to_owned())?;
    let descriptors = [listener.as_fd(), init.as_fd(), tmp.as_fd()];
    socket::send(birth.control, &Created::Ready, &descriptors).step(|| "hand over the listener".to_owned())?;
    // Only now, so that the caller goes on meanwhile: the kernel works on a filter of this length for a good part of a
    // millisecond. Nothing but this code runs here before the first request is read, and without a filter none is.
    birth.filters.install()?;
    Ok(signals)
}

/// Moves this process into the version 1 groups; into that of version 2 it was born.
fn join(tasks: Vec<OwnedFd>) -> Result<(), Failure> {
    for file in tasks {
        rustix::io::write(&file, b"0").step(|| "join the control groups".to_owned())?;
    }
    kernel::enter_cgroup_namespace().step(|| "make a cgroup namespace".to_owned())
}

fn die_with_spawner() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).step(|| "tie init to the spawner".to_owned())
}

/// Until the caller closes its end.
fn serve(control: &OwnedFd, signals: &OwnedFd, files_max: u64) {
    let mut running = HashMap::new();
    loop {
        let mut waits = [PollFd::new(control, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let (asked, ended) = match poll(&mut waits, None) {
            Ok(_) => (!waits[0].revents().is_empty(), !waits[1].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        if ended {
            // The count of signals says nothing: equal signals merge. So all dead children are asked for.
            let _ = rustix::io::read(signals, &mut [0u8; 128]);
            reap(&mut running);
        }
        if asked && !matches!(answer(control, &mut running, files_max), Ok(true)) {
            return;
        }
    }
}

/// Reports those that were asked for; the others are orphans.
fn reap(running: &mut HashMap<i32, OwnedFd>) {
    while let Ok(Some((process, status))) = wait(WaitOptions::NOHANG) {
        let Some(exit) = running.remove(&process.as_raw_nonzero().get()) else {
            continue;
        };
        let killed = status.terminating_signal().map(ExitStatus::Killed);
        let status = killed.or_else(|| status.exit_status().map(ExitStatus::Exited));
        // A reader that is gone does not want to know.
        let _ = status.map(|status| rustix::io::write(&exit, &status.encode()));
    }
}

/// Serves one request; `false` when the caller is gone.
fn answer(control: &OwnedFd, running: &mut HashMap<i32, OwnedFd>, files_max: u64) -> io::Result<bool> {
    let Some((request, _)) = socket::receive(control)? else {
        return Ok(false);
    };
    match request {
        ToInit::Signal { process, signal } => socket::send(control, &deliver(running, process, signal), &[])?,
        ToInit::Adopt(identity) => match adopt(&identity, running) {
            Ok(descriptors) => {
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                let process = identity.id;
                socket::send(control, &FromInit::Spawned { process }, &descriptors)?;
            }
            Err(failure) => socket::send(control, &FromInit::Failed(failure), &[])?,
        },
        ToInit::Spawn(process) => match spawn(&process, files_max) {
            Ok((id, exit, descriptors)) => {
                running.insert(id.as_raw_nonzero().get(), exit);
                let process = id.as_raw_nonzero().get().cast_unsigned();
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                socket::send(control, &FromInit::Spawned { process }, &descriptors)?;
            }
            Err(failure) => socket::send(control, &FromInit::Failed(failure), &[])?,
        },
    }
    Ok(true)
}

fn deliver(running: &HashMap<i32, OwnedFd>, process: u32, signal: i32) -> FromInit {
    // Only a child that has not been reaped: its id cannot belong to another process yet.
    let child = i32::try_from(process)
        .ok()
        .filter(|id| running.contains_key(id))
        .and_then(Pid::from_raw);
    let Some(child) = child else {
        return FromInit::NoSuchProcess;
    };
    match kernel::signal_child(child, signal).step(|| format!("send signal {signal} to process {process}")) {
        Ok(()) => FromInit::Signalled,
        Err(failure) => FromInit::Failed(failure),
    }
}

/// Expects a process that CRIU will make: it becomes a child of init when CRIU ends. Gives its output, exit, and the
/// end of the output for CRIU.
fn adopt(identity: &Identity, running: &mut HashMap<i32, OwnedFd>) -> Result<[OwnedFd; 3], Failure> {
    let id = i32::try_from(identity.id).ok().filter(|id| !running.contains_key(id));
    let id = id.ok_or_else(|| Failure {
        step: format!("expect process {}", identity.id),
        errno: libc::EEXIST,
    })?;
    let ((output, output_in), (exit, exit_in)) = (pipe()?, pipe()?);
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    fchown(&output_in, Some(user), Some(group)).step(|| "give away the output".to_owned())?;
    running.insert(id, exit_in);
    Ok([output, exit, output_in])
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step(|| "make a pipe".to_owned())
}

/// The process, our end of its exit pipe, and the caller's ends: output, exit, launch failure.
fn spawn(process: &ProcessSpec, files_max: u64) -> Result<(Pid, OwnedFd, [OwnedFd; 3]), Failure> {
    let ((output, output_in), (exit, exit_in), (launched, launched_in)) = (pipe()?, pipe()?, pipe()?);
    match kernel::fork().step(|| "fork: the limit of processes or of memory is reached".to_owned())? {
        Forked::Parent(id) => Ok((id, exit_in, [output, exit, launched])),
        Forked::Child => {
            let failure = launch::launch(process, &output_in, files_max);
            // Nothing is executed, so this pipe is still open; a reader that is gone does not want to know.
            let bytes = serde_json::to_vec(&failure).unwrap_or_default();
            let _ = rustix::io::write(&launched_in, &bytes);
            kernel::exit_now(127)
        }
    }
}
