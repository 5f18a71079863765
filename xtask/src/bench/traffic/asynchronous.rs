//! How many asynchronous events are accepted a second, each durably, and does a long queue drain in flat memory?

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::bench::{machine, write_results};
use crate::cache::Cache;
use crate::endpoint::Endpoint;
use crate::lambent::{Lambent, workspace};
use crate::process;

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

/// Starts an endpoint, lets the script measure it, and writes what that prints.
pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    process::require(&["wrk"])?;
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let bootstrap = build_handler(&work.join("bootstrap"))?;
    let data = work.join("data");
    let mut command = Command::new(&lambent.program);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut endpoint = Endpoint::start(&mut command, &data)?;
    let mut script = Command::new(cache.venv().join("bin/python"));
    script
        .arg(assets().join("asynchronous.py"))
        .arg(&bootstrap)
        .arg(endpoint.id().to_string())
        .args([options.events.to_string(), options.runs.to_string()])
        // The assets are part of the source tree, which no bench adds to.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = endpoint.with_client_files(&mut script).output()?;
    if !output.status.success() {
        bail!(
            "the script that measures ended with {}: it said why above",
            output.status
        );
    }
    endpoint.end()?;
    let table = String::from_utf8_lossy(&output.stdout);
    print!("{table}");
    write_results("asynchronous.md", &document(options, &table)?)
}

/// The trivial handler, linked statically.
fn build_handler(bootstrap: &Path) -> Result<PathBuf> {
    process::run(
        Command::new("rustc")
            .args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static"])
            .args(["-Cstrip=symbols", "-o"])
            .args([bootstrap, &assets().join("handler.rs")]),
    )?;
    Ok(bootstrap.to_owned())
}

fn document(options: &Options, table: &str) -> Result<String> {
    Ok(format!(
        "# Asynchronous events: `cargo xtask bench asynchronous --events {} --runs {}`\n\nRelease build; the server, \
         its load (wrk, one thread, kept connections, 3 s a run, medians) and the functions share the machine, and the record \
         is SQLite with durable commits. Events of 8 bytes for the trivial Rust handler, of which as many run at once as the \
         server's default lets.\n\n{table}\nMachine:\n\n{}",
        options.events,
        options.runs,
        machine::describe()?
    ))
}

fn assets() -> PathBuf {
    workspace().join("xtask/assets/bench")
}
