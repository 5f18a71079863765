//! Layers as files: packing, unpacking, compressing, hashing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{Context as Hasher, SHA256};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::gnu_tar;
use crate::process;

/// A day that files of the corpus are made on, as seconds since 1970.
///
/// Files newer than the day get its time, files of Debian's packages keep theirs: no time in a layer depends on when the
/// corpus was built.
#[derive(Clone, Copy)]
pub(super) struct Day(u64);

/// Seconds in a day.
pub(super) const DAY_SECONDS: u64 = 24 * 60 * 60;

impl Day {
    /// 2025-06-01, in the past of every machine that builds the corpus.
    pub(super) const FIRST: Self = Self(1_748_736_000);

    /// Some days later.
    pub(super) const fn plus(self, days: u64) -> Self {
        Self(self.0 + days * DAY_SECONDS)
    }
}

/// Packs a path of a file system, with all below it, into an uncompressed layer.
pub(super) fn pack(root: &Path, path: &str, day: Day, layer: &Path) -> Result<()> {
    // The PAX header's own name has the process number in it by default, and access and change times tell of the build.
    let mut command = gnu_tar();
    command
        .args(["--create", "--sort=name", "--format=pax"])
        .arg("--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime")
        .args(["--clamp-mtime".to_owned(), format!("--mtime=@{}", day.0)])
        .arg("--file")
        .arg(layer)
        .arg("--directory")
        .arg(root)
        .arg(path);
    process::run(&mut command).with_context(|| format!("packing {}", layer.display()))?;
    Ok(())
}

/// Unpacks an uncompressed layer over a folder, as root with every owner, mode, time and attribute.
pub(super) fn unpack(layer: &Path, folder: &Path) -> Result<()> {
    let mut command = gnu_tar();
    command
        .args(["--extract", "--preserve-permissions", "--same-owner"])
        .arg("--file")
        .arg(layer);
    process::run(command.arg("--directory").arg(folder)).with_context(|| format!("unpacking {}", layer.display()))?;
    Ok(())
}

/// Compresses a layer as Docker does: gzip at level 6, without name and time.
pub(super) fn compress(layer: &Path, compressed: &Path) -> Result<()> {
    let mut input = File::open(layer).with_context(|| format!("opening {}", layer.display()))?;
    let output = File::create(compressed).with_context(|| format!("creating {}", compressed.display()))?;
    let mut encoder = GzEncoder::new(BufWriter::new(output), Compression::new(6));
    io::copy(&mut input, &mut encoder).with_context(|| format!("compressing {}", layer.display()))?;
    encoder.finish()?.flush()?;
    Ok(())
}

/// The SHA-256 of a file, as OCI writes it, and its size in bytes.
pub(super) fn digest(path: &Path) -> Result<(String, u64)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut hasher = Hasher::new(&SHA256);
    // Big enough that the system calls do not count.
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = reader
            .read(&mut buffer)
            .with_context(|| format!("reading {}", path.display()))?;
        if read == 0 {
            return Ok((format!("sha256:{}", hex::encode(hasher.finish())), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}
