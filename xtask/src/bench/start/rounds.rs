//! One image, started in every way, round after round, so that what disturbs this machine disturbs all ways alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::delay_proxy::Passed;
use super::isolation::drop_caches;
use super::mounted::Mounted;
use super::ondemand::{Ahead, OnDemand, Origin};
use super::program::run_until_ready;
use super::samples::Samples;
use super::touched;
use crate::terminal::bytes;

/// A way to bring a program up; in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Pull,
    StreamedPull,
    Chunks,
    Trace,
    StartPack,
    /// After [`Way::Chunks`], a new daemon on the same disk cache.
    ChunksAgain,
    /// After [`Way::StartPack`], likewise.
    StartPackAgain,
    /// After [`Way::StartPack`], in the same mount.
    SameMount,
    LoopCold,
    LoopWarm,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pull => "full pull and unpack (skopeo, umoci), then run",
            Self::StreamedPull => "full pull streamed into tar, then run",
            Self::Chunks => "on demand, chunks alone",
            Self::Trace => "on demand, trace prefetch",
            Self::StartPack => "on demand, start pack",
            Self::ChunksAgain => "L1 disk warm, chunks alone",
            Self::StartPackAgain => "L1 disk warm, start pack",
            Self::SameMount => "second run in the same mount",
            Self::LoopCold => "all local, page cache cold",
            Self::LoopWarm => "all local, page cache warm",
        }
    }
}

/// What one start took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    seconds: f64,
    fetched_bytes: Option<u64>,
    passed: Option<Passed>,
    prefetch: Prefetch,
}

/// What the daemon says of its prefetch, in chunks.
#[derive(Clone, Copy, Debug, Default)]
struct Prefetch {
    used: u64,
    late: u64,
    wasted: u64,
}

/// What several starts of one way took.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    pub(super) seconds: Samples,
    pub(super) fetched_bytes: Samples,
    pub(super) wire_bytes: Samples,
    pub(super) requests: Samples,
    pub(super) prefetch_used: Samples,
    pub(super) prefetch_late: Samples,
    pub(super) prefetch_wasted: Samples,
}

impl Starts {
    fn add(&mut self, start: Start) {
        self.seconds.push(start.seconds);
        if let Some(bytes) = start.fetched_bytes {
            self.fetched_bytes.push(bytes as f64);
            self.prefetch_used.push(start.prefetch.used as f64);
            self.prefetch_late.push(start.prefetch.late as f64);
            self.prefetch_wasted.push(start.prefetch.wasted as f64);
        }
        if let Some(passed) = start.passed {
            self.wire_bytes.push(passed.bytes_down as f64);
            self.requests.push(passed.requests as f64);
        }
    }
}

/// All that was measured of one image.
pub(super) struct ImageStarts {
    pub(super) image: String,
    pub(super) image_bytes: u64,
    /// In 4 KiB pages that the start touches.
    pub(super) touched_bytes: u64,
    /// Local ways stand under [`Origin::Directory`].
    pub(super) starts: BTreeMap<(Origin, Way), Starts>,
}

impl ImageStarts {
    /// The starts of a way; none when it was not measured.
    pub(super) fn of(&self, origin: Origin, way: Way) -> Option<&Starts> {
        self.starts.get(&(origin, way))
    }

    fn add(&mut self, origin: Origin, way: Way, start: Start) {
        let passed = start.passed.map_or_else(String::new, |passed| {
            format!(
                ", {} on the wire, {} requests",
                bytes(passed.bytes_down),
                passed.requests
            )
        });
        let fetched = start
            .fetched_bytes
            .map_or_else(String::new, |fetched| format!(", {} fetched", bytes(fetched)));
        println!(
            "  {} {origin:?}: {}: {:.2} s{fetched}{passed}",
            self.image,
            way.name(),
            start.seconds
        );
        self.starts.entry((origin, way)).or_default().add(start);
    }
}

/// Starts the image in all ways.
pub(super) fn measure(bench: &mut Bench, image: &str) -> Result<ImageStarts> {
    let local = bench.work.join(&format!("{image}.ext4"));
    let mut found = prepare(bench, image, &local)?;
    for round in 0..bench.runs {
        println!("{image}: round {} of {}", round + 1, bench.runs);
        for origin in bench.origins.clone() {
            pulls(bench, &mut found, origin)?;
            on_demand(bench, &mut found, origin).with_context(|| format!("on demand from {origin:?}"))?;
        }
        all_local(bench, &mut found, &local)?;
    }
    std::fs::remove_file(&local)?;
    Ok(found)
}

/// Stores the image at each origin, lets each learn from one start, and exports it.
fn prepare(bench: &mut Bench, image: &str, local: &Path) -> Result<ImageStarts> {
    println!("{image}: into the registry and the stores");
    bench
        .pulls
        .add(&bench.link, &bench.corpus, image)
        .context("through a registry")?;
    let layout = bench.corpus.join(image);
    let folder = bench.work.join("mounted");
    let mut image_bytes = 0;
    for origin in bench.origins.clone() {
        let lambent = bench.on_demand(origin);
        lambent.push(&layout, image)?;
        lambent.settings(Ahead::StartPack, "")?;
        lambent.forget()?;
        let mount = lambent.mount(image, &folder)?;
        run_until_ready(mount.folder(), Instant::now(), || lambent.ready_and_learnt(image))?;
        image_bytes = number(&lambent.stats(image)?, "/image_bytes")?;
        mount.end()?;
    }
    bench.on_demand(bench.origins[0]).export(image, local)?;
    let touched_bytes = touched::bytes(local, &folder)?;
    println!(
        "{image}: {} of {} are touched",
        bytes(touched_bytes),
        bytes(image_bytes)
    );
    Ok(ImageStarts {
        image: image.to_owned(),
        image_bytes,
        touched_bytes,
        starts: BTreeMap::new(),
    })
}

fn pulls(bench: &mut Bench, found: &mut ImageStarts, origin: Origin) -> Result<()> {
    for way in [Way::Pull, Way::StreamedPull] {
        bench.pulls.clean()?;
        drop_caches()?;
        bench.pulls.proxy.take_passed()?;
        let (pulls, image, begin) = (&bench.pulls, &found.image, Instant::now());
        let root: PathBuf = match (origin, way) {
            (Origin::S3, Way::Pull) => pulls.pull_and_unpack(image),
            (Origin::S3, _) => pulls.stream_and_unpack(image),
            (Origin::Directory, Way::Pull) => pulls.unpack_local(image),
            (Origin::Directory, _) => pulls.untar_local(image),
        }
        .with_context(|| way.name())?;
        let proxy = &mut bench.pulls.proxy;
        let (seconds, passed) = run_until_ready(&root, begin, || proxy.take_passed())?;
        let passed = (origin == Origin::S3).then_some(passed);
        found.add(
            origin,
            way,
            Start {
                seconds,
                passed,
                ..Start::default()
            },
        );
    }
    bench.pulls.clean()
}

fn on_demand(bench: &mut Bench, found: &mut ImageStarts, origin: Origin) -> Result<()> {
    for (way, ahead, is_fresh) in [
        (Way::Chunks, Ahead::Nothing, true),
        (Way::ChunksAgain, Ahead::Nothing, false),
        (Way::Trace, Ahead::Trace, true),
        (Way::StartPack, Ahead::StartPack, true),
        (Way::StartPackAgain, Ahead::StartPack, false),
    ] {
        let lambent = bench.on_demand(origin);
        lambent.settings(ahead, "")?;
        if is_fresh {
            lambent.forget()?;
        }
        let folder = bench.work.join("mounted");
        drop_caches()?;
        bench.s3.take_passed()?;
        let begin = Instant::now();
        let mount = lambent.mount(&found.image, &folder)?;
        let start = run_on_demand(bench, &lambent, found, origin, (mount.folder(), begin))?;
        found.add(origin, way, start);
        if way == Way::StartPack {
            let mut again = run_on_demand(bench, &lambent, found, origin, (mount.folder(), Instant::now()))?;
            // The device counts since it was attached.
            again.fetched_bytes = again
                .fetched_bytes
                .zip(start.fetched_bytes)
                .map(|(all, before)| all - before);
            again.prefetch = Prefetch::default();
            found.add(origin, Way::SameMount, again);
        }
        mount.end()?;
    }
    Ok(())
}

/// Runs from a mount; the mount's own time counts from `begin`.
fn run_on_demand(
    bench: &mut Bench,
    lambent: &OnDemand,
    found: &ImageStarts,
    origin: Origin,
    (root, begin): (&Path, Instant),
) -> Result<Start> {
    let proxy = &mut bench.s3;
    // The proxy is asked last: what the daemon says it has fetched, the proxy must have seen.
    let (seconds, (stats, passed)) =
        run_until_ready(root, begin, || Ok((lambent.stats(&found.image)?, proxy.take_passed()?)))?;
    Ok(Start {
        seconds,
        fetched_bytes: Some(number(&stats, "/fetched_bytes")?),
        passed: (origin == Origin::S3).then_some(passed),
        prefetch: Prefetch {
            used: number(&stats, "/prefetch/used")?,
            late: number(&stats, "/prefetch/late")?,
            wasted: number(&stats, "/prefetch/wasted")?,
        },
    })
}

fn all_local(bench: &Bench, found: &mut ImageStarts, local: &Path) -> Result<()> {
    drop_caches()?;
    let begin = Instant::now();
    let mounted = Mounted::ext4(local, &bench.work.join("local"))?;
    for (way, begin) in [(Way::LoopCold, Some(begin)), (Way::LoopWarm, None)] {
        let (seconds, ()) = run_until_ready(mounted.folder(), begin.unwrap_or_else(Instant::now), || Ok(()))?;
        found.add(
            Origin::Directory,
            way,
            Start {
                seconds,
                ..Start::default()
            },
        );
    }
    Ok(())
}

/// A number in the daemon's answer.
fn number(stats: &Value, pointer: &str) -> Result<u64> {
    stats
        .pointer(pointer)
        .and_then(Value::as_u64)
        .with_context(|| format!("stats have no {pointer}: {stats}"))
}
