//! How devices begin and end.

use super::rig::{Memory, PATIENCE, Rig, ext4_image, noise};
use super::roles::Role;
use block::kernel::{
    KernelError, LoopDevice, MountOptions, clean_left_over, loops_over, mounts_of, unmount, unmount_session,
};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

#[test]
fn ten_loop_devices_exist_where_eight_did() {
    let rig = Rig::new();
    let contents: Vec<_> = (0..10).map(|index| noise(8192, index)).collect();
    let devices: Vec<_> = contents
        .iter()
        .map(|content| rig.attach(Memory::new(content.clone())))
        .collect();
    for (device, content) in devices.iter().zip(&contents) {
        assert!(std::fs::read(device.path()).unwrap() == *content);
    }
    assert_eq!(loops_over(&rig.place.session()).unwrap().len(), 10);
    drop(devices);
    rig.place.assert_no_loops();
}

#[test]
fn a_loop_device_is_what_was_asked_for() {
    let rig = Rig::new();
    let attached = rig.attach(Memory::new(noise(8192, 1)));
    let attributes = std::path::Path::new("/sys/block").join(attached.path().file_name().unwrap());
    let check = |attribute: &str, expected: &str| {
        let value = std::fs::read_to_string(attributes.join(attribute)).unwrap();
        assert_eq!(value.trim(), expected, "{attribute}");
    };
    check("ro", "1");
    check("loop/dio", "1");
    check("loop/autoclear", "1");
    check("queue/logical_block_size", "4096");
    check("queue/read_ahead_kb", "128");
    attached.set_read_ahead(512).unwrap();
    check("queue/read_ahead_kb", "512");
}

#[test]
fn mounts_of_one_loop_device_share_a_file_system_and_the_last_unmount_releases_all() {
    let mut rig = Rig::new();
    let content = noise(1 << 20, 1);
    let device = Memory::new(ext4_image(&[("file", content.clone())]));
    let (number, file) = rig.serve(device.clone());
    let attached = LoopDevice::attach(&file, 128).unwrap();
    let (first, second) = (rig.place.target("first"), rig.place.target("second"));
    attached
        .mount_ext4(
            &first,
            MountOptions {
                nodev: true,
                nosuid: false,
            },
        )
        .unwrap();
    assert!(std::fs::read(first.join("file")).unwrap() == content);
    assert!(attached.is_over(&file).unwrap());
    assert!(!attached.is_over(&file.with_file_name("999")).unwrap());
    assert!(attached.is_mounted_at(&first).unwrap());
    assert!(!attached.is_mounted_at(&second).unwrap(), "a directory is no mount");
    assert!(
        !attached.is_mounted_at(&first.join("file")).unwrap(),
        "a file in a mount is no mount"
    );
    let reads = device.reads.load(Ordering::SeqCst);
    attached
        .mount_ext4(
            &second,
            MountOptions {
                nodev: false,
                nosuid: true,
            },
        )
        .unwrap();
    assert!(std::fs::read(second.join("file")).unwrap() == content);
    assert_eq!(
        device.reads.load(Ordering::SeqCst),
        reads,
        "the second mount reads from the first one's page cache"
    );
    assert_eq!(first.metadata().unwrap().dev(), second.metadata().unwrap().dev());
    let targets: Vec<_> = mounts_of(attached.path())
        .unwrap()
        .into_iter()
        .map(|mount| mount.target)
        .collect();
    assert_eq!(targets, [first.clone(), second.clone()]);

    drop(attached);
    let released = rig.session.as_ref().unwrap().released().unwrap();
    unmount(&first).unwrap();
    assert_eq!(loops_over(&rig.place.session()).unwrap().len(), 1);
    assert!(released.try_recv().is_err());
    unmount(&second).unwrap();
    assert_eq!(released.recv_timeout(PATIENCE), Ok(number));
    rig.place.assert_no_loops();
    assert!(rig.table.remove(number).is_some());
    unmount_session(&rig.place.session()).unwrap();
    rig.place.assert_nothing_mounted();
    rig.session.take().unwrap().stop();
    assert!(released.recv_timeout(PATIENCE).is_err(), "an ended session says so");
}

#[test]
fn a_used_mount_is_busy_and_says_so() {
    let rig = Rig::new();
    let attached = rig.attach(Memory::new(ext4_image(&[("file", noise(10, 1))])));
    let target = rig.place.target("mount");
    attached.mount_ext4(&target, MountOptions::default()).unwrap();
    let open = std::fs::File::open(target.join("file")).unwrap();
    assert!(matches!(unmount(&target), Err(KernelError::Busy(_))));
    drop(open);
    unmount(&target).unwrap();
}

#[test]
fn a_warm_device_mounts_without_reading() {
    let rig = Rig::new();
    let image = ext4_image(&[("file", noise(1 << 20, 1))]);
    let bytes = image.len() as u64;
    let device = Memory::new(image);
    let attached = rig.attach(device.clone());
    attached.warm(bytes).unwrap();
    let reads = device.reads.load(Ordering::SeqCst);
    let target = rig.place.target("mount");
    attached.mount_ext4(&target, MountOptions::default()).unwrap();
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2);
    assert_eq!(device.reads.load(Ordering::SeqCst), reads);
}

#[test]
fn what_a_dead_daemon_leaves_fails_with_eio_and_is_cleaned_up() {
    let role = Role::lone(&ext4_image(&[("file", noise(1 << 20, 1))]));
    let attached = role.attach();
    let target = role.place.target("mount");
    attached.mount_ext4(&target, MountOptions::default()).unwrap();
    let path = attached.path().to_owned();
    drop(attached);
    role.kill_daemon();
    role.keeper_status();
    assert!(std::fs::read(target.join("file")).is_err());

    let report = clean_left_over(&role.place.session()).unwrap();
    assert_eq!(
        (report.mounts, report.loops, report.sessions),
        (vec![target], vec![path], 1)
    );
    role.place.assert_no_loops();
    role.place.assert_nothing_mounted();
    assert_eq!(clean_left_over(&role.place.session()).unwrap(), Default::default());
}
