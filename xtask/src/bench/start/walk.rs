//! `find` over a tree of many files: cold beside warm, and beside the kernel's plain loop device.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::isolation::drop_caches;
use super::mounted::Mounted;
use super::ondemand::{Ahead, Origin};
use super::samples::Samples;
use super::{Bench, TREE};
use crate::bench::memory::write_layout;
use crate::process;

/// Files of the tree. Source: issue 3.
pub(super) const FILES: u32 = 100_000;
/// Of all files: 1 KiB each, which is little beside their inodes.
const CONTENT_BYTES: u64 = 1024 * FILES as u64;

/// What one place took.
pub(super) struct Walk {
    pub(super) name: String,
    pub(super) mount_seconds: Samples,
    pub(super) cold_seconds: Samples,
    pub(super) warm_seconds: Samples,
}

/// Makes the tree as an image and stores it at each origin.
pub(super) fn store_tree(bench: &Bench) -> Result<()> {
    println!("storing a tree of {FILES} files");
    let layout = bench.work.join("tree-layout");
    write_layout(&layout, CONTENT_BYTES, FILES)?;
    bench
        .origins
        .iter()
        .try_for_each(|origin| bench.on_demand(*origin).push(&layout, TREE))
}

/// Walks the tree from each origin, from the worker's disk, and from a plain loop device.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Walk>> {
    let mut walks = Vec::new();
    for origin in &bench.origins {
        walks.push(on_demand(bench, *origin, true)?);
        walks.push(on_demand(bench, *origin, false)?);
    }
    let local = bench.work.join("tree.ext4");
    bench.on_demand(bench.origins[0]).export(TREE, &local)?;
    let mount = || Mounted::ext4(&local, &bench.work.join("local"));
    walks.push(walk(bench, "plain loop, all local".to_owned(), || Ok(()), mount)?);
    std::fs::remove_file(&local)?;
    Ok(walks)
}

fn on_demand(bench: &Bench, origin: Origin, is_fresh: bool) -> Result<Walk> {
    let lambent = bench.on_demand(origin);
    lambent.settings(Ahead::StartPack, "")?;
    let name = format!("{origin:?}: L1 {}", if is_fresh { "cold" } else { "disk warm" });
    let prepare = || {
        if is_fresh {
            lambent.forget()
        } else {
            lambent.wait_for_end()
        }
    };
    walk(bench, name, prepare, || {
        lambent.mount(TREE, &bench.work.join("mounted"))
    })
}

/// What is mounted, and goes with it.
trait Place {
    fn folder(&self) -> &Path;
}

impl Place for Mounted {
    fn folder(&self) -> &Path {
        Self::folder(self)
    }
}

impl Place for super::ondemand::Mount<'_> {
    fn folder(&self) -> &Path {
        Self::folder(self)
    }
}

/// `prepare` takes away what must not be there, beside the page cache.
fn walk<P: Place>(
    bench: &Bench,
    name: String,
    prepare: impl Fn() -> Result<()>,
    mount: impl Fn() -> Result<P>,
) -> Result<Walk> {
    let mut walk = Walk {
        name,
        mount_seconds: Samples::default(),
        cold_seconds: Samples::default(),
        warm_seconds: Samples::default(),
    };
    for _ in 0..bench.runs {
        prepare()?;
        drop_caches()?;
        let begin = Instant::now();
        let place = mount()?;
        walk.mount_seconds.push(begin.elapsed().as_secs_f64());
        walk.cold_seconds.push(find(place.folder())?);
        walk.warm_seconds.push(find(place.folder())?);
    }
    Ok(walk)
}

/// Seconds of a `find` that asks for the size of each file, and so reads each inode.
fn find(folder: &Path) -> Result<f64> {
    let begin = Instant::now();
    let listed = process::run(Command::new("find").arg(folder).args(["-type", "f", "-printf", "%s\n"]))?;
    let seconds = begin.elapsed().as_secs_f64();
    let files = listed.lines().count();
    ensure!(files == FILES as usize, "find saw {files} files and not {FILES}");
    Ok(seconds)
}
