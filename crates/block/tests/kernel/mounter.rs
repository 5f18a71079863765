//! What a mounter does for the one that serves: here the test serves, and the mounter is this program in that role.

use super::rig::{Memory, PATIENCE, Rig, ext4_image, noise};
use super::roles::role_command;
use block::kernel::{loops_over, mounts_of};
use block::mounter::{MountTask, Mounter, MounterError, RefusalKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn mounter(rig: &Rig) -> Mounter {
    let place = rig.place.path().to_owned();
    Mounter::new(move || {
        let mut command = role_command("mounter", "", &place);
        // Its word that it runs goes where the test finds it.
        command.stderr(std::fs::File::create(place.join("words"))?);
        Ok(command)
    })
}

fn task(file: &Path, loop_device: Option<PathBuf>, target: &Path) -> MountTask {
    MountTask {
        file: file.to_owned(),
        loop_device,
        target: target.to_owned(),
        read_ahead_kb: 128,
        warm_bytes: 1 << 20,
    }
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(outcome: Result<T, MounterError>) -> (RefusalKind, String) {
    match outcome.unwrap_err() {
        MounterError::Refused(refusal) => (refusal.kind, refusal.message),
        other => panic!("{other}"),
    }
}

#[test]
fn it_mounts_shares_and_unmounts_and_says_what_it_cannot_do() {
    let rig = Rig::new();
    let content = noise(1 << 20, 1);
    let (_, file) = rig.serve(Memory::new(ext4_image(&[("file", content.clone())])));
    let (first, second) = (rig.place.target("first"), rig.place.target("second"));
    let mounter = mounter(&rig);
    let attached = mounter.mount(task(&file, None, &first)).unwrap();
    assert!(std::fs::read(first.join("file")).unwrap() == content);
    // Asked again, nothing changes; elsewhere, the device is shared.
    assert_eq!(
        mounter.mount(task(&file, Some(attached.clone()), &first)).unwrap(),
        attached
    );
    assert_eq!(
        mounter.mount(task(&file, Some(attached.clone()), &second)).unwrap(),
        attached
    );
    assert_eq!(mounts_of(&attached).unwrap().len(), 2);
    mounter.set_read_ahead(&attached, 512).unwrap();
    let attribute = Path::new("/sys/block").join(attached.file_name().unwrap());
    assert_eq!(
        std::fs::read_to_string(attribute.join("queue/read_ahead_kb")).unwrap(),
        "512\n"
    );

    let held = std::fs::File::open(second.join("file")).unwrap();
    let (kind, message) = refusal(mounter.unmount(&second));
    assert_eq!(kind, RefusalKind::Kernel);
    assert!(message.contains("is still in use"), "{message}");
    drop(held);
    mounter.unmount(&first).unwrap();
    mounter.unmount(&second).unwrap();
    let (_, message) = refusal(mounter.unmount(&second));
    assert!(message.contains("could not unmount"), "{message}");
    let (kind, _) = refusal(mounter.mount(task(&file, None, &rig.place.path().join("words"))));
    assert_eq!(kind, RefusalKind::NotADirectory);
    let (_, message) = refusal(mounter.mount(task(&file.with_file_name("999"), None, &first)));
    assert!(message.contains("999") && message.contains("No such file"), "{message}");
    eventually(|| loops_over(&rig.place.session()).unwrap().is_empty());
}

/// The session has not yet told of the release, and the loop device that was known may be free, going or another's.
#[test]
fn a_mount_right_after_an_unmount_finds_a_loop_device() {
    let rig = Rig::new();
    let content = noise(1 << 16, 1);
    let (_, file) = rig.serve(Memory::new(ext4_image(&[("file", content.clone())])));
    let target = rig.place.target("target");
    let mounter = mounter(&rig);
    let mut known = None;
    for _ in 0..50 {
        let attached = mounter.mount(task(&file, known, &target)).unwrap();
        assert!(std::fs::read(target.join("file")).unwrap() == content);
        assert_eq!(mounts_of(&attached).unwrap().len(), 1);
        mounter.unmount(&target).unwrap();
        known = Some(attached);
    }
    eventually(|| loops_over(&rig.place.session()).unwrap().is_empty());
}

#[test]
fn a_mounter_that_died_is_started_again() {
    let rig = Rig::new();
    let (_, file) = rig.serve(Memory::new(ext4_image(&[("file", noise(10, 1))])));
    let target = rig.place.target("target");
    let mounter = mounter(&rig);
    let attached = mounter.mount(task(&file, None, &target)).unwrap();
    let words = std::fs::read_to_string(rig.place.path().join("words")).unwrap();
    let line = words.lines().find_map(|line| line.strip_prefix("mounter ")).unwrap();
    let process = Pid::from_raw(line.parse().unwrap()).unwrap();
    let watched = pidfd_open(process, PidfdFlags::empty()).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    assert_eq!(
        poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&patience)),
        Ok(1)
    );
    assert_eq!(mounts_of(&attached).unwrap().len(), 1, "what it mounted stays");
    mounter.unmount(&target).unwrap();
}

#[test]
fn one_that_cannot_be_started_is_an_error() {
    let mounter = Mounter::new(|| {
        let mut command = std::process::Command::new("/no/such/program");
        command.stdin(Stdio::null());
        Ok(command)
    });
    let error = mounter.unmount(Path::new("/mnt")).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[track_caller]
fn eventually(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
