//! How fast are the near tiers, and how much of the disk's own rate is left?
//!
//! `cargo bench -p cache --bench tiers` prints MB/s (10^6 bytes), medians of five runs. Memory: hits through
//! `Cache::memory`, with the hash of every chunk, on one thread and on all. Disk: 1,024 chunks read in order through
//! `Cache::get` with 16 in flight and no memory tier, in turns with plain reads of the same slots of the same file with
//! O_DIRECT by 16 threads that neither hash nor keep anything. Files lie below the folder that TMPDIR names.

use bytes::Bytes;
use cache::{Cache, ChunkAddress, DiskSettings, Origin, OriginError, Settings, Tier, Urgency};
use chunk::{CHUNK_BYTES, ChunkId};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const CHUNKS: u64 = 1024;
const MEMORY_CHUNKS: usize = 256;
const IN_FLIGHT: usize = 16;
const RUNS: usize = 5;
const BLOCK_BYTES: usize = 4096;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes chunks when asked, and keeps none.
#[derive(Debug)]
struct Numbers(HashMap<ChunkId, u64>);

fn stored(number: u64) -> Bytes {
    let words = (0..CHUNK_BYTES as u64 / 8).map(|at| (at ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

impl Origin for Numbers {
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>> {
        let source = "no such number".into();
        let answer = self.0.get(&address.id).map(|number| stored(*number));
        async move { answer.ok_or(OriginError::Missing { source }) }.boxed()
    }
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let directory = tempfile::tempdir()?;
    let ids: Vec<_> = (0..CHUNKS).map(|number| ChunkId::of(&stored(number))).collect();
    let addresses: Vec<_> = ids.iter().map(|id| address(*id)).collect();
    let origin = Arc::new(Numbers(ids.into_iter().zip(0..).collect()));
    println!(
        "{} threads, {}, files in {}",
        available_parallelism()?,
        cpu_model(),
        directory.path().display()
    );
    runtime.block_on(fill(&settings(directory.path()), &origin, &addresses))?;
    memory_hits(&runtime, &origin, &addresses)?;
    disk_hits(&runtime, directory.path(), &origin, &addresses)
}

const fn address(id: ChunkId) -> ChunkAddress {
    ChunkAddress {
        generation: 1,
        id,
        stored_bytes: CHUNK_BYTES as u32,
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        memory_bytes: 0,
        disk: Some(DiskSettings {
            directory: directory.to_owned(),
            bytes: CHUNKS * CHUNK_BYTES as u64,
        }),
        ..Settings::default()
    }
}

/// Writes every chunk to the disk, no faster than it takes them.
async fn fill(settings: &Settings, origin: &Arc<Numbers>, addresses: &[ChunkAddress]) -> Result<(), Failure> {
    let cache = Cache::open(settings.clone(), origin.clone())?;
    let begin = Instant::now();
    for (asked, address) in (1..).zip(addresses) {
        cache.get(*address, Urgency::Demand).await?;
        while asked - cache.report().disk.ok_or("no disk tier")?.writes > 32 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    cache.close().await;
    let disk = cache.report().disk.ok_or("no disk tier")?;
    println!(
        "disk tier: {} chunks written, O_DIRECT {}, {:.0} MB/s",
        disk.writes,
        disk.direct,
        rate(CHUNKS, begin)
    );
    Ok(())
}

fn memory_hits(runtime: &tokio::runtime::Runtime, origin: &Arc<Numbers>, all: &[ChunkAddress]) -> Result<(), Failure> {
    let settings = Settings {
        memory_bytes: 2 * (MEMORY_CHUNKS * CHUNK_BYTES) as u64,
        ..Settings::default()
    };
    let cache = Cache::open(settings, origin.clone())?;
    let addresses = &all[..MEMORY_CHUNKS];
    for address in addresses {
        runtime.block_on(cache.get(*address, Urgency::Demand))?;
    }
    for threads in [1, available_parallelism()?.get()] {
        let rates = median(|| {
            let begin = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let hits = addresses.iter().cycle().take(8 * MEMORY_CHUNKS);
                        assert!(hits.map(|address| cache.memory(address)).all(|hit| hit.is_some()));
                    });
                }
            });
            Ok(rate((threads * 8 * MEMORY_CHUNKS) as u64, begin))
        })?;
        println!("memory hits, {threads} threads, hash included: {rates}");
    }
    let memory = cache.report().tiers[Tier::Memory.index()];
    println!(
        "one hit: p50 {} µs, p99 {} µs",
        memory.latency.p50_us, memory.latency.p99_us
    );
    Ok(())
}

fn disk_hits(
    runtime: &tokio::runtime::Runtime,
    directory: &Path,
    origin: &Arc<Numbers>,
    addresses: &[ChunkAddress],
) -> Result<(), Failure> {
    let cache = {
        let _context = runtime.enter();
        Cache::open(settings(directory), origin.clone())?
    };
    let (mut tier, mut raw) = (Vec::new(), Vec::new());
    // In turns, so that a busy minute hits both.
    for _ in 0..RUNS {
        raw.push(raw_reads(&directory.join("chunks"))?);
        tier.push(runtime.block_on(tier_reads(&cache, addresses))?);
    }
    let (tier, raw) = (middle(&mut tier), middle(&mut raw));
    println!("raw O_DIRECT reads, {IN_FLIGHT} in flight: {raw:.0} MB/s");
    println!(
        "disk tier's reads, {IN_FLIGHT} in flight, hash included: {tier:.0} MB/s, {:.0} % of raw",
        tier / raw * 100.0
    );
    let report = cache.report();
    let latency = report.tier(Tier::Disk).latency;
    println!(
        "one read: p50 {} µs, p99 {} µs; {} of {} from disk",
        latency.p50_us,
        latency.p99_us,
        latency.count,
        RUNS as u64 * CHUNKS
    );
    Ok(())
}

async fn tier_reads(cache: &Cache, addresses: &[ChunkAddress]) -> Result<f64, Failure> {
    let begin = Instant::now();
    let reads = addresses.iter().map(|address| cache.get(*address, Urgency::Demand));
    let mut reads = futures::stream::iter(reads).buffered(IN_FLIGHT);
    while let Some(read) = reads.next().await {
        read?;
    }
    Ok(rate(addresses.len() as u64, begin))
}

fn raw_reads(path: &Path) -> Result<f64, Failure> {
    let file = &File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT, Mode::empty())?);
    let next = &AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(|| raw_reader(file, next))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a reader does not panic"))
    })?;
    Ok(rate(CHUNKS, begin))
}

fn raw_reader(file: &File, next: &AtomicU64) -> std::io::Result<()> {
    let mut memory = vec![0; CHUNK_BYTES + BLOCK_BYTES];
    let begin = memory.as_ptr().align_offset(BLOCK_BYTES);
    loop {
        let slot = next.fetch_add(1, Ordering::Relaxed);
        if slot >= CHUNKS {
            return Ok(());
        }
        file.read_exact_at(&mut memory[begin..begin + CHUNK_BYTES], slot * CHUNK_BYTES as u64)?;
    }
}

/// 10^6 bytes a second, since `begin`.
fn rate(chunks: u64, begin: Instant) -> f64 {
    (chunks * CHUNK_BYTES as u64) as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

fn median(run: impl FnMut() -> Result<f64, Failure>) -> Result<String, Failure> {
    let mut rates = std::iter::repeat_with(run).take(RUNS).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{:.0} MB/s", middle(&mut rates)))
}

fn middle(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model
        .unwrap_or("unknown")
        .trim_start_matches(['\t', ' ', ':'])
        .to_owned()
}
