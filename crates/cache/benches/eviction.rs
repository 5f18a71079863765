//! Which policy keeps what starts need, when a scan of everything comes by each night?
//!
//! `cargo bench -p cache --bench eviction` replays one made-up trace on every candidate and prints the share of chunk
//! reads that hit, in per cent: of all starts after the first day, and of the hundred starts that follow each scan. The
//! trace is decided by its constants alone, so the shares hardly differ between machines (quick_cache seeds its hash
//! anew each time); the machine that is printed matters for the seconds.
//!
//! The trace: images of which a part is common to all, starts of images by a Zipf law, each start reading the same
//! chunks of its image in the same order (431-508 were measured for scikit-learn, of 3,775), a few of the image's other
//! chunks, and a nightly scan that reads every chunk of every image once.
//!
//! A chunk of a start comes to the memory tier twice, first as a prefetch and some chunks later as a demand; to the disk
//! tier once, since memory answers the demand. *Starts* and *after scan* are hits of the first, *kept* is how many of
//! the prefetched chunks are still there for the demand.

use bytes::Bytes;
use chunk::{CHUNK_BYTES, ChunkId};
use std::collections::{BTreeMap, HashMap};
use std::thread::available_parallelism;
use std::time::Instant;

#[path = "../src/memory.rs"]
#[expect(dead_code, reason = "the bench needs a part of it")]
mod memory;
#[path = "../src/disk/slots.rs"]
#[expect(dead_code, reason = "the bench needs a part of it")]
mod slots;

const IMAGES: u64 = 100;
const IMAGE_CHUNKS: u64 = 3775;
/// The first chunks of an image are those of its base, common to all: a Python with its system libraries.
const BASE_CHUNKS: u64 = 500;
const START_CHUNKS: u64 = 450;
/// Of those, in the base.
const START_BASE_CHUNKS: u64 = 150;
/// Chunks of a start that the last start did not touch.
const START_OTHER_CHUNKS: u64 = 20;
const STARTS_A_DAY: usize = 1000;
const STARTS_AFTER_SCAN: usize = 100;
const DAYS: usize = 4;
/// Of the memory tier: 256 MiB, the default, and 1 GiB.
const MEMORY_CHUNKS: [usize; 2] = [512, 2048];
/// Of the disk tier: 2 GiB, and 8 GiB, the default.
const DISK_CHUNKS: [usize; 2] = [4096, 16_384];
/// Chunks by which prefetches are ahead of demands: little more than are under way, and half of a start.
const LEADS: [usize; 3] = [32, 96, 224];
/// Parts of the memory tier for chunks that were read again.
const HOT_PARTS: [f64; 5] = [0.97, 0.9, 0.7, 0.6, 0.5];

trait Policy {
    /// Whether the chunk was held; it is from now on, if the policy wants.
    fn read(&mut self, chunk: u64) -> bool;
}

struct Lru {
    chunks: usize,
    clock: u64,
    last_read: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Policy for Lru {
    fn read(&mut self, chunk: u64) -> bool {
        self.clock += 1;
        let before = self.last_read.insert(chunk, self.clock);
        if let Some(before) = before {
            self.order.remove(&before);
        } else if self.order.len() == self.chunks
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.last_read.remove(&oldest);
        }
        self.order.insert(self.clock, chunk);
        before.is_some()
    }
}

impl Policy for slots::Slots<u64> {
    fn read(&mut self, chunk: u64) -> bool {
        let hit = self.find(&chunk).is_some();
        if !hit && let Some(slot) = self.take() {
            self.hold(slot, chunk, 1);
        }
        hit
    }
}

struct MemoryTier {
    memory: memory::Memory,
    stored: Bytes,
}

impl Policy for MemoryTier {
    fn read(&mut self, chunk: u64) -> bool {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&chunk.to_le_bytes());
        let id = ChunkId::from_bytes(id);
        let hit = self.memory.get(&id).is_some();
        if !hit {
            self.memory.insert(id, &self.stored);
        }
        hit
    }
}

fn lru(chunks: usize) -> Box<dyn Policy> {
    Box::new(Lru {
        chunks,
        clock: 0,
        last_read: HashMap::new(),
        order: BTreeMap::new(),
    })
}

fn memory_tier(chunks: usize, hot_part: f64) -> Box<dyn Policy> {
    // One block of memory stands for all chunks; a chunk weighs a page more than its bytes.
    let memory_bytes = chunks as u64 * (CHUNK_BYTES as u64 + 4096);
    Box::new(MemoryTier {
        memory: memory::Memory::with_hot_part(memory_bytes, hot_part),
        stored: vec![0; CHUNK_BYTES].into(),
    })
}

fn disk_tier(chunks: usize) -> Box<dyn Policy> {
    Box::new(slots::Slots::new(chunks as u32, 0))
}

/// splitmix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Image i with a weight of 1/(i+1).
    fn image(&mut self) -> u64 {
        let total: f64 = (1..=IMAGES).map(|rank| 1.0 / rank as f64).sum();
        let mut left = self.next() as f64 / u64::MAX as f64 * total;
        for image in 0..IMAGES {
            left -= 1.0 / (image + 1) as f64;
            if left <= 0.0 {
                return image;
            }
        }
        IMAGES - 1
    }
}

fn chunk_of(image: u64, at: u64) -> u64 {
    if at < BASE_CHUNKS {
        at
    } else {
        (image + 1) * IMAGE_CHUNKS + at
    }
}

fn start(random: &mut Random) -> Vec<u64> {
    let image = random.image();
    let own = START_CHUNKS - START_BASE_CHUNKS - START_OTHER_CHUNKS;
    let usual = (0..START_BASE_CHUNKS).chain(BASE_CHUNKS..BASE_CHUNKS + own);
    let others = std::iter::repeat_with(|| random.below(IMAGE_CHUNKS)).take(START_OTHER_CHUNKS as usize);
    usual
        .chain(others.collect::<Vec<_>>())
        .map(|at| chunk_of(image, at))
        .collect()
}

fn scan() -> impl Iterator<Item = u64> {
    let own = |image| (BASE_CHUNKS..IMAGE_CHUNKS).map(move |at| chunk_of(image, at));
    (0..BASE_CHUNKS).chain((0..IMAGES).flat_map(own))
}

#[derive(Default)]
struct Share {
    hits: usize,
    reads: usize,
}

impl Share {
    fn add(&mut self, hits: usize, reads: usize) {
        self.hits += hits;
        self.reads += reads;
    }

    fn percent(&self) -> f64 {
        100.0 * self.hits as f64 / self.reads as f64
    }
}

#[derive(Default)]
struct Shares {
    starts: Share,
    after_scan: Share,
    kept: Share,
}

/// Reads `chunks`, and with a lead each of them a second time, so many chunks later. Gives the hits of both.
fn read_twice(policy: &mut dyn Policy, chunks: &[u64], lead: Option<usize>) -> (usize, usize) {
    let (mut first, mut second) = (0, 0);
    let end = chunks.len() + lead.unwrap_or(0);
    for at in 0..end {
        first += usize::from(chunks.get(at).is_some_and(|chunk| policy.read(*chunk)));
        let late = lead.and_then(|lead| chunks.get(at.checked_sub(lead)?));
        second += usize::from(late.is_some_and(|chunk| policy.read(*chunk)));
    }
    (first, second)
}

fn replay(policy: &mut dyn Policy, lead: Option<usize>) -> Shares {
    let mut random = Random(1);
    let mut shares = Shares::default();
    for day in 0..DAYS {
        for number in 0..STARTS_A_DAY {
            let chunks = start(&mut random);
            let (first, second) = read_twice(policy, &chunks, lead);
            if day > 0 {
                shares.starts.add(first, chunks.len());
                shares.kept.add(second, chunks.len());
            }
            if day > 0 && number < STARTS_AFTER_SCAN {
                shares.after_scan.add(first, chunks.len());
            }
        }
        for chunk in scan() {
            policy.read(chunk);
        }
    }
    shares
}

fn print(name: &str, chunks: usize, mut policy: Box<dyn Policy>, lead: Option<usize>) {
    let begin = Instant::now();
    let shares = replay(&mut *policy, lead);
    let kept = lead.map_or_else(|| "-".to_owned(), |_| format!("{:.1}", shares.kept.percent()));
    println!(
        "{name:>24} | {chunks:>6} | {:>4} | {:>8.1} | {:>12.1} | {kept:>6} | {:>5.1}",
        lead.map_or_else(|| "-".to_owned(), |lead| lead.to_string()),
        shares.starts.percent(),
        shares.after_scan.percent(),
        begin.elapsed().as_secs_f64()
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{} threads, {}; {IMAGES} images of {IMAGE_CHUNKS} chunks, {STARTS_A_DAY} starts a day of {START_CHUNKS} \
         chunks, a scan of everything each night",
        available_parallelism()?,
        cpu_model()
    );
    println!("                  policy | chunks | lead | starts % | after scan % | kept % |     s");
    for (chunks, lead) in MEMORY_CHUNKS
        .into_iter()
        .flat_map(|chunks| LEADS.map(|lead| (chunks, Some(lead))))
    {
        print("plain LRU", chunks, lru(chunks), lead);
        print("S3-FIFO as on disk", chunks, disk_tier(chunks), lead);
        for hot_part in HOT_PARTS {
            print(
                &format!("quick_cache, hot {hot_part}"),
                chunks,
                memory_tier(chunks, hot_part),
                lead,
            );
        }
    }
    for chunks in DISK_CHUNKS {
        print("plain LRU", chunks, lru(chunks), None);
        print("quick_cache, hot 0.97", chunks, memory_tier(chunks, 0.97), None);
        print("disk tier (S3-FIFO)", chunks, disk_tier(chunks), None);
    }
    Ok(())
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model
        .unwrap_or("unknown")
        .trim_start_matches(['\t', ' ', ':'])
        .to_owned()
}
