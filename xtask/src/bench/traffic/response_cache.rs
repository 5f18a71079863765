//! How many answers a second does the response cache give through the gateway, and how late is the slowest of a hundred?

use anyhow::Result;

use super::Bench;
use crate::cache::Cache;

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each load
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
}

pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let runs = options.runs;
    let bench = Bench::start(cache, &["wrk"])?;
    let mut script = bench.script("response_cache.py");
    script.arg(bench.build_handler()?).arg(runs.to_string());
    let head = format!(
        "# Response cache: `cargo xtask bench response-cache --runs {runs}`\n\nRelease build; server, load (wrk, one thread, \
         kept connections, signed requests, 3 s each after as long to warm up) and functions share the machine. Medians of \
         {runs} runs."
    );
    bench.measure(script, ("response_cache.md", &head))
}
