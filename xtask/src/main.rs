//! Tasks of the project that are more than ten lines of shell: `setup`, `corpus`, `demo`, `bench`, `fuzz`.
//!
//! Tasks run tools of Debian and PyPI and may change this machine; the product never does. Nothing here is linked into
//! `lambent`.
//!
//! Read first: [`cache::Cache`], [`corpus::run`], [`setup::run`].

mod bench;
mod cache;
mod corpus;
mod demo;
mod endpoint;
mod fuzz;
mod lambent;
mod process;
mod registry;
mod setup;
mod terminal;
mod work;

use clap::{Parser, Subcommand};

/// Tasks of the Lambent project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what tests and demo need: Debian packages, a Python environment, cargo-fuzz
    Setup,
    /// Build the OCI images that tests and benches run on, from Debian's packages and PyPI
    Corpus(corpus::Options),
    /// Show the main job as a new user would do it: push, compare, verify, export, mount
    Demo,
    /// Measure speed and memory beside their baselines
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Feed every decoder of foreign bytes with what it does not expect
    Fuzz(fuzz::Options),
}

fn main() -> anyhow::Result<()> {
    let cache = cache::Cache::from_environment()?;
    match Arguments::parse().task {
        Task::Setup => setup::run(&cache),
        Task::Corpus(options) => corpus::run(&cache, &options),
        Task::Demo => demo::run(&cache),
        Task::Bench(bench) => bench::run(&cache, &bench),
        Task::Fuzz(options) => fuzz::run(&options),
    }
}
