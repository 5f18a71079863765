//! Production traffic: what is asked for ahead, at once and later.
//!
//! Each bench starts an endpoint of its own, lets a script of `xtask/assets/bench` measure it through boto3 and public
//! load tools, and keeps what that prints.

pub(super) mod asynchronous;
pub(super) mod micro_batch;
pub(super) mod provisioned;
pub(super) mod response_cache;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::assets::{assets, build_handler};
use super::{machine, write_results};
use crate::cache::Cache;
use crate::endpoint::Endpoint;
use crate::lambent::Lambent;
use crate::process;
use crate::work::Work;

/// An endpoint of the release build, in a folder of its own.
struct Bench<'a> {
    cache: &'a Cache,
    lambent: Lambent,
    endpoint: Endpoint,
    // Goes last: the endpoint's data lies in it.
    work: Work,
}

impl<'a> Bench<'a> {
    fn start(cache: &'a Cache, tools: &[&str]) -> Result<Self> {
        process::require(tools)?;
        let lambent = Lambent::build()?;
        let work = cache.work("bench")?;
        let data = work.join("data");
        let mut command = Command::new(&lambent.program);
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let endpoint = Endpoint::start(&mut command, &data)?;
        Ok(Self {
            cache,
            lambent,
            endpoint,
            work,
        })
    }

    fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// The trivial handler.
    fn build_handler(&self) -> Result<PathBuf> {
        build_handler(&self.work)
    }

    /// A script of the assets, to be given its arguments.
    fn script(&self, name: &str) -> Command {
        let mut script = Command::new(self.cache.venv().join("bin/python"));
        script
            .arg(assets().join(name))
            // The assets are part of the source tree, which no bench adds to.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PATH", env::var_os("PATH").unwrap_or_default());
        script
    }

    /// Lets a script measure, ends the endpoint, and keeps the table under a page's head.
    fn measure(mut self, mut script: Command, (file, head): (&str, &str)) -> Result<()> {
        let script = self.endpoint.with_client_files(&mut script);
        let output = script.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.context("starting python: `cargo xtask setup` installs it")?;
        if !output.status.success() {
            bail!(
                "the script that measures ended with {}: it said why above",
                output.status
            );
        }
        self.endpoint.end()?;
        let table = String::from_utf8_lossy(&output.stdout);
        print!("{table}");
        write_results(
            file,
            &format!("{head}\n\n{table}\nMachine:\n\n{}", machine::describe()?),
        )
    }
}
