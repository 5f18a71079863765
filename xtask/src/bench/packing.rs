//! One object for each chunk of an image, or many chunks in one?
//!
//! A push of new chunks, reads of single chunks, and garbage collection, each with the S3 requests that it takes, over the
//! S3 server and the delay proxy of `start` (every byte arrives a fixed time later; loopback otherwise). Chunks are of one
//! size and do not compress. The requests are those of the store (`crates/store`): one object a chunk is looked for and
//! then put if it is absent, and moves by a copy that the server makes; a pack is put whole and read by ranges, and an index
//! says what is where. What a pack cannot do is be freed in part, so collection is measured twice: all of it alive,
//! and every second chunk dead, which leaves the choice of copying the dead ones on or of reading and writing the others.

mod far;
mod ways;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{machine, write_results};
use crate::cache::Cache;
use crate::terminal::{bytes, markdown, table};
use far::Far;
use ways::{Figures, Packed, Single};

/// What is stored, and how far away.
#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// Chunks of the image
    #[arg(long, value_name = "N", default_value_t = 600)]
    chunks: usize,
    /// Stored size of each: what 512 KiB often compress to
    #[arg(long, value_name = "KIB", default_value_t = 256)]
    chunk_kib: usize,
    /// Sizes of packs
    #[arg(long, value_name = "MIB", value_delimiter = ',', default_values_t = [4, 16])]
    pack_mib: Vec<usize>,
    /// How long every byte takes, each way
    #[arg(long, value_name = "MS", default_value_t = 10)]
    one_way_ms: u64,
    /// Runs of each way, of which the medians are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Print only
    #[arg(long)]
    dry_run: bool,
}

/// Stores, reads and collects the same chunks in each way, and writes what it took.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let work = cache.work("packing")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let one_way = Duration::from_millis(options.one_way_ms);
    let mut rows = Vec::new();
    let mut measure = |name: &str, folder: PathBuf, pack_bytes: Option<usize>| -> Result<()> {
        let mut figures = Vec::new();
        for round in 0..options.rounds.max(1) {
            let far = Far::start(&folder.join(round.to_string()), one_way)?;
            figures.push(match pack_bytes {
                None => runtime.block_on(Single::new(options).measure(far))?,
                Some(pack_bytes) => runtime.block_on(Packed::new(options, pack_bytes).measure(far))?,
            });
        }
        rows.extend(Figures::medians(&figures).into_iter().map(|line| line.row(name)));
        Ok(())
    };
    measure("one object a chunk", work.join("single"), None)?;
    for mib in &options.pack_mib {
        measure(
            &format!("packs of {mib} MiB"),
            work.join(&format!("packed-{mib}")),
            Some(mib << 20),
        )?;
    }
    report(&rows, options)
}

fn report(rows: &[[String; 7]], options: &Options) -> Result<()> {
    let header = ["way", "what", "seconds", "requests", "up", "p50 ms", "p99 ms"];
    println!("{}", table(header, rows));
    if options.dry_run {
        return Ok(());
    }
    let text = format!(
        "# Packing: `cargo xtask bench packing`\n\n\
         {} chunks of {} that do not compress; the S3 server is s3s-fs in a process of its own, behind a proxy by which \
         every byte arrives {} ms later each way; medians of {} runs; xtask and its server of the dev profile, optimized. \
         Requests and bytes up are what crossed the proxy. Reads: 200 one after the other (p50, p99 of a read), then all chunks, 32 \
         at once. What is measured, and how: `xtask/src/bench/packing.rs`.\n\n{}\nMachine:\n\n{}",
        options.chunks,
        bytes((options.chunk_kib as u64) << 10),
        options.one_way_ms,
        options.rounds,
        markdown(header, rows),
        machine::describe()?
    );
    write_results("packing.md", &text)
}
