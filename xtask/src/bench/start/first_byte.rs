//! From the mount command to the first byte of a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::isolation::drop_caches;
use super::ondemand::{Ahead, Origin};
use super::samples::Samples;
use super::{Bench, TREE};

/// A small file that every application has.
const FILE: &str = "app/app.py";

/// What stands between the command and the byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Nothing local, and no daemon.
    Cold,
    /// Chunks on the worker's disk, and no daemon.
    DiskWarm,
    /// Chunks on the worker's disk, and a daemon that serves another image.
    Running,
}

impl Case {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cold => "L1 cold, daemon not running",
            Self::DiskWarm => "L1 warm, daemon not running",
            Self::Running => "L1 warm, daemon running",
        }
    }
}

/// What one case took, page cache dropped.
pub(super) struct FirstByte {
    pub(super) origin: Origin,
    pub(super) case: Case,
    /// Milliseconds of the mount command.
    pub(super) mount_ms: Samples,
    /// Milliseconds until the byte, the command included.
    pub(super) byte_ms: Samples,
    /// Exchanges that waited for one another, handshakes of TCP included.
    pub(super) rounds: Samples,
    pub(super) requests: Samples,
}

/// Measures all cases at all origins. The image and the tree must be stored there.
pub(super) fn measure(bench: &mut Bench, image: &str) -> Result<Vec<FirstByte>> {
    let mut found = Vec::new();
    for origin in bench.origins.clone() {
        for case in [Case::Cold, Case::DiskWarm, Case::Running] {
            let mut first = FirstByte {
                origin,
                case,
                mount_ms: Samples::default(),
                byte_ms: Samples::default(),
                rounds: Samples::default(),
                requests: Samples::default(),
            };
            bench.on_demand(origin).settings(Ahead::StartPack, "")?;
            for _ in 0..bench.runs {
                once(bench, image, &mut first).with_context(|| format!("{origin:?}: {}", case.name()))?;
            }
            found.push(first);
        }
    }
    Ok(found)
}

fn once(bench: &mut Bench, image: &str, first: &mut FirstByte) -> Result<()> {
    let (origin, case) = (first.origin, first.case);
    let lambent = bench.on_demand(origin);
    let folder = bench.work.join("mounted");
    if case == Case::Cold {
        lambent.forget()?;
    }
    let other = match case {
        Case::Running => Some(lambent.mount(TREE, &bench.work.join("other"))?),
        _ => None,
    };
    drop_caches()?;
    // The question is the image's: on a worker, the program itself is in the page cache.
    std::fs::read(&lambent.program).context("reading lambent's program")?;
    bench.s3.take_passed()?;
    let begin = Instant::now();
    let mut mount = lambent.mount(image, &folder)?;
    let mounted = begin.elapsed();
    read_byte(&folder.join(FILE))?;
    let read = begin.elapsed();
    let passed = bench.s3.take_passed()?;
    first.mount_ms.push(mounted.as_secs_f64() * 1e3);
    first.byte_ms.push(read.as_secs_f64() * 1e3);
    if origin == Origin::S3 {
        first.rounds.push(passed.rounds as f64);
        first.requests.push(passed.requests as f64);
    }
    mount.unmount()?;
    drop(other);
    lambent.wait_for_end()
}

fn read_byte(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    file.read_exact(&mut [0])
        .with_context(|| format!("reading {}", path.display()))
}
