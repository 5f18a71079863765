//! A cache killed with `kill -9` while it writes is reopened and is right. `harness = false`: the child is this program.

use anyhow::{Context, ensure};
use bytes::Bytes;
use cache::{Cache, ChunkAddress, DiskSettings, Origin, OriginError, Settings, Tier, Urgency};
use chunk::{CHUNK_BYTES, ChunkId};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const CHUNKS: usize = 64;
/// Fewer than chunks, so that slots are overwritten when the blow falls.
const SLOTS: u64 = 16;
const ROUNDS: usize = 6;

/// Knows every chunk: its first byte is its number.
#[derive(Debug)]
struct Numbers(Vec<Bytes>);

impl Numbers {
    fn new() -> Self {
        Self(
            (0..CHUNKS)
                .map(|number| Bytes::from(vec![number as u8; CHUNK_BYTES]))
                .collect(),
        )
    }

    fn addresses(&self) -> Vec<ChunkAddress> {
        let address = |stored: &Bytes| ChunkAddress {
            generation: 1,
            id: ChunkId::of(stored),
            stored_bytes: stored.len() as u32,
        };
        self.0.iter().map(address).collect()
    }
}

impl Origin for Numbers {
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>> {
        let found = self.0.iter().find(|stored| ChunkId::of(stored) == address.id).cloned();
        let source = "no such number".into();
        async move { found.ok_or(OriginError::Missing { source }) }.boxed()
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        memory_bytes: 0,
        disk: Some(DiskSettings {
            directory: directory.to_owned(),
            bytes: SLOTS * CHUNK_BYTES as u64,
        }),
        ..Settings::default()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match std::env::args_os().nth(1) {
        Some(directory) if Path::new(&directory).is_absolute() => write_forever(Path::new(&directory)).await,
        _ => parent().await,
    }
}

/// Prints a line for each chunk that it has fetched.
async fn write_forever(directory: &Path) -> anyhow::Result<()> {
    let numbers = Numbers::new();
    let addresses = numbers.addresses();
    let cache = Cache::open(settings(directory), Arc::new(numbers))?;
    for number in (0..CHUNKS).cycle() {
        cache.get(addresses[number], Urgency::Demand).await?;
        // On a busy disk the first write may be behind all fetches that the parent waits for.
        while cache.report().disk.is_some_and(|disk| disk.held.chunks == 0) {
            tokio::task::yield_now().await;
        }
        println!("{number}");
    }
    Ok(())
}

async fn parent() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let numbers = Arc::new(Numbers::new());
    for round in 0..ROUNDS {
        kill_after(directory.path(), SLOTS as usize + round * 29)?;
        let cache = Cache::open(settings(directory.path()), numbers.clone())?;
        let addresses = numbers.addresses();
        let mut order: Vec<_> = addresses.iter().zip(&numbers.0).collect();
        // What is there first: what is fetched takes its place.
        order.sort_by_key(|(address, _)| !cache.holds(address));
        for (address, stored) in order {
            let (chunk, _) = cache.get(*address, Urgency::Demand).await?;
            ensure!(chunk.stored() == stored, "wrong bytes for {}", address.id);
        }
        cache.close().await;
        let report = cache.report();
        let disk = report.tier(Tier::Disk);
        ensure!(disk.hits > 0, "the restart kept nothing: {report:?}");
        ensure!(disk.corrupt == 0, "a record was left for other bytes: {report:?}");
        println!(
            "round {round}: {} of {CHUNKS} chunks survived kill -9, none was wrong",
            disk.hits
        );
    }
    Ok(())
}

/// Kills the child at once when it has printed so many lines, in the midst of its background writes.
fn kill_after(directory: &Path, lines: usize) -> anyhow::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
    let seen = output.lines().take(lines).count();
    child.kill()?;
    child.wait()?;
    ensure!(seen == lines, "the child ended by itself after {seen} chunks");
    Ok(())
}
