//! How many asynchronous events are accepted a second, each durably, and does a long queue drain in flat memory?

use anyhow::Result;

use super::Bench;
use crate::cache::Cache;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events that are queued before the drain is measured
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    events: u32,
    /// Runs of the load that is accepted
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
}

pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let Options { events, runs } = options;
    let bench = Bench::start(cache, &["wrk"])?;
    let mut script = bench.script("asynchronous.py");
    script
        .arg(bench.build_handler()?)
        .arg(bench.endpoint.id().to_string())
        .args([events.to_string(), runs.to_string()]);
    let head = format!(
        "# Asynchronous events: `cargo xtask bench asynchronous --events {events} --runs {runs}`\n\nRelease build; the server, \
         its load (wrk, one thread, kept connections, 3 s a run, medians) and the functions share the machine, and the record \
         is SQLite with durable commits. Events of 8 bytes for the trivial Rust handler, of which as many run at once as the \
         server's default lets."
    );
    bench.measure(script, ("asynchronous.md", &head))
}
