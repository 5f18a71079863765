//! What does a chunk from the zone cost, and what does a node that dies or dawdles change?
//!
//! `cargo bench -p cache --bench zone` prints Markdown; `cargo xtask bench zone` writes it to `bench/results/zone.md`.
//! Chunks of 512 KiB, sealed, are read again and again in an order that jumps, by one reader and by eight at once, each
//! of which waits for its chunk before it asks for the next. A read ends when the chunk is rebuilt, checked and opened.
//! Real memcached servers of one thread each on loopback; all share the machine's processors with the readers.
//!
//! - *plain*: one server, one connection for each reader, nothing but the answer's bytes, checked and opened.
//! - *uncoded*: six servers, each chunk whole on one of them by its hash, through the zone tier with fleets of one.
//! - *zone*: six servers, four of five fragments.
//!
//! A server is killed just before the reads begin, so that finding out is part of what is measured. A delayed one
//! stands behind a proxy on a thread of its own, which holds every answer back by 100 ms. Behind it all is an origin
//! that answers after 20 ms.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on says where by panicking")]

mod code;
mod figures;
#[expect(dead_code, reason = "tests make more trouble")]
#[path = "../../tests/zone/proxy.rs"]
mod proxy;
mod sealed;
#[expect(dead_code, reason = "tests start more kinds")]
#[path = "../../tests/zone/servers.rs"]
mod servers;
mod ways;

use figures::{Figures, header};
use sealed::Chunks;
use servers::Memcached;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ways::{Fault, Plain, Way, Zone};

/// 128 MiB: no processor's cache holds them.
const CHUNKS: usize = 256;

/// Reads of one run: enough that one in a thousand is several.
const READS: usize = 6000;

/// The same with `--quick`, which shows only that all of it works.
const QUICK_READS: usize = 240;

fn main() {
    code::measure();
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let reads = if is_quick { QUICK_READS } else { READS };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let chunks = Arc::new(Chunks::sealed(CHUNKS));
    println!("{}", header());
    for readers in [1, 8] {
        let amount = (readers, reads);
        let bytes_only = Plain::start(&chunks, false);
        runtime.block_on(measure("plain get, bytes only", amount, &chunks, bytes_only));
        runtime.block_on(measure("plain get", amount, &chunks, Plain::start(&chunks, true)));
        for (nodes_of_a_chunk, name) in [(1, "uncoded"), (5, "zone")] {
            for fault in [Fault::None, Fault::Killed, Fault::Delayed] {
                let way = Zone::start(&chunks, nodes_of_a_chunk, fault);
                runtime.block_on(measure(&format!("{name}{fault}"), amount, &chunks, way));
            }
        }
    }
}

/// Starts the way, fills it, lets readers read, and prints a line.
async fn measure<W: Way>(
    name: &str,
    (readers, reads): (usize, usize),
    chunks: &Arc<Chunks>,
    start: impl Future<Output = W>,
) {
    let way = Arc::new(start.await);
    let origin_before = chunks.origin_reads();
    let begin = Instant::now();
    let tasks: Vec<_> = (0..readers)
        .map(|reader| tokio::spawn(read(Arc::clone(&way), Arc::clone(chunks), reader, reads / readers)))
        .collect();
    let mut times = Vec::with_capacity(reads);
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let figures = Figures {
        times,
        took: begin.elapsed(),
        origin_reads: chunks.origin_reads() - origin_before,
    };
    println!("{}", figures.row(name, readers));
}

async fn read<W: Way>(way: Arc<W>, chunks: Arc<Chunks>, reader: usize, reads: usize) -> Vec<Duration> {
    let mut way = way.reader().await;
    let mut opener = chunk::Opener::default();
    let mut plaintext = Vec::new();
    // Every chunk once in each round, in an order that no reader shares; the first round warms up.
    let order = (0..CHUNKS / 4 + reads).map(|turn| (turn * 97 + reader * 31) % CHUNKS);
    let mut times = Vec::with_capacity(reads);
    for (turn, number) in order.enumerate() {
        let begin = Instant::now();
        W::read(&mut way, &chunks, number, (&mut opener, &mut plaintext)).await;
        if turn >= CHUNKS / 4 {
            times.push(begin.elapsed());
        }
    }
    times
}
