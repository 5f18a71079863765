//! One short-lived process for each new sandbox: does what needs the host's rights, then exits.

use super::mounts;
use super::ranges::RANGE_IDS;
use super::serve::report;
use crate::inside::{self, Birth};
use crate::kernel::{self, Forked};
use crate::outbound;
use crate::seccomp::Filters;
use crate::socket;
use crate::spec::SandboxNetwork;
use crate::wire::{CreateRequest, Failure, Mounts, Step};
use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

/// The cgroup namespace is missing: init makes its own once it is in its groups, so that they are its root.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// Makes the sandbox; in the two new processes, builder and init, this does not return.
pub(super) fn run(
    spawner: Pid,
    request: &CreateRequest,
    control: &OwnedFd,
    groups: Vec<OwnedFd>,
    filters: &Filters,
) -> ! {
    // A builder whose spawner died before the signal was set goes on to nobody's use: its caller is told by the end of
    // the spawner's socket.
    let orphan = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err()
        || rustix::process::getppid() != Some(spawner);
    if !orphan && let Err(failure) = build(request, control, groups, filters) {
        report(control, failure);
    }
    kernel::exit_now(0)
}

fn build(
    request: &CreateRequest,
    control: &OwnedFd,
    mut groups: Vec<OwnedFd>,
    filters: &Filters,
) -> Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    allow_files(request.spec.files_max)?;
    let (near, far) = socket::pair().step(|| "make a socket".to_owned())?;
    let unified = (request.unified && !groups.is_empty()).then(|| groups.remove(0));
    let forked = kernel::clone_init(NAMESPACES, unified.as_ref().map(AsFd::as_fd));
    let Forked::Parent(init) = forked.step(|| "make new namespaces (clone3)".to_owned())? else {
        drop(near);
        inside::run(Birth {
            spec: &request.spec,
            control,
            builder: far,
            tasks: groups,
            filters,
        });
    };
    drop(far);
    if let Err(failure) = furnish(request, init, &near) {
        // While `near` is open: when it closes init tells of its own end, and the first word is believed.
        report(control, failure);
    }
    Ok(())
}

/// Gives init what only the host can. When it cannot, the builder ends, `near` closes with it, and so does init.
fn furnish(request: &CreateRequest, init: Pid, near: &OwnedFd) -> Result<(), Failure> {
    map_ids(init, request.ids_from)?;
    let address = match request.spec.network {
        SandboxNetwork::Off => None,
        SandboxNetwork::Outbound => Some(outbound::connect(init)?),
    };
    let mounts = host_mounts(request, init)?;
    let descriptors: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
    socket::send(near, &Mounts { address }, &descriptors).step(|| "hand the mounts to init".to_owned())
}

/// What is started from here inherits the hard limit, and cannot raise it any more.
pub(crate) fn allow_files(files_max: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|maximum| maximum.max(files_max));
    setrlimit(Resource::Nofile, Rlimit { maximum, ..limit }).step(|| format!("allow {files_max} open files"))
}

fn map_ids(init: Pid, ids_from: u32) -> Result<(), Failure> {
    let line = format!("0 {ids_from} {RANGE_IDS}\n");
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{init}/{file}");
        fs::write(&path, &line).step(|| format!("map ids {ids_from}.. ({file})"))?;
    }
    Ok(())
}

/// In the order that [`Mounts`] promises.
fn host_mounts(request: &CreateRequest, init: Pid) -> Result<Vec<OwnedFd>, Failure> {
    let spec = &request.spec;
    let user_namespace = File::open(format!("/proc/{init}/ns/user")).step(|| "open the user namespace".to_owned())?;
    let mut all = vec![
        mounts::image(&spec.root, &user_namespace)?,
        mounts::devices(request.ids_from)?,
        mounts::files(&spec.hostname, request.resolver.as_deref(), request.ids_from)?,
        mounts::memory("/tmp", spec.tmp_bytes, request.ids_from)?,
        // As Linux's own default: half of the memory.
        mounts::memory("/dev/shm", spec.memory_bytes / 2, request.ids_from)?,
    ];
    for (directory, _) in &spec.overlays {
        all.push(mounts::image(directory, &user_namespace)?);
    }
    for shared in &spec.shared {
        all.push(mounts::shared(shared, request.ids_from)?);
    }
    Ok(all)
}
