//! Bytes in a second: from the page cache, from the worker's memory, from its disk, and from the disk itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use serde_json::Value;

use super::Bench;
use super::isolation::drop_caches;
use super::mounted::Mounted;
use super::ondemand::{Ahead, OnDemand};
use super::samples::Samples;

/// One read of a sequence, as `cp` and readers of model files do.
const SEQUENTIAL_READ_BYTES: usize = 1 << 20;
/// A page.
const RANDOM_READ_BYTES: usize = 4 << 10;
const RANDOM_READS: usize = 300_000;
/// What direct reads must be aligned to on every disk that we know.
const DIRECT_ALIGN: usize = 4096;
/// Direct reads at once, where more than one: what a disk with a queue wants.
const DIRECT_THREADS: u64 = 4;
/// In each run.
const HOT_TURNS: usize = 5;
/// Larger files would only take longer.
const READ_BYTES_MAX: u64 = 1 << 30;

/// Each in bytes of a second.
#[derive(Default)]
pub(super) struct Throughput {
    pub(super) file: String,
    pub(super) file_bytes: u64,
    pub(super) hot_sequential: Samples,
    pub(super) hot_random: Samples,
    pub(super) loop_hot_sequential: Samples,
    pub(super) loop_hot_random: Samples,
    pub(super) memory: Samples,
    pub(super) disk: Samples,
    pub(super) loop_cold: Samples,
    pub(super) direct: Samples,
    pub(super) direct_many: Samples,
    /// By tier, what the reads of the L1 memory and of the L1 disk rows took.
    pub(super) memory_tiers: Tiers,
    pub(super) disk_tiers: Tiers,
}

/// Bytes by where the daemon took them from. A stream that is read ahead comes from disk to memory first, and is counted
/// twice.
#[derive(Clone, Copy, Default)]
pub(super) struct Tiers {
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) origin: u64,
}

/// Measures with the largest file of an image.
pub(super) fn measure(bench: &Bench, image: &str) -> Result<Throughput> {
    let lambent = bench.on_demand(bench.origins[0]);
    let local = bench.work.join("throughput.ext4");
    lambent.export(image, &local)?;
    // All of the image fits, so that what is read again comes from there, and hardly anything is kept opened, so that
    // every byte is decrypted and checked.
    lambent.settings(Ahead::Nothing, "cache_memory = \"3GiB\"\nopened = \"4MiB\"\n")?;
    lambent.forget()?;
    let mut found = Throughput::default();
    fill_memory_and_disk(bench, &lambent, image)?;
    for _ in 0..bench.runs {
        once(bench, &lambent, image, &local, &mut found)?;
    }
    fs::remove_file(&local)?;
    Ok(found)
}

/// Reads the file once, so that the worker's disk has it.
fn fill_memory_and_disk(bench: &Bench, lambent: &OnDemand, image: &str) -> Result<()> {
    let mount = lambent.mount(image, &bench.work.join("mounted"))?;
    lambent.ready(image)?;
    let path = largest_file(mount.folder())?.context("an image has files")?;
    sequential(&File::open(path)?)?;
    mount.end()
}

fn once(bench: &Bench, lambent: &OnDemand, image: &str, local: &Path, found: &mut Throughput) -> Result<()> {
    let mount = lambent.mount(image, &bench.work.join("mounted"))?;
    // The start is over: what follows is not recorded, and reads ahead as programs in service do.
    lambent.ready(image)?;
    let path = largest_file(mount.folder())?.context("an image has files")?;
    found.file = path.strip_prefix(mount.folder())?.display().to_string();
    found.file_bytes = path.metadata()?.len();
    // A new daemon has an empty memory, so that this comes from disk, and then memory has it.
    let (rate, tiers) = cold(lambent, image, &path)?;
    found.disk.push(rate);
    found.disk_tiers = tiers;
    let (rate, tiers) = cold(lambent, image, &path)?;
    found.memory.push(rate);
    found.memory_tiers = tiers;
    let plain = Mounted::ext4(local, &bench.work.join("local"))?;
    let plain_file = File::open(plain.folder().join(&found.file))?;
    found.loop_cold.push(sequential(&plain_file)?);
    hot(&File::open(&path)?, &plain_file, found)?;
    drop((plain_file, plain));
    mount.end()?;
    drop_caches()?;
    found.direct.push(direct(local, 1)?);
    found.direct_many.push(direct(local, DIRECT_THREADS)?);
    Ok(())
}

/// Both files are in the page cache. They take turns, so that other work on this machine disturbs both alike.
fn hot(on_demand: &File, plain: &File, found: &mut Throughput) -> Result<()> {
    for _ in 0..HOT_TURNS {
        found.hot_sequential.push(sequential(on_demand)?);
        found.loop_hot_sequential.push(sequential(plain)?);
        found.hot_random.push(random(on_demand)?);
        found.loop_hot_random.push(random(plain)?);
    }
    Ok(())
}

/// Reads a file with a cold page cache; gives the rate, and where the daemon took the bytes from.
fn cold(lambent: &OnDemand, image: &str, path: &Path) -> Result<(f64, Tiers)> {
    let file = File::open(path)?;
    drop_caches()?;
    let before = lambent.stats(image)?;
    let rate = sequential(&file)?;
    let after = lambent.stats(image)?;
    let bytes = |tier: &str| {
        let of = |stats: &Value| stats[tier]["bytes"].as_u64().unwrap_or(0);
        of(&after).saturating_sub(of(&before))
    };
    let tiers = Tiers {
        memory: bytes("memory"),
        disk: bytes("disk"),
        origin: bytes("origin"),
    };
    Ok((rate, tiers))
}

/// Bytes in a second of a read from the beginning to the end.
fn sequential(file: &File) -> Result<f64> {
    let mut buffer = vec![0; SEQUENTIAL_READ_BYTES];
    let begin = Instant::now();
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        offset += read as u64;
        if read == 0 || offset >= READ_BYTES_MAX {
            return Ok(offset as f64 / begin.elapsed().as_secs_f64());
        }
    }
}

/// Bytes in a second of pages in an order that nobody can foresee, the same in every run.
fn random(file: &File) -> Result<f64> {
    let pages = file.metadata()?.len().min(READ_BYTES_MAX) / RANDOM_READ_BYTES as u64;
    ensure!(pages > 0, "the file has no page");
    let mut buffer = vec![0; RANDOM_READ_BYTES];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let begin = Instant::now();
    for _ in 0..RANDOM_READS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.read_exact_at(&mut buffer, state % pages * RANDOM_READ_BYTES as u64)?;
    }
    Ok((RANDOM_READS * RANDOM_READ_BYTES) as f64 / begin.elapsed().as_secs_f64())
}

/// Bytes in a second of direct reads of 1 MiB, shared by threads.
fn direct(path: &Path, threads: u64) -> Result<f64> {
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)?;
    let pieces = file.metadata()?.len().min(READ_BYTES_MAX) / SEQUENTIAL_READ_BYTES as u64;
    let begin = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|thread| {
                let file = &file;
                scope.spawn(move || read_pieces(file, (thread..pieces).step_by(threads as usize)))
            })
            .collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().map_err(|_| io::Error::other("a reader panicked"))?)
    })?;
    Ok((pieces * SEQUENTIAL_READ_BYTES as u64) as f64 / begin.elapsed().as_secs_f64())
}

fn read_pieces(file: &File, pieces: impl Iterator<Item = u64>) -> io::Result<()> {
    let mut buffer = vec![0_u8; SEQUENTIAL_READ_BYTES + DIRECT_ALIGN];
    let start = buffer.as_ptr().align_offset(DIRECT_ALIGN);
    let aligned = &mut buffer[start..start + SEQUENTIAL_READ_BYTES];
    for piece in pieces {
        file.read_exact_at(aligned, piece * SEQUENTIAL_READ_BYTES as u64)?;
    }
    Ok(())
}

fn largest_file(folder: &Path) -> Result<Option<PathBuf>> {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = entry.metadata()?.len();
                if largest.as_ref().is_none_or(|(most, _)| bytes > *most) {
                    largest = Some((bytes, entry.path()));
                }
            }
        }
    }
    Ok(largest.map(|(_, path)| path))
}
