//! `cargo xtask bench`: whole commands, measured beside their baselines in one run.
//!
//! Every figure is the median of several runs, with the smallest and the largest beside it, on a warm page cache: the
//! question is what the code costs, not the disk. Results go to `bench/results/` with the machine that made them.

mod assets;
mod functions;
mod gc;
mod machine;
mod measure;
mod memory;
mod packing;
mod push;
mod start;
mod traffic;
mod zone;

use std::path::Path;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::lambent::workspace;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// `lambent image push` beside mke2fs -d, skopeo with umoci, and gzip alone
    Push(push::Options),
    /// The memory of pushing an image of 9 GiB and 400,000 files
    Memory(memory::Options),
    /// Programs in images that are loaded on demand, beside a full pull and a local copy
    Start(start::Options),
    /// Functions through the gateway: warm, cold, many at once, many idle
    Functions(functions::Options),
    /// A burst of requests against environments that were started ahead
    Provisioned(traffic::provisioned::Options),
    /// Chunks from the zone cache, beside a plain memcached, with a server killed and one delayed
    Zone(zone::Options),
    /// One object for each chunk, or many chunks in an object: push, reads, collection
    Packing(packing::Options),
    /// Garbage collection beside `cp -r` of the same chunks
    Gc(gc::Options),
    /// Asynchronous events: accepted a second, and a long queue that drains
    Asynchronous(traffic::asynchronous::Options),
    /// Answers from the response cache, beside warm invocations
    ResponseCache(traffic::response_cache::Options),
    /// Requests handed over as lists, beside one by one
    MicroBatch(traffic::micro_batch::Options),
    /// What `start` runs beside it
    #[command(subcommand, hide = true)]
    StartPart(start::Part),
}

/// Measures, prints a table, and writes it to `bench/results/`.
pub(crate) fn run(cache: &Cache, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Push(options) => push::run(cache, options),
        Bench::Memory(options) => memory::run(cache, options),
        Bench::Start(options) => start::run(cache, options),
        Bench::Functions(options) => functions::run(cache, options),
        Bench::Provisioned(options) => traffic::provisioned::run(cache, options),
        Bench::Zone(options) => zone::run(options),
        Bench::Packing(options) => packing::run(cache, options),
        Bench::Gc(options) => gc::run(cache, options),
        Bench::Asynchronous(options) => traffic::asynchronous::run(cache, options),
        Bench::ResponseCache(options) => traffic::response_cache::run(cache, options),
        Bench::MicroBatch(options) => traffic::micro_batch::run(cache, options),
        Bench::StartPart(part) => part.run(),
    }
}

fn write_results(name: &str, text: &str) -> Result<()> {
    let folder = workspace().join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    println!(
        "\nwritten to {}",
        path.strip_prefix(workspace()).unwrap_or(Path::new(name)).display()
    );
    Ok(())
}
