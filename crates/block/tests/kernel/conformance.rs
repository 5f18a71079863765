//! What every kernel path must do, whatever it is made of.
//!
//! The seam is one function: a device goes in, the path of a read-only block device comes out, which stays as long as
//! the value beside it lives. FUSE below a loop device is the one path today; another one, such as ublk, joins with a
//! constructor of its own and a call of [`suite`].

use super::rig::{Memory, PATIENCE, Rig, ext4_image, noise};
use block::kernel::{Device, MountOptions};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A block device, and what keeps it.
struct Attached {
    path: PathBuf,
    _kept: Box<dyn std::any::Any>,
}

/// A path under test.
type Attach<'a> = &'a dyn Fn(Arc<dyn Device>) -> Attached;

#[test]
fn a_loop_device_over_fuse_conforms() {
    let rig = Rig::new();
    suite(&|device| {
        let device = rig.attach(device);
        Attached {
            path: device.path().to_owned(),
            _kept: Box::new(device),
        }
    });
}

fn suite(attach: Attach<'_>) {
    the_whole_device_reads_as_it_is(attach);
    any_range_reads_as_it_is(attach);
    thirty_two_reads_are_in_flight_at_once(attach);
    the_page_cache_answers_the_second_time(attach);
    a_failed_read_is_eio_and_can_be_tried_again(attach);
    two_devices_keep_apart(attach);
    writing_is_refused(attach);
    ext4_mounts(attach);
}

fn the_whole_device_reads_as_it_is(attach: Attach<'_>) {
    // Whole mebibytes; an end within a page; one sector; a device of one block.
    for bytes in [5 << 20, (3 << 20) + 3 * 512, 512, 4096] {
        let content = noise(bytes, bytes as u64);
        let attached = attach(Memory::new(content.clone()));
        let mut read = Vec::new();
        File::open(&attached.path).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), content.len());
        assert!(read == content, "{bytes} bytes differ");
    }
}

fn any_range_reads_as_it_is(attach: Attach<'_>) {
    let bytes: usize = (2 << 20) + 512;
    let content = noise(bytes, 2);
    let attached = attach(Memory::new(content.clone()));
    let file = File::open(&attached.path).unwrap();
    let mut random = noise(400 * 16, 3).into_iter();
    let mut draw = |bound: usize| {
        let bytes: [u8; 8] = std::array::from_fn(|_| random.next().unwrap());
        u64::from_le_bytes(bytes) as usize % bound
    };
    for _ in 0..400 {
        let start = draw(bytes);
        let end = (start + draw(100_000)).min(bytes);
        let mut read = vec![0; end - start];
        file.read_exact_at(&mut read, start as u64).unwrap();
        assert!(read == content[start..end], "{start}..{end} differs");
    }
    assert_eq!(file.read_at(&mut [0; 100], bytes as u64).unwrap(), 0);
}

fn thirty_two_reads_are_in_flight_at_once(attach: Attach<'_>) {
    const READERS: usize = 32;
    // 256 KiB apart, so that no reader's page comes with another's read-ahead.
    let content = noise(READERS << 18, 4);
    let attached = attach(Memory::gathering(content.clone(), READERS));
    let file = File::open(&attached.path).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (file, content) = (&file, &content);
            scope.spawn(move || {
                let offset = reader << 18;
                let mut read = [0; 4096];
                // The device fails a read when the others do not come.
                file.read_exact_at(&mut read, offset as u64).unwrap();
                assert!(read == content[offset..offset + 4096]);
            });
        }
    });
}

fn the_page_cache_answers_the_second_time(attach: Attach<'_>) {
    let device = Memory::new(noise(1 << 20, 5));
    let attached = attach(device.clone());
    let file = File::open(&attached.path).unwrap();
    let mut read = vec![0; 1 << 20];
    file.read_exact_at(&mut read, 0).unwrap();
    let reads = device.reads.load(Ordering::SeqCst);
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(device.reads.load(Ordering::SeqCst), reads);
}

fn a_failed_read_is_eio_and_can_be_tried_again(attach: Attach<'_>) {
    let device = Memory::new(noise(1 << 20, 6));
    let attached = attach(device.clone());
    let file = File::open(&attached.path).unwrap();
    let mut read = vec![0; 4096];
    device.failing.store(true, Ordering::SeqCst);
    let error = file.read_exact_at(&mut read, 8192).unwrap_err();
    assert_eq!(rustix::io::Errno::from_io_error(&error), Some(rustix::io::Errno::IO));
    device.failing.store(false, Ordering::SeqCst);
    file.read_exact_at(&mut read, 8192).unwrap();
    assert!(read == device.content[8192..8192 + 4096]);
}

fn two_devices_keep_apart(attach: Attach<'_>) {
    let contents = [noise(1 << 20, 7), noise(2 << 20, 8)];
    let attached = contents.clone().map(|content| attach(Memory::new(content)));
    std::thread::scope(|scope| {
        for (content, attached) in contents.iter().zip(&attached) {
            let path = attached.path.clone();
            scope.spawn(move || assert!(std::fs::read(path).unwrap() == *content));
        }
    });
}

fn writing_is_refused(attach: Attach<'_>) {
    let attached = attach(Memory::new(noise(4096, 9)));
    let refused = File::options()
        .write(true)
        .open(&attached.path)
        .and_then(|file| file.write_all_at(&[1], 0));
    assert!(refused.is_err());
    assert!(std::fs::read(&attached.path).unwrap() == noise(4096, 9));
}

fn ext4_mounts(attach: Attach<'_>) {
    let files = [
        ("empty", Vec::new()),
        ("a/small", noise(100, 10)),
        ("a/b/large", noise((9 << 20) + 1, 11)),
        ("a/zeros", vec![0; 1 << 20]),
    ];
    let attached = attach(Memory::new(ext4_image(&files)));
    let target = Mounted::new(&attached.path);
    for (name, content) in files {
        assert!(
            std::fs::read(target.0.path().join(name)).unwrap() == content,
            "{name} differs"
        );
    }
}

/// An ext4, mounted for as long as this lives.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(block_device: &Path) -> Mounted {
        let target = tempfile::TempDir::with_prefix("lambent-kernel-").unwrap();
        let device = block::kernel::LoopDevice::open(block_device).unwrap();
        device.mount_ext4(target.path(), MountOptions::default()).unwrap();
        Mounted(target)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        block::kernel::unmount(self.0.path()).unwrap();
    }
}

/// What only the FUSE file shows: a size of any number of bytes, names, and that nothing can be changed.
#[test]
fn the_file_below_has_any_size_and_the_directory_lists_it() {
    let rig = Rig::new();
    let content = noise((1 << 20) + 77, 12);
    let (number, file) = rig.serve(Memory::new(content.clone()));
    assert!(std::fs::read(&file).unwrap() == content);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), content.len() as u64);
    let names: Vec<_> = std::fs::read_dir(rig.place.session())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names, [std::ffi::OsString::from(number.to_string())]);
    assert!(std::fs::metadata(rig.place.session().join("77")).is_err());
    assert!(File::create(rig.place.session().join("78")).is_err());
    assert!(File::options().write(true).open(&file).is_err());
    assert!(std::fs::remove_file(&file).is_err());
}

/// More requests than workers: the rest waits its turn and nobody is forgotten.
#[test]
fn more_readers_than_workers_are_all_served() {
    let rig = Rig::new();
    let device = Memory::new(noise(8 << 20, 13));
    let attached = rig.attach(device.clone());
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for reader in 0..100usize {
            let (attached, device) = (&attached, &device);
            scope.spawn(move || {
                let file = File::open(attached.path()).unwrap();
                let offset = reader * 80_000;
                let mut read = [0; 1000];
                file.read_exact_at(&mut read, offset as u64).unwrap();
                assert!(read == device.content[offset..offset + 1000]);
            });
        }
    });
    assert!(began.elapsed() < PATIENCE);
}
