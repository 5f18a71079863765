//! What does the way through FUSE and a loop device cost, beside the kernel's own ext4 on a loop device over a plain
//! file on disk? The device is in memory, so what is measured is the path alone. Needs root and `mke2fs`.
//!
//! `cargo bench -p block --bench path` prints a table; figures are medians of five runs, baseline and path in turn.

#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

use block::kernel::{
    Device, DeviceNumber, DeviceTable, LoopDevice, MountOptions, ReadFailed, Session, Start, clean_left_over, unmount,
};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The file that is read: large beside read-ahead, small beside this machine's memory.
const FILE_BYTES: usize = 512 << 20;
/// Small files, so that the file system has metadata worth warming: as many as the tree of `data-path.md`.
const SMALL_FILES: usize = 30_000;
const RUNS: usize = 5;
const HOT_READS: usize = 200_000;
const MISSES: usize = 4_000;
const MOUNTS: u32 = 100;
const CHUNK: usize = 512 << 10;
const PAGE: usize = 4096;

fn main() {
    let place = Place(TempDir::with_prefix("lambent-bench-").unwrap());
    let image_file = place.make_image();
    let image = Bytes::from(std::fs::read(&image_file).unwrap());
    print_machine(image.len());
    let session_directory = place.directory("session");
    let table = DeviceTable::new();
    let memory = Arc::new(Memory {
        content: image,
        reads: AtomicUsize::new(0),
    });
    table.insert(DeviceNumber(1), memory.clone());
    let descriptor = Session::mount(&session_directory).unwrap();
    let session = Session::serve(descriptor, table, block::kernel::WORKERS_DEFAULT, Start::Fresh).unwrap();
    let served = session_directory.join("1");

    let sides = [
        Side::new(&place, "native loop", &image_file),
        Side::new(&place, "FUSE + loop", &served),
    ];
    println!(
        "| question | unit | {} | {} |\n|---|---|---|---|",
        sides[0].name, sides[1].name
    );
    in_turn(&sides, "page cache, sequential", "MB/s", hot_sequential);
    in_turn(&sides, "page cache, random 4 KiB", "reads/s", hot_random);
    for kb in [128, 256, 512] {
        in_turn(
            &sides,
            &format!("cold, sequential, read-ahead {kb} KiB"),
            "MB/s",
            |side| cold_sequential(side, kb),
        );
    }
    let reads = memory.reads.load(Ordering::Relaxed);
    misses(&sides);
    assert!(
        memory.reads.load(Ordering::Relaxed) - reads >= MISSES,
        "a miss that did not reach the device is none"
    );
    for kb in [128, 512] {
        in_turn(
            &sides,
            &format!("walk {SMALL_FILES} files, cold, read-ahead {kb} KiB"),
            "ms",
            |side| walk(side, kb, false),
        );
    }
    in_turn(&sides, "warm(), then walk", "ms", |side| walk(side, 128, true));
    for kb in [128, 512] {
        in_turn(
            &sides,
            &format!("warm() 256 MiB, read-ahead {kb} KiB"),
            "MB/s",
            |side| warm(side, kb),
        );
        in_turn(
            &sides,
            &format!("reads of 1 MiB instead, read-ahead {kb} KiB"),
            "MB/s",
            |side| front(side, kb),
        );
    }
    in_turn(&sides, "mount and unmount, loop device shared", "per s", |side| {
        remount(side, &place)
    });
    in_turn(&sides, "attach, mount, unmount, detach", "per s", |side| {
        whole_life(side, &place)
    });
    drop(sides);
    let began = Instant::now();
    session.stop();
    println!(
        "\nstop of an idle session: {:.1} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
}

/// A directory that takes down what was mounted in it.
struct Place(TempDir);

impl Place {
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn make_image(&self) -> PathBuf {
        let tree = self.directory("tree");
        let mut large = vec![0; FILE_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut large);
        std::fs::write(tree.join("large"), large).unwrap();
        for index in 0..SMALL_FILES {
            let directory = tree.join(format!("d{}", index / 30));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(format!("f{index}")), [1; 100]).unwrap();
        }
        let image = self.0.path().join("image");
        let mut made = Command::new("mke2fs");
        made.args(["-q", "-t", "ext4", "-b", "4096", "-N", "40000", "-d"]);
        let status = made
            .args([&tree, &image])
            .arg("1G")
            .status()
            .expect("mke2fs, of e2fsprogs, is installed");
        assert!(status.success());
        image
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let session = self.0.path().join("session");
        if let Err(error) = clean_left_over(&session) {
            eprintln!("could not clean up {}: {error}", session.display());
        }
    }
}

/// A device in memory, in pieces that end where chunks end.
struct Memory {
    content: Bytes,
    reads: AtomicUsize,
}

impl Device for Memory {
    fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let (mut start, end) = (offset as usize, offset as usize + bytes);
        while start < end {
            let piece_end = end.min((start / CHUNK + 1) * CHUNK);
            pieces.push(self.content.slice(start..piece_end));
            start = piece_end;
        }
        Ok(())
    }
}

/// One side of the comparison: an image, mounted.
struct Side {
    name: &'static str,
    backing: PathBuf,
    target: PathBuf,
    device: LoopDevice,
}

impl Side {
    fn new(place: &Place, name: &'static str, backing: &Path) -> Side {
        let device = LoopDevice::attach(backing, 128).unwrap();
        let target = place.directory(&name.replace(' ', "-"));
        device.mount_ext4(&target, MountOptions::default()).unwrap();
        Side {
            name,
            backing: backing.to_owned(),
            target,
            device,
        }
    }

    fn large(&self) -> File {
        File::open(self.target.join("large")).unwrap()
    }

    fn cold_large(&self) -> File {
        let file = self.large();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        file
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.target) {
            eprintln!("{error}");
        }
    }
}

fn print_machine(image_bytes: usize) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let cpus = std::thread::available_parallelism().unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "kernel {}, {cpus} CPUs, load {}, image {} MiB, file {} MiB\n",
        kernel.trim(),
        load.trim(),
        image_bytes >> 20,
        FILE_BYTES >> 20
    );
}

/// Runs `measure` on both sides in turn, and prints the medians.
fn in_turn(sides: &[Side; 2], question: &str, unit: &str, measure: impl Fn(&Side) -> f64) {
    let mut figures: [Vec<f64>; 2] = Default::default();
    for _ in 0..RUNS {
        for (side, figures) in sides.iter().zip(&mut figures) {
            figures.push(measure(side));
        }
    }
    let [native, ours] = figures.map(median);
    println!("| {question} | {unit} | {native:.0} | {ours:.0} |");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn megabytes_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn time_reads(file: &File, bytes: u64) -> f64 {
    let mut buffer = vec![0; 1 << 20];
    let began = Instant::now();
    for offset in (0..bytes).step_by(buffer.len()) {
        file.read_exact_at(&mut buffer, offset).unwrap();
    }
    megabytes_per_second(bytes, began.elapsed())
}

fn hot_sequential(side: &Side) -> f64 {
    let file = side.large();
    time_reads(&file, FILE_BYTES as u64);
    time_reads(&file, FILE_BYTES as u64)
}

fn cold_sequential(side: &Side, read_ahead_kb: u32) -> f64 {
    side.device.set_read_ahead(read_ahead_kb).unwrap();
    time_reads(&side.cold_large(), FILE_BYTES as u64)
}

/// Page offsets in the large file, each once, in no order: an odd multiplier visits every page of a power of two.
fn scattered(count: usize) -> impl Iterator<Item = u64> {
    (0..count).map(|index| (index.wrapping_mul(0x9E37_79B1) % (FILE_BYTES / PAGE) * PAGE) as u64)
}

fn hot_random(side: &Side) -> f64 {
    let file = side.large();
    time_reads(&file, FILE_BYTES as u64);
    let mut page = [0; PAGE];
    let began = Instant::now();
    for offset in scattered(HOT_READS) {
        file.read_exact_at(&mut page, offset).unwrap();
    }
    HOT_READS as f64 / began.elapsed().as_secs_f64()
}

fn misses(sides: &[Side; 2]) {
    let figures = sides.each_ref().map(|side| {
        let file = side.cold_large();
        fadvise(&file, 0, None, Advice::Random).unwrap();
        let mut page = [0; PAGE];
        let mut times: Vec<f64> = scattered(MISSES)
            .map(|offset| {
                let began = Instant::now();
                file.read_exact_at(&mut page, offset).unwrap();
                began.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        format!("{:.0} / {:.0}", times[MISSES / 2], times[MISSES * 99 / 100])
    });
    println!(
        "| random 4 KiB miss, p50 / p99 | µs | {} | {} |",
        figures[0], figures[1]
    );
}

/// Looks at every file of a freshly mounted image.
fn walk(side: &Side, read_ahead_kb: u32, warm: bool) -> f64 {
    side.device.set_read_ahead(read_ahead_kb).unwrap();
    unmount(&side.target).unwrap();
    fadvise(File::open(side.device.path()).unwrap(), 0, None, Advice::DontNeed).unwrap();
    let began = Instant::now();
    if warm {
        side.device.warm(32 << 20).unwrap();
    }
    side.device.mount_ext4(&side.target, MountOptions::default()).unwrap();
    let mut seen = 0;
    let mut directories = vec![side.target.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.metadata().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                seen += 1;
            }
        }
    }
    assert_eq!(seen, SMALL_FILES + 1);
    began.elapsed().as_secs_f64() * 1e3
}

const FRONT_BYTES: u64 = 256 << 20;

fn cold_device(side: &Side, read_ahead_kb: u32) -> File {
    side.device.set_read_ahead(read_ahead_kb).unwrap();
    let device = File::open(side.device.path()).unwrap();
    fadvise(&device, 0, None, Advice::DontNeed).unwrap();
    device
}

fn warm(side: &Side, read_ahead_kb: u32) -> f64 {
    cold_device(side, read_ahead_kb);
    let began = Instant::now();
    side.device.warm(FRONT_BYTES).unwrap();
    megabytes_per_second(FRONT_BYTES, began.elapsed())
}

fn front(side: &Side, read_ahead_kb: u32) -> f64 {
    time_reads(&cold_device(side, read_ahead_kb), FRONT_BYTES)
}

fn remount(side: &Side, place: &Place) -> f64 {
    let target = place.directory("other");
    let began = Instant::now();
    for _ in 0..MOUNTS {
        side.device.mount_ext4(&target, MountOptions::default()).unwrap();
        unmount(&target).unwrap();
    }
    f64::from(MOUNTS) / began.elapsed().as_secs_f64()
}

fn whole_life(side: &Side, place: &Place) -> f64 {
    let target = place.directory("other");
    let began = Instant::now();
    for _ in 0..MOUNTS {
        let device = LoopDevice::attach(&side.backing, 128).unwrap();
        device.mount_ext4(&target, MountOptions::default()).unwrap();
        unmount(&target).unwrap();
    }
    f64::from(MOUNTS) / began.elapsed().as_secs_f64()
}
