//! A server that is killed while somebody waits for it inside the kernel: itself, and then the process that must not be.

use super::rig::{PATIENCE, ext4_image, noise};
use super::roles::{Nature, Role};
use block::kernel::{ConnectionNumber, MountOptions, abort_connection, connection_at, loops_over, mounts};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 4 << 20;

/// A server whose last mount is being unmounted while reads of it are under way, which it does not answer: the unmount
/// waits for them.
fn unmounting(nature: Nature) -> Role {
    let role = Role::lone_of(nature, &ext4_image(&[("file", noise(FILE_BYTES, 1))]));
    let attached = role.attach();
    let target = role.place.target("own");
    attached.mount_ext4(&target, MountOptions::default()).unwrap();
    drop(attached);
    let file = File::open(target.join("file")).unwrap();
    role.silence();
    // Begun by this process and awaited by nobody: the pages stay locked until the server answers.
    fadvise(&file, 0, None, Advice::WillNeed).unwrap();
    drop(file);
    role.signal(Signal::TERM);
    eventually("the unmount", || {
        !mounts().unwrap().iter().any(|mount| mount.target == target)
    });
    role
}

#[track_caller]
fn eventually(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_ends(process: &OwnedFd) {
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)), Ok(1));
}

/// A process whose first thread is dead, and another one of which does not die.
fn is_caught(process: Pid) -> bool {
    let state = |path: &Path| {
        let line = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    let process = format!("/proc/{}", process.as_raw_nonzero());
    let mut threads = std::fs::read_dir(format!("{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    state(Path::new(&process)) == Some('Z') && threads.any(|thread| state(&thread.path()) == Some('D'))
}

/// A test that fails must not wait for its server.
struct AbortOnPanic(ConnectionNumber);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = abort_connection(self.0);
        }
    }
}

/// What the mounter is there to prevent. It also shows what ends it, without any path to the session: it is unmounted
/// lazily before.
#[test]
fn a_server_that_unmounts_itself_is_caught_when_it_is_killed_and_aborting_its_connection_ends_it() {
    let role = unmounting(Nature::UnmountsItself);
    let session = role.place.session();
    let connection = connection_at(&session).unwrap().unwrap();
    let _guard = AbortOnPanic(connection);
    rustix::mount::unmount(&session, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(connection_at(&session).unwrap(), None);
    let (server, process) = (role.watch_daemon(), role.daemon());
    role.kill_daemon();
    eventually("a thread that is caught", || is_caught(process));

    assert!(abort_connection(connection).unwrap());
    assert_ends(&server);
    role.place.assert_nothing_mounted();
}

#[test]
fn a_server_that_is_killed_while_its_mounter_unmounts_is_gone_at_once_and_so_is_the_mounter() {
    let role = unmounting(Nature::HasItUnmounted);
    let mounter = Pid::from_raw(role.next("mounter").parse().unwrap()).unwrap();
    let mounter = pidfd_open(mounter, PidfdFlags::empty()).unwrap();
    let server = role.watch_daemon();
    role.kill_daemon();
    assert_ends(&server);
    role.keeper_status();
    // Nobody holds the session any longer, so the reads fail and the unmount goes on.
    assert_ends(&mounter);
    eventually("the end of the loop device", || {
        loops_over(&role.place.session()).unwrap().is_empty()
    });
}
