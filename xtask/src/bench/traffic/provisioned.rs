//! What does provisioned concurrency give under a burst of twice as many requests as there are environments?

use anyhow::Result;

use super::Bench;
use crate::cache::Cache;

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Bursts, each against environments of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
}

pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let runs = options.runs;
    let bench = Bench::start(cache, &["h2load"])?;
    let mut script = bench.script("provisioned.py");
    script.arg(bench.build_handler()?).arg(runs.to_string());
    let head = format!(
        "# Provisioned concurrency: `cargo xtask bench provisioned --runs {runs}`\n\nRelease build; server, load (h2load, a \
         connection for each request, all at once) and functions share the machine. Medians of {runs} bursts, the smallest \
         and the largest beside them. Each burst meets a function of its own, so what spills over is cold."
    );
    bench.measure(script, ("provisioned.md", &head))
}
