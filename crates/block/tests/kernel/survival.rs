//! A daemon that dies or is replaced, under a keeper, while others read.

use super::rig::{PATIENCE, ext4_image, noise};
use super::roles::{Nature, Role};
use block::kernel::{LoopDevice, MountOptions, unmount};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, fadvise};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 48 << 20;

/// Kills or ends per test, each followed by a read that is timed.
const ENDS: usize = 9;

#[test]
fn kill_9_fails_no_read() {
    let median = ends_during_a_checksum(Role::kill_daemon);
    eprintln!("kill -9 to an answered read: median {median:?}");
    assert!(median < Duration::from_secs(5));
}

#[test]
fn an_upgrade_fails_no_read() {
    let median = ends_during_a_checksum(|role| role.signal(Signal::TERM));
    eprintln!("SIGTERM to an answered read: median {median:?}");
    assert!(median < Duration::from_secs(5));
}

/// Ends the daemon again and again while a file is summed. Returns the median time to an answered read.
fn ends_during_a_checksum(end: impl Fn(&Role)) -> Duration {
    let content = noise(FILE_BYTES, 1);
    let expected = blake3::hash(&content);
    let role = Role::kept(Nature::Healthy, &ext4_image(&[("file", content)]));
    let attached = role.attach();
    let target = role.place.target("mount");
    attached.mount_ext4(&target, MountOptions::default()).unwrap();
    let file = target.join("file");
    let ending = AtomicBool::new(false);
    let mut waits = std::thread::scope(|scope| {
        let summing = scope.spawn(|| {
            let mut sums = 0;
            while !ending.load(Ordering::SeqCst) {
                assert_eq!(sum_anew(&file), expected);
                sums += 1;
            }
            sums
        });
        let end_of_sums = SetOnDrop(&ending);
        let waits: Vec<_> = (0..ENDS)
            .map(|turn| time_an_end(&role, &attached, turn, &end))
            .collect();
        drop(end_of_sums);
        assert!(summing.join().unwrap() > 0);
        waits
    });
    unmount(&target).unwrap();
    drop(attached);
    role.signal(Signal::INT);
    assert_eq!(role.next("ended"), "Success");
    role.place.assert_nothing_mounted();
    waits.sort();
    eprintln!("all, sorted: {waits:?}");
    waits[ENDS / 2]
}

/// Ends the other thread even when this one fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn sum_anew(path: &Path) -> blake3::Hash {
    let file = File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).unwrap();
    hasher.finalize()
}

/// Ends the daemon and times a read that only its successor can answer. The read is of the block device, whose pages
/// are others than those of the file.
fn time_an_end(role: &Role, attached: &LoopDevice, turn: usize, end: &impl Fn(&Role)) -> Duration {
    let device = File::open(attached.path()).unwrap();
    fadvise(&device, 0, None, Advice::DontNeed).unwrap();
    let began = Instant::now();
    end(role);
    device.read_exact_at(&mut [0; 4096], ((turn + 1) << 22) as u64).unwrap();
    let waited = began.elapsed();
    role.next_ready();
    waited
}

#[test]
fn a_keeper_whose_children_die_gives_up_and_readers_get_eio() {
    gives_up(Nature::SuccessorsDie, "GaveUp(Deaths)");
}

#[test]
fn a_keeper_whose_child_is_never_ready_gives_up_and_readers_get_eio() {
    gives_up(Nature::SuccessorsHang, "GaveUp(NotReady)");
}

fn gives_up(nature: Nature, outcome: &str) {
    let role = Role::kept(nature, &noise(1 << 20, 1));
    let attached = role.attach();
    let device = File::open(attached.path()).unwrap();
    let began = Instant::now();
    role.kill_daemon();
    assert!(device.read_exact_at(&mut [0; 4096], 0).is_err());
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(role.next("ended"), outcome);
    drop((device, attached));
    role.place.assert_no_loops();
    role.place.assert_nothing_mounted();
}

/// A process that is killed while it waits for its own bytes cannot die before they come; the keeper must not wait for
/// that death.
#[test]
fn a_daemon_that_dies_waiting_for_itself_is_succeeded() {
    let role = Role::kept(Nature::WaitsForItself, &ext4_image(&[("file", noise(1 << 20, 1))]));
    let reading = role.next("reading");
    assert!(!reading.is_empty());
    let dying = role.watch_daemon();
    let began = Instant::now();
    role.kill_daemon();
    role.next_ready();
    eprintln!("a half-dead daemon was succeeded after {:?}", began.elapsed());
    // Its read was sent again and answered, and so it can die.
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut [PollFd::new(&dying, PollFlags::IN)], Some(&patience)), Ok(1));
    let attached = role.attach();
    File::open(attached.path())
        .unwrap()
        .read_exact_at(&mut [0; 4096], 0)
        .unwrap();
}

#[test]
fn a_child_that_dies_of_a_signal_passed_on_ends_its_keeper() {
    let role = Role::kept(Nature::Obeys, &noise(4096, 1));
    role.signal(Signal::TERM);
    assert_eq!(role.next("ended"), "Ended { signal: 15 }");
    role.place.assert_nothing_mounted();
}
