//! What does micro-batching give on the embedding function, against one by one?

use std::process::Command;

use anyhow::Result;

use super::response_cache::measure;
use crate::bench::{machine, write_results};
use crate::cache::Cache;
use crate::corpus;
use crate::endpoint::Endpoint;
use crate::lambent::{Lambent, workspace};
use crate::process;

/// Python, Lambda's client for it and a model; here it is the base of zips, so that the handler can be another.
const MODEL_IMAGE: &str = "onnx-function";

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each load
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: u32,
}

/// Starts an endpoint, lets the script measure it, and writes what that prints.
pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    process::require(&["wrk"])?;
    corpus::run(cache, &corpus::Options::only(&[MODEL_IMAGE]))?;
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let data = work.join("data");
    let mut command = Command::new(&lambent.program);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut endpoint = Endpoint::start(&mut command, &data)?;
    let base = format!("oci:{}:latest", cache.corpus().join(MODEL_IMAGE).display());
    process::run(
        Command::new(&lambent.program)
            .args(["runtime", "add", "python3.11", &base, "--data"])
            .arg(&data),
    )?;
    let mut script = Command::new(cache.venv().join("bin/python"));
    script
        .arg(workspace().join("xtask/assets/bench/micro_batch.py"))
        .arg(options.runs.to_string())
        // The assets are part of the source tree, which no bench adds to.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let table = measure(endpoint.with_client_files(&mut script))?;
    endpoint.end()?;
    print!("{table}");
    write_results("micro_batch.md", &document(options.runs, &table)?)
}

fn document(runs: u32, table: &str) -> Result<String> {
    Ok(format!(
        "# Micro-batching: `cargo xtask bench micro-batch --runs {runs}`\n\nRelease build; server, load (wrk, one thread, kept \
         connections, 3 s each after as long to warm up) and functions share the machine. One sentence in each request. Medians \
         of {runs} runs.\n\n{table}\nMachine:\n\n{}",
        machine::describe()?
    ))
}
