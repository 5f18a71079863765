//! What does provisioned concurrency give under a burst of twice as many requests as there are environments?

use std::fmt::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bench::{machine, write_results};
use crate::cache::Cache;
use crate::endpoint::Endpoint;
use crate::lambent::{Lambent, workspace};
use crate::process;

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Bursts, each against environments of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
}

/// Starts an endpoint, lets the script measure it, and writes what that prints.
pub(in crate::bench) fn run(cache: &Cache, options: &Options) -> Result<()> {
    process::require(&["h2load"])?;
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let assets = workspace().join("xtask/assets/bench");
    let bootstrap = work.join("bootstrap");
    process::run(
        Command::new("rustc")
            .args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static"])
            .args(["-Cstrip=symbols", "-o"])
            .args([&bootstrap, &assets.join("handler.rs")]),
    )?;
    let data = work.join("data");
    let mut command = Command::new(&lambent.program);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut endpoint = Endpoint::start(&mut command, &data)?;
    let mut script = Command::new(cache.venv().join("bin/python"));
    script
        .arg(assets.join("provisioned.py"))
        .arg(&bootstrap)
        .arg(options.runs.to_string())
        // The assets are part of the source tree, which no bench adds to.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let table = measure(endpoint.with_client_files(&mut script))?;
    endpoint.end()?;
    print!("{table}");
    write_results("provisioned.md", &document(options.runs, &table)?)
}

fn measure(script: &mut Command) -> Result<String> {
    let output = script.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("starting python: `cargo xtask setup` installs it")?;
    if !output.status.success() {
        bail!(
            "the script that measures ended with {}: it said why above",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn document(runs: u32, table: &str) -> Result<String> {
    let mut text = String::new();
    write!(
        text,
        "# Provisioned concurrency: `cargo xtask bench provisioned --runs {runs}`\n\nRelease build; server, load (h2load, a \
         connection for each request, all at once) and functions share the machine. Medians of {runs} bursts, the smallest and \
         the largest beside them. Each burst meets a function of its own, so what spills over is cold.\n\n{table}\nMachine:\n\n{}",
        machine::describe()?
    )?;
    Ok(text)
}
