//! Commands that speak to the worker's daemon: `mount`, `umount`, `mounts`, `ready`, `stats`.

use crate::arguments::{GlobalArguments, MountArguments, MountedArgument};
use crate::commands::{cache_tables, daemon};
use crate::environment::{self, Places};
use crate::output::{self, bytes, percent};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use worker::{Client, ClientError, ImageStats, KeyStats, MountRequest, Mounted, MountedImage, Selector, TierStats};

/// How often a question is put to a successor, when daemons die while they are asked.
const ASKS_MAX: usize = 3;

pub(crate) fn mount(global: &GlobalArguments, arguments: &MountArguments) -> Result<()> {
    let places = environment::places(global)?;
    let target = std::fs::canonicalize(&arguments.directory)
        .with_context(|| format!("cannot mount on {}: create it first", arguments.directory.display()))?;
    let image = MountedImage::Named {
        account: global.account.to_string(),
        name: arguments.name.clone(),
    };
    let request = MountRequest { image, target };
    let client = connect_or_start(global, &places)?;
    let mounted = ask_for_mount(global, &places, client, &request)?;
    if global.json {
        return output::print_json(&json!({
            "name": arguments.name,
            "directory": request.target,
            "device": mounted.device,
            "shared": mounted.shared,
            "image_bytes": mounted.image_bytes,
            "start_pack": mounted.start_pack,
        }));
    }
    println!(
        "{} is mounted on {}: {} by way of {}{}",
        arguments.name,
        request.target.display(),
        bytes(mounted.image_bytes),
        mounted.device.display(),
        if mounted.shared { ", shared" } else { "" },
    );
    Ok(())
}

pub(crate) fn unmount(global: &GlobalArguments, arguments: &MountedArgument) -> Result<()> {
    let cleaned = clean_after_dead(&environment::places(global)?);
    let selector = selector(&arguments.mounted)?;
    let directories = match &selector {
        // It is what was asked for, by another way.
        Selector::Directory(directory) if cleaned.contains(directory) => vec![directory.clone()],
        _ => connect(global)?.unmount(selector)?,
    };
    if global.json {
        return output::print_json(&json!({ "unmounted": directories }));
    }
    for directory in directories {
        println!("{} is unmounted", directory.display());
    }
    Ok(())
}

pub(crate) fn list(global: &GlobalArguments) -> Result<()> {
    let places = environment::places(global)?;
    clean_after_dead(&places);
    let client = Client::connect(&places.worker(), &places.store.to_string())?;
    // No daemon, no mounts.
    let lines = client.map_or_else(|| Ok(Vec::new()), |mut client| client.mounts())?;
    if global.json {
        return output::print_json(&lines);
    }
    let rows = lines.into_iter().map(|line| {
        [
            line.directory.display().to_string(),
            line.name,
            line.device.display().to_string(),
            bytes(line.image_bytes),
            bytes(line.fetched_bytes),
        ]
    });
    println!(
        "{}",
        output::table(["directory", "image", "device", "size", "fetched"], rows)
    );
    Ok(())
}

pub(crate) fn ready(global: &GlobalArguments, arguments: &MountedArgument) -> Result<()> {
    let touched_bytes = connect(global)?.ready(selector(&arguments.mounted)?)?;
    if global.json {
        return output::print_json(&json!({ "touched_bytes": touched_bytes }));
    }
    match touched_bytes {
        0 => println!("nothing new: this start's record had ended before"),
        touched => println!(
            "ready: the start touched {}, which later starts are led by",
            bytes(touched)
        ),
    }
    Ok(())
}

pub(crate) fn stats(global: &GlobalArguments, arguments: &MountedArgument) -> Result<()> {
    let stats = connect(global)?.stats(selector(&arguments.mounted)?)?;
    if global.json {
        return output::print_json(&stats);
    }
    print_stats(&stats);
    Ok(())
}

fn key(key: KeyStats) -> String {
    let age = format!("given {} s ago", key.age_seconds);
    match key {
        KeyStats { refused: true, .. } => {
            "refused: reads fail until the image is unmounted and mounted again".to_owned()
        }
        KeyStats { unanswered: 0, .. } => age,
        KeyStats { unanswered, .. } => format!("{age}; its provider was asked {unanswered} times since, and is away"),
    }
}

fn print_stats(stats: &ImageStats) {
    let tier = |tier: TierStats| format!("{} chunks, {}", tier.chunks, bytes(tier.bytes));
    let prefetch = stats.prefetch;
    println!(
        "{}",
        output::facts([
            ("image", stats.name.clone()),
            ("size", bytes(stats.image_bytes)),
            (
                "fetched",
                format!(
                    "{}, {} of the image ({} of it manifest, trace and start pack's index)",
                    bytes(stats.fetched_bytes),
                    percent(stats.fetched_bytes, stats.image_bytes),
                    bytes(stats.index_bytes)
                )
            ),
            ("from memory", tier(stats.memory)),
            ("from disk", tier(stats.disk)),
            ("from the zone", tier(stats.zone)),
            ("from the origin", tier(stats.origin)),
            ("of the start pack", tier(stats.start_pack)),
            (
                "prefetched",
                format!(
                    "{} chunks: {} used, {} late, {} not wanted so far ({})",
                    prefetch.chunks,
                    prefetch.used,
                    prefetch.late,
                    prefetch.wasted,
                    bytes(prefetch.wasted_bytes)
                )
            ),
            (
                "read by the kernel",
                format!("{} in {} reads", bytes(stats.read_bytes), stats.reads)
            ),
            ("reads that failed", stats.failed_reads.to_string()),
            ("key", key(stats.key)),
            (
                "start",
                if stats.recording { "being recorded" } else { "over" }.to_owned()
            ),
            ("mounts", stats.mounts.len().to_string()),
        ])
    );
    cache_tables::print(&stats.cache);
}

/// Asks again when the daemon dies meanwhile: mounting what is mounted changes nothing.
fn ask_for_mount(
    global: &GlobalArguments,
    places: &Places,
    mut client: Client,
    request: &MountRequest,
) -> Result<Mounted> {
    let mut asks = 0;
    loop {
        asks += 1;
        match client.mount(request.clone()) {
            Err(error @ ClientError::Lost { .. }) if asks < ASKS_MAX => {
                tracing::warn!("asking again: {error}");
                client = connect_or_start(global, places)?;
            }
            answer => return Ok(answer?),
        }
    }
}

fn connect_or_start(global: &GlobalArguments, places: &Places) -> Result<Client> {
    let start = || daemon::command(global, places);
    Ok(Client::connect_or_start(
        &places.worker(),
        &places.store.to_string(),
        start,
    )?)
}

fn connect(global: &GlobalArguments) -> Result<Client> {
    let places = environment::places(global)?;
    match Client::connect(&places.worker(), &places.store.to_string())? {
        Some(client) => Ok(client),
        None => bail!("nothing is mounted: no daemon serves {}", places.worker().display()),
    }
}

/// Takes away what a daemon left that died together with its keeper, and says so; gives the directories.
fn clean_after_dead(places: &Places) -> Vec<PathBuf> {
    match worker::clean_after_dead(&places.worker()) {
        Ok(None) => Vec::new(),
        Ok(Some(report)) => {
            eprintln!("warning: the daemon and its keeper were dead; cleaned up what they left");
            for directory in &report.mounts {
                eprintln!("warning: {} is unmounted, its reads failed", directory.display());
            }
            report.mounts
        }
        Err(error) => {
            eprintln!("warning: cannot clean up after a daemon that is dead: {error}");
            Vec::new()
        }
    }
}

/// A text with a slash, or the name of a directory that is there, means a directory; all else is an image's name.
/// An image whose name has a slash is meant when no such directory exists.
fn selector(mounted: &Path) -> Result<Selector> {
    if let Ok(directory) = std::fs::canonicalize(mounted) {
        return Ok(Selector::Directory(directory));
    }
    match mounted.to_str() {
        Some(name) if !mounted.is_absolute() => Ok(Selector::Name(name.to_owned())),
        _ if mounted.as_os_str().as_bytes().is_empty() => bail!("give an image's name or a directory"),
        _ => Ok(Selector::Directory(PathBuf::from(mounted))),
    }
}
