//! `cargo xtask fuzz`: feeds every decoder of foreign bytes with what it does not expect.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::lambent::workspace;
use crate::process;

/// Targets at a time: each keeps one core busy, and the project's machine has two.
const TARGETS_AT_ONCE: usize = 2;

/// An input that takes longer is a finding: decoders of images have linear time.
const INPUT_SECONDS_MAX: &str = "-timeout=10";
/// So is one that takes more memory: limits are checked before anything is allocated.
const MEMORY_MIB_MAX: &str = "-rss_limit_mb=1024";

/// What to fuzz, and for how long.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask fuzz --seconds 60 tar_layer")]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only these targets [default: all]
    targets: Vec<String>,
}

/// Builds all targets, then runs each for its time; fails when one finds something.
pub(crate) fn run(options: &Options) -> Result<()> {
    let known: Vec<String> = process::run(cargo_fuzz("list").arg("--fuzz-dir=fuzz"))?
        .lines()
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("no fuzz target `{unknown}`; there are: {}", known.join(", "));
    }
    let targets = if options.targets.is_empty() {
        known
    } else {
        options.targets.clone()
    };
    println!("building {} fuzz targets", targets.len());
    process::run(cargo_fuzz("build").args(["--fuzz-dir=fuzz", "--sanitizer=none"]))?;
    let failed = run_all(&targets, options.seconds);
    if !failed.is_empty() {
        bail!("fuzzing failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs the targets, [`TARGETS_AT_ONCE`] of them at a time; gives the names of those that failed.
fn run_all(targets: &[String], seconds: u64) -> Vec<String> {
    let queue = Mutex::new(targets.iter());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..TARGETS_AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    if let Err(error) = run_target(target, seconds) {
                        eprintln!("{target}: {error:#}");
                        failed.lock().expect("no thread panics with it").push(target.clone());
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no thread panicked with it")
}

fn next<'a>(queue: &Mutex<std::slice::Iter<'a, String>>) -> Option<&'a String> {
    queue.lock().expect("no thread panics with it").next()
}

fn run_target(target: &str, seconds: u64) -> Result<()> {
    let fuzz = workspace().join("fuzz");
    let (found, seeds) = (fuzz.join("corpus").join(target), fuzz.join("seeds").join(target));
    fs::create_dir_all(&found)?;
    let mut command = cargo_fuzz("run");
    command
        .args(["--fuzz-dir=fuzz", "--sanitizer=none", target])
        .arg(&found);
    // libFuzzer writes to the first folder only; the committed seeds are read.
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    let seconds_max = format!("-max_total_time={seconds}");
    command.args([
        "--",
        &seconds_max,
        INPUT_SECONDS_MAX,
        MEMORY_MIB_MAX,
        "-print_final_stats=1",
    ]);
    let output = command.output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let end: Vec<&str> = log.lines().rev().take(40).collect();
        return Err(anyhow!(
            "{}\n{}",
            output.status,
            end.into_iter().rev().collect::<Vec<_>>().join("\n")
        ));
    }
    let runs = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!(
        "{target}: {} inputs in {seconds} s, nothing found",
        runs.unwrap_or(" ?").trim()
    );
    Ok(())
}

/// `cargo fuzz` on the toolchain of the workspace; without a sanitizer it needs no nightly.
fn cargo_fuzz(command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace()).args(["fuzz", command]);
    cargo
}
