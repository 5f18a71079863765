//! `lambent image push`.

use crate::arguments::{CompressionArgument, PushArguments, ScopeArgument};
use crate::environment::{self, Parts};
use crate::output::{self, bytes, percent, seconds};
use crate::progress::{self, Audience};
use anyhow::Result;
use chunk::{Compression, SaltScope};
use image::push::{PushProgress, PushReport, PushSettings};
use image::source::{self, ImageSource, Limits, OpenOptions};
use serde::Serialize;
use std::time::{Duration, Instant};
use store::WriteMode;

pub(crate) fn run(parts: &Parts, arguments: &PushArguments, json: bool) -> Result<()> {
    let start = Instant::now();
    let settings = settings(parts, arguments)?;
    let progress = PushProgress::default();
    let report = progress::watch(
        Audience::of(json),
        || progress::push(&progress),
        || {
            let image = open(parts, arguments, &settings)?;
            anyhow::Ok(parts.images.push(&image, &settings, &progress)?)
        },
    )?;
    let total = start.elapsed();
    report
        .warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    if json {
        return output::print_json(&PushJson::of(&report, &settings, total));
    }
    print(&report, &settings, total);
    Ok(())
}

fn settings(parts: &Parts, arguments: &PushArguments) -> Result<PushSettings> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    Ok(PushSettings {
        name: arguments.name.clone().unwrap_or_else(|| arguments.source.name_hint()),
        compression: match arguments.compression {
            CompressionArgument::None => Compression::None,
            CompressionArgument::Lz4 => Compression::Lz4,
            CompressionArgument::Zstd => Compression::Zstd,
        },
        scope: match arguments.salt_scope {
            ScopeArgument::Shared => SaltScope::Shared,
            ScopeArgument::Account => SaltScope::Account(parts.images.account.clone()),
        },
        threads: threads.max(1),
        unpacked_bytes_max: arguments.unpacked_max.bytes,
        entries_max: arguments.entries_max,
        scratch_dir: environment::scratch_directory(&parts.data)?,
        mode: if arguments.dry_run {
            WriteMode::DryRun
        } else {
            WriteMode::Store
        },
    })
}

fn open(parts: &Parts, arguments: &PushArguments, settings: &PushSettings) -> Result<ImageSource> {
    let options = OpenOptions {
        platform: arguments.platform.clone(),
        docker_config: environment::docker_config(),
        plain_http: arguments.plain_http.clone(),
        scratch_dir: settings.scratch_dir.clone(),
        limits: Limits {
            unpacked_bytes_max: settings.unpacked_bytes_max,
        },
    };
    Ok(source::open(&arguments.source, &options, parts.runtime.handle())?)
}

/// The wire form of `--json`.
#[derive(Serialize)]
struct PushJson<'a> {
    name: &'a str,
    source: &'a str,
    platform: &'a str,
    dry_run: bool,
    manifest: &'a str,
    image_bytes: u64,
    files: u64,
    chunks: u64,
    chunks_zero: u64,
    chunks_new: u64,
    /// Distinct chunks that the store had.
    chunks_present: u64,
    metadata_chunks: u32,
    /// Stored by this push.
    stored_bytes: u64,
    /// All of the image's distinct chunks as stored, new or not.
    image_stored_bytes: u64,
    manifest_bytes: u64,
    threads: usize,
    seconds: f64,
    stages: StagesJson,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct StagesJson {
    unpack: f64,
    merge: f64,
    seal: f64,
    commit: f64,
}

impl<'a> PushJson<'a> {
    fn of(report: &'a PushReport, settings: &PushSettings, total: Duration) -> Self {
        let PushReport {
            summary,
            written,
            metadata_chunks,
            manifest_bytes,
            warnings,
            seconds,
        } = report;
        Self {
            name: &summary.name,
            source: &summary.source,
            platform: &summary.platform,
            dry_run: settings.mode == WriteMode::DryRun,
            manifest: &summary.manifest,
            image_bytes: summary.image_bytes,
            files: summary.files,
            chunks: summary.chunks,
            chunks_zero: summary.chunks_zero,
            chunks_new: written.chunks_new,
            chunks_present: written.chunks_present,
            metadata_chunks: *metadata_chunks,
            stored_bytes: written.bytes_new,
            image_stored_bytes: summary.stored_bytes,
            manifest_bytes: *manifest_bytes,
            threads: settings.threads,
            seconds: total.as_secs_f64(),
            stages: StagesJson {
                unpack: seconds.unpack.as_secs_f64(),
                merge: seconds.merge.as_secs_f64(),
                seal: seconds.seal.as_secs_f64(),
                commit: seconds.commit.as_secs_f64(),
            },
            warnings,
        }
    }
}

fn print(report: &PushReport, settings: &PushSettings, total: Duration) {
    let (summary, written) = (&report.summary, &report.written);
    let rate = summary.image_bytes as f64 / total.as_secs_f64().max(f64::EPSILON);
    let stages = &report.seconds;
    let done = if settings.mode == WriteMode::DryRun {
        "would be pushed (dry run)"
    } else {
        "pushed"
    };
    println!("{} {done}", summary.name);
    println!(
        "{}",
        output::facts([
            (
                "image",
                format!("{}, {} files", bytes(summary.image_bytes), summary.files)
            ),
            (
                "chunks",
                format!(
                    "{}, of which {} zero and {} metadata",
                    summary.chunks, summary.chunks_zero, report.metadata_chunks
                )
            ),
            ("there already", format!("{} chunks", written.chunks_present)),
            ("new", format!("{} chunks", written.chunks_new)),
            (
                "stored",
                format!(
                    "{} by this push, {} of the image's {}",
                    bytes(written.bytes_new),
                    percent(written.bytes_new, summary.stored_bytes),
                    bytes(summary.stored_bytes),
                )
            ),
            (
                "time",
                format!(
                    "{}: unpack {}, merge {}, seal and store {}, commit {}",
                    seconds(total),
                    seconds(stages.unpack),
                    seconds(stages.merge),
                    seconds(stages.seal),
                    seconds(stages.commit),
                )
            ),
            (
                "rate",
                format!("{}/s with {} threads", bytes(rate as u64), settings.threads)
            ),
        ])
    );
}
