//! The spawner's own process: forks a builder for each request, and ends everything when the caller is gone.

use super::builder;
use crate::cgroup::{Claim, clear};
use crate::kernel::{self, Blocked, Forked};
use crate::outbound;
use crate::seccomp::Filters;
use crate::snapshot::run_guide;
use crate::socket;
use crate::wire::{CreateRequest, Created, CriuRequest, Failure, SpawnerReady, Step, ToSpawner};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// The main of the spawner, for a hidden subcommand. Its standard input is the socket that [`crate::Spawner`] made.
///
/// Call it before anything else starts a thread. It returns when the caller has closed the socket or died, and all
/// sandboxes and their control groups are gone.
pub fn run_spawner() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the spawner of sandboxes fails: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a fork of the spawner must not keep: it would hide the spawner's death.
struct Link {
    socket: OwnedFd,
    claim: Claim,
}

fn serve() -> io::Result<()> {
    let socket = settle()?;
    let filters = Filters::build();
    let begin = socket::receive::<ToSpawner>(&socket)?;
    let Some((ToSpawner::Begin { groups, name }, _)) = begin else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "standard input is not the socket of a Spawner",
        ));
    };
    let claim = Claim::take(&groups).map_err(io::Error::other)?;
    let mut link = Some(Link { socket, claim });
    let served = serve_requests(&mut link, &filters);
    // With the socket closed, a caller that still lives learns at once that we are gone.
    let claim = link.map(|Link { socket: _, claim }| claim);
    clear(&groups).map_err(io::Error::other)?;
    outbound::clear(&name);
    drop(claim);
    served
}

fn serve_requests(link: &mut Option<Link>, filters: &Filters) -> io::Result<()> {
    if let Some(link) = link {
        socket::send(&link.socket, &SpawnerReady, &[])?;
    }
    while let Some(open) = link {
        let Some((message, descriptors)) = socket::receive::<ToSpawner>(&open.socket)? else {
            break;
        };
        match message {
            ToSpawner::Create(request) => create(link, &request, descriptors, filters),
            ToSpawner::Criu(request) => run_criu(link, &request, descriptors),
            ToSpawner::Begin { .. } => {}
        }
    }
    Ok(())
}

/// Forks the builder. Its answer goes straight to the caller; only a failed fork is reported from here.
fn create(link: &mut Option<Link>, request: &CreateRequest, descriptors: Vec<OwnedFd>, filters: &Filters) {
    let mut descriptors = descriptors.into_iter();
    let Some(control) = descriptors.next() else {
        return;
    };
    let spawner = rustix::process::getpid();
    match kernel::fork().step(|| "fork".to_owned()) {
        Ok(Forked::Parent(_)) => {}
        Ok(Forked::Child) => {
            drop(link.take());
            builder::run(spawner, request, &control, descriptors.collect(), filters);
        }
        Err(failure) => report(&control, failure),
    }
}

/// Forks the guide, which answers by itself; after a failed fork its socket closes.
fn run_criu(link: &mut Option<Link>, request: &CriuRequest, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let Some(control) = descriptors.next() else {
        return;
    };
    let spawner = rustix::process::getpid();
    if let Ok(Forked::Child) = kernel::fork() {
        drop(link.take());
        run_guide(spawner, request, &control, descriptors.collect());
    }
}

/// Tells the caller why its sandbox is not made. If that fails the caller is gone, and with it the question.
pub(crate) fn report(control: &OwnedFd, failure: Failure) {
    let _ = socket::send(control, &Created::Failed(failure), &[]);
}

/// Takes the socket from standard input, and makes this process independent of its caller's terminal and signals: the
/// caller drains on SIGTERM, and its sandboxes must live until it says so.
fn settle() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    // A leader of a session already is independent.
    let _ = rustix::process::setsid();
    kernel::block_signals(Blocked::All)?;
    kernel::ignore_children();
    kernel::close_others_on_exec()?;
    rustix::thread::set_name(c"sandboxes")?;
    Ok(socket)
}
