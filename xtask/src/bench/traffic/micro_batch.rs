//! What does micro-batching give on the embedding function, against one by one?

use std::process::Command;

use anyhow::Result;

use super::Bench;
use crate::cache::Cache;
use crate::{corpus, process};

/// Python, Lambda's client for it and a model; here it is the base of zips, so that the handler can be another.
const MODEL_IMAGE: &str = "onnx-function";

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each load
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: u32,
}

pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let runs = options.runs;
    corpus::run(cache, &corpus::Options::only(&[MODEL_IMAGE]))?;
    let bench = Bench::start(cache, &["wrk"])?;
    let base = format!("oci:{}:latest", cache.corpus().join(MODEL_IMAGE).display());
    process::run(
        Command::new(&bench.lambent.program)
            .args(["runtime", "add", "python3.11", &base, "--data"])
            .arg(bench.data()),
    )?;
    let mut script = bench.script("micro_batch.py");
    script.arg(runs.to_string());
    let head = format!(
        "# Micro-batching: `cargo xtask bench micro-batch --runs {runs}`\n\nRelease build; server, load (wrk, one thread, kept \
         connections, 3 s each after as long to warm up) and functions share the machine. One sentence in each request. \
         Medians of {runs} runs."
    );
    bench.measure(script, ("micro_batch.md", &head))
}
