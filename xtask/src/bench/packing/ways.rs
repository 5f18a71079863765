//! The two ways of storing the same chunks, as requests.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

use super::Options;
use super::far::Far;
use crate::terminal;

/// Requests at once, and their bytes, of a push and of a collector: the store's defaults.
const IN_FLIGHT_REQUESTS: usize = 64;
const IN_FLIGHT_BYTES: usize = 32 << 20;

/// Reads at once: what a worker's cache allows itself.
const READS_IN_FLIGHT: usize = 32;

/// Reads one after the other.
const READS_ALONE: usize = 200;

/// Bytes of an index for each chunk: id, pack, offset, length.
const INDEX_ENTRY_BYTES: usize = 32 + 16 + 8;

/// One thing that was done.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    what: &'static str,
    seconds: f64,
    requests: u64,
    bytes_up: u64,
    /// Times of single reads; empty for what is not a read.
    reads: Vec<Duration>,
}

impl Figures {
    /// Of runs that did the same things, for each thing the run with the median of seconds.
    pub(super) fn medians(runs: &[Vec<Self>]) -> Vec<Self> {
        let things = runs.first().map_or(0, Vec::len);
        let median = |thing: usize| {
            let mut all: Vec<&Self> = runs.iter().map(|run| &run[thing]).collect();
            all.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
            all[all.len() / 2].clone()
        };
        (0..things).map(median).collect()
    }

    pub(super) fn row(&self, way: &str) -> [String; 7] {
        let mut sorted = self.reads.clone();
        sorted.sort();
        let milliseconds = |percent: usize| {
            let time = sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1000.0))
        };
        [
            way.to_owned(),
            self.what.to_owned(),
            format!("{:.2}", self.seconds),
            self.requests.to_string(),
            terminal::bytes(self.bytes_up),
            milliseconds(50),
            milliseconds(99),
        ]
    }
}

/// Takes the time and counts what crosses the proxy.
async fn measure(
    what: &'static str,
    far: &mut Far,
    work: impl AsyncFnOnce(&Far) -> Result<Vec<Duration>>,
) -> Result<Figures> {
    far.take_passed()?;
    let begin = Instant::now();
    let reads = work(&*far).await.with_context(|| what.to_owned())?;
    let seconds = begin.elapsed().as_secs_f64();
    let passed = far.take_passed()?;
    Ok(Figures {
        what,
        seconds,
        requests: passed.requests,
        bytes_up: passed.bytes_up,
        reads,
    })
}

/// Does `each` for all numbers, so many at once.
async fn for_all<F>(count: usize, at_once: usize, each: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = object_store::Result<()>>,
{
    let all = futures::stream::iter(0..count).map(Ok::<usize, Error>);
    all.try_for_each_concurrent(at_once, each).await?;
    Ok(())
}

/// Bytes that differ from chunk to chunk; nothing on the way looks at them.
fn content(number: usize, bytes: usize) -> Bytes {
    Bytes::from((number as u64).to_le_bytes().repeat(bytes.div_ceil(8))).slice(..bytes)
}

/// Numbers in an order that jumps.
const fn jumping(turn: usize, count: usize) -> usize {
    (turn * 7919) % count
}

/// One object for each chunk.
pub(super) struct Single {
    chunks: usize,
    chunk_bytes: usize,
}

impl Single {
    pub(super) const fn new(options: &Options) -> Self {
        Self {
            chunks: options.chunks,
            chunk_bytes: options.chunk_kib << 10,
        }
    }

    pub(super) async fn measure(&self, mut far: Far) -> Result<Vec<Figures>> {
        let in_flight = IN_FLIGHT_REQUESTS.min(IN_FLIGHT_BYTES / self.chunk_bytes);
        let push = measure("push", &mut far, async |far: &Far| {
            for_all(self.chunks, in_flight, move |number| self.put(far, number)).await?;
            Ok(Vec::new())
        });
        let push = push.await?;
        let alone = measure("reads, alone", &mut far, async |far: &Far| {
            let mut times = Vec::new();
            for turn in 0..READS_ALONE {
                let begin = Instant::now();
                self.get(far, jumping(turn, self.chunks)).await?;
                times.push(begin.elapsed());
            }
            Ok(times)
        });
        let alone = alone.await?;
        let all = measure("reads, 32 at once", &mut far, async |far: &Far| {
            for_all(self.chunks, READS_IN_FLIGHT, move |number| self.get(far, number)).await?;
            Ok(Vec::new())
        });
        let all = all.await?;
        let moved = measure("collect, all alive", &mut far, async |far: &Far| {
            for_all(self.chunks, in_flight, move |number| async move {
                far.s3.copy(&object(1, number), &object(2, number)).await
            })
            .await?;
            Ok(Vec::new())
        });
        let moved = moved.await?;
        let half = measure("collect, half dead", &mut far, async |far: &Far| {
            for_all(self.chunks / 2, in_flight, move |number| async move {
                far.s3.copy(&object(2, number * 2), &object(3, number * 2)).await
            })
            .await?;
            Ok(Vec::new())
        });
        let half = half.await?;
        let delete = measure("delete the old root", &mut far, async |far: &Far| {
            for_all(self.chunks, in_flight, move |number| async move {
                far.s3.delete(&object(1, number)).await
            })
            .await?;
            Ok(Vec::new())
        });
        Ok(vec![push, alone, all, moved, half, delete.await?])
    }

    /// As the store does: looks first, then puts if absent.
    async fn put(&self, far: &Far, number: usize) -> object_store::Result<()> {
        let key = object(1, number);
        match far.s3.head(&key).await {
            Err(Error::NotFound { .. }) => {}
            found => return found.map(drop),
        }
        let payload = content(number, self.chunk_bytes).into();
        far.s3.put_opts(&key, payload, PutMode::Create.into()).await.map(drop)
    }

    async fn get(&self, far: &Far, number: usize) -> object_store::Result<()> {
        far.s3.get(&object(1, number)).await?.bytes().await.map(drop)
    }
}

fn object(root: u32, number: usize) -> Path {
    Path::from(format!("chunks/{root:08}/{:02x}/{number:064x}", number % 256))
}

/// Many chunks in an object, and an index.
pub(super) struct Packed {
    chunks: usize,
    chunk_bytes: usize,
    chunks_of_pack: usize,
}

impl Packed {
    pub(super) fn new(options: &Options, pack_bytes: usize) -> Self {
        let chunk_bytes = options.chunk_kib << 10;
        Self {
            chunks: options.chunks,
            chunk_bytes,
            chunks_of_pack: (pack_bytes / chunk_bytes).max(1),
        }
    }

    pub(super) async fn measure(&self, mut far: Far) -> Result<Vec<Figures>> {
        let in_flight = (IN_FLIGHT_BYTES / (self.chunks_of_pack * self.chunk_bytes)).max(1);
        let push = measure("push", &mut far, async |far: &Far| {
            // Which chunks are there already: an empty store's index, which costs a request all the same.
            let _ = far.s3.get(&index(1)).await;
            for_all(self.packs(), in_flight, move |pack_number| async move {
                let whole = self.chunks_in(pack_number).len() * self.chunk_bytes;
                let payload = content(pack_number, whole).into();
                far.s3
                    .put_opts(&pack(1, pack_number), payload, PutMode::Create.into())
                    .await
                    .map(drop)
            })
            .await?;
            self.put_index(far, 1, self.chunks).await?;
            Ok(Vec::new())
        });
        let push = push.await?;
        let alone = measure("reads, alone", &mut far, async |far: &Far| {
            let mut times = Vec::new();
            for turn in 0..READS_ALONE {
                let begin = Instant::now();
                self.get(far, 1, jumping(turn, self.chunks)).await?;
                times.push(begin.elapsed());
            }
            Ok(times)
        });
        let alone = alone.await?;
        let all = measure("reads, 32 at once", &mut far, async |far: &Far| {
            for_all(self.chunks, READS_IN_FLIGHT, move |number| async move {
                self.get(far, 1, number).await.map(drop)
            })
            .await?;
            Ok(Vec::new())
        });
        let all = all.await?;
        let moved = measure("collect, all alive", &mut far, async |far: &Far| {
            for_all(self.packs(), IN_FLIGHT_REQUESTS, move |number| async move {
                far.s3.copy(&pack(1, number), &pack(2, number)).await
            })
            .await?;
            self.put_index(far, 2, self.chunks).await?;
            Ok(Vec::new())
        });
        let moved = moved.await?;
        let half = measure("collect, half dead", &mut far, async |far: &Far| {
            self.rewrite(far, in_flight).await?;
            Ok(Vec::new())
        });
        let half = half.await?;
        let delete = measure("delete the old root", &mut far, async |far: &Far| {
            for_all(self.packs(), IN_FLIGHT_REQUESTS, move |number| async move {
                far.s3.delete(&pack(1, number)).await
            })
            .await?;
            far.s3.delete(&index(1)).await?;
            Ok(Vec::new())
        });
        Ok(vec![push, alone, all, moved, half, delete.await?])
    }

    /// New packs of every second chunk: read by ranges, since a whole pack would be twice the bytes, and written anew.
    async fn rewrite(&self, far: &Far, in_flight: usize) -> Result<()> {
        let alive: Vec<usize> = (0..self.chunks).step_by(2).collect();
        let packs: &Vec<&[usize]> = &alive.chunks(self.chunks_of_pack).collect();
        let reads_of_pack = IN_FLIGHT_REQUESTS.div_ceil(in_flight);
        for_all(packs.len(), in_flight, move |number| async move {
            let reads = futures::stream::iter(packs[number].iter().copied())
                .map(|chunk| self.get(far, 2, chunk))
                .buffered(reads_of_pack);
            let chunks: Vec<Bytes> = reads.try_collect().await?;
            let payload = chunks.concat().into();
            far.s3.put(&pack(3, number), payload).await.map(drop)
        })
        .await?;
        self.put_index(far, 3, alive.len()).await
    }

    async fn put_index(&self, far: &Far, root: u32, chunks: usize) -> Result<()> {
        let payload = content(0, chunks * INDEX_ENTRY_BYTES).into();
        far.s3.put(&index(root), payload).await?;
        Ok(())
    }

    async fn get(&self, far: &Far, root: u32, number: usize) -> object_store::Result<Bytes> {
        let begin = (number % self.chunks_of_pack * self.chunk_bytes) as u64;
        let range = begin..begin + self.chunk_bytes as u64;
        far.s3.get_range(&pack(root, number / self.chunks_of_pack), range).await
    }

    fn packs(&self) -> usize {
        self.chunks.div_ceil(self.chunks_of_pack)
    }

    fn chunks_in(&self, pack: usize) -> Range<usize> {
        let begin = pack * self.chunks_of_pack;
        begin..(begin + self.chunks_of_pack).min(self.chunks)
    }
}

fn pack(root: u32, number: usize) -> Path {
    Path::from(format!("packs/{root:08}/{number:064x}"))
}

fn index(root: u32) -> Path {
    Path::from(format!("indexes/{root:08}"))
}
