//! Commands on stored images: `ls`, `verify`, `export`, `compare`, `rm`.

use crate::arguments::{CompareArguments, ExportArguments};
use crate::output::{self, bytes, percent};
use crate::progress::{self, Audience};
use anyhow::Result;
use image::images::{ChunkSum, Images};
use image::record::RecordSummary;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

pub(crate) fn list(images: &Images, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        summary: &'a RecordSummary,
        pushed_unix_seconds: u64,
    }
    let listed = images.list()?;
    let unix = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    if json {
        let lines = listed.iter().map(|image| Line {
            summary: &image.summary,
            pushed_unix_seconds: unix(image.pushed),
        });
        return output::print_json(&lines.collect::<Vec<_>>());
    }
    let rows = listed.iter().map(|image| {
        let summary = &image.summary;
        let age = image.pushed.elapsed().unwrap_or_default();
        [
            summary.name.clone(),
            summary.platform.clone(),
            bytes(summary.image_bytes),
            summary.chunks.to_string(),
            bytes(summary.stored_bytes),
            format!("{} ago", indicatif::HumanDuration(age)),
        ]
    });
    println!(
        "{}",
        output::table(["image", "platform", "size", "chunks", "stored", "pushed"], rows)
    );
    Ok(())
}

pub(crate) fn verify(images: &Images, name: &str, json: bool) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Verified<'a> {
        name: &'a str,
        chunks: u64,
        stored_bytes: u64,
        faults: u64,
        named: &'a [String],
    }
    let done = AtomicU64::new(0);
    let found = progress::watch(
        Audience::of(json),
        || progress::reading(&done, 0),
        || images.verify(name, &done),
    )?;
    if json {
        let (chunks, stored_bytes, faults) = (found.chunks, found.stored_bytes, found.faults);
        output::print_json(&Verified {
            name,
            chunks,
            stored_bytes,
            faults,
            named: &found.named,
        })?;
    }
    if found.faults == 0 {
        if !json {
            println!(
                "{name}: {} chunks, {}, all whole",
                found.chunks,
                bytes(found.stored_bytes)
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let more = found.faults - found.named.len() as u64;
    let more = if more > 0 {
        format!("\n  and {more} more")
    } else {
        String::new()
    };
    eprintln!(
        "error: {name}: {} of {} chunks are damaged or missing:\n  {}{more}\n\
         delete what is left of them under chunks/ in the store, and push the image again",
        found.faults,
        found.chunks,
        found.named.join("\n  ")
    );
    Ok(ExitCode::FAILURE)
}

pub(crate) fn export(images: &Images, arguments: &ExportArguments, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Exported<'a> {
        name: &'a str,
        file: String,
        image_bytes: u64,
    }
    let done = AtomicU64::new(0);
    let ExportArguments { name, file } = arguments;
    let image_bytes = progress::watch(
        Audience::of(json),
        || progress::reading(&done, 0),
        || images.export(name, file, &done),
    )?;
    let shown = file.display().to_string();
    if json {
        return output::print_json(&Exported {
            name,
            file: shown,
            image_bytes,
        });
    }
    println!(
        "{name} written to {shown}: an ext4 file system of {}",
        bytes(image_bytes)
    );
    Ok(())
}

pub(crate) fn compare(images: &Images, pair: &CompareArguments, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Sum {
        chunks: u64,
        stored_bytes: u64,
    }
    #[derive(Serialize)]
    struct Compared<'a> {
        first: &'a str,
        second: &'a str,
        shared: Sum,
        only_first: Sum,
        only_second: Sum,
    }
    let CompareArguments { first, second } = pair;
    let found = images.compare(first, second)?;
    if json {
        let sum = |ChunkSum { chunks, stored_bytes }| Sum { chunks, stored_bytes };
        let (shared, only_first, only_second) = (sum(found.shared), sum(found.only_first), sum(found.only_second));
        return output::print_json(&Compared {
            first,
            second,
            shared,
            only_first,
            only_second,
        });
    }
    let row = |what: String, sum: ChunkSum| {
        let of = |other: ChunkSum| percent(sum.stored_bytes, found.shared.stored_bytes + other.stored_bytes);
        [
            what,
            sum.chunks.to_string(),
            bytes(sum.stored_bytes),
            of(found.only_first),
            of(found.only_second),
        ]
    };
    let rows = [row("in both".to_owned(), found.shared)];
    let alone = |name: &str, sum: ChunkSum, first: bool| {
        let share = percent(sum.stored_bytes, found.shared.stored_bytes + sum.stored_bytes);
        let (left, right) = if first {
            (share, "-".to_owned())
        } else {
            ("-".to_owned(), share)
        };
        [
            format!("only in {name}"),
            sum.chunks.to_string(),
            bytes(sum.stored_bytes),
            left,
            right,
        ]
    };
    let rows = rows.into_iter().chain([
        alone(first, found.only_first, true),
        alone(second, found.only_second, false),
    ]);
    println!(
        "{}",
        output::table(["", "chunks", "stored", "of the first", "of the second"], rows)
    );
    Ok(())
}

pub(crate) fn remove(images: &Images, name: &str, json: bool) -> Result<()> {
    images.remove(name)?;
    if json {
        return output::print_json(&serde_json::json!({ "name": name, "removed": true }));
    }
    println!("{name} removed; its chunks stay until garbage collection");
    Ok(())
}
