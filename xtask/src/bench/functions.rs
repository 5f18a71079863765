//! How fast are functions, through the gateway, as a client sees them?

mod emulators;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::assets::{assets, build_handler};
use super::{machine, write_results};
use crate::cache::Cache;
use crate::corpus;
use crate::endpoint::Endpoint;
use crate::lambent::Lambent;
use crate::process;
use crate::work::Work;

/// A Python function with a model, as an image.
const ONNX_IMAGE: &str = "onnx-function";
/// Node.js with Lambda's client for it, as a base for zips.
const NODE_IMAGE: &str = "node-runtime";

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each load, of 20 starts at once and of Python's start; four times as many of a lone start
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
}

/// Starts an endpoint, lets the script measure it and the emulators beside it, and writes what that prints.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    process::require(&["h2load", "wrk", "npm", "skopeo", "umoci"])?;
    corpus::run(cache, &corpus::Options::only(&[ONNX_IMAGE, NODE_IMAGE]))?;
    let emulators = emulators::install(cache)?;
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let bench = Bench { cache, work: &work };
    let (bootstrap, root) = (build_handler(bench.work)?, bench.unpack_image()?);
    let data = work.join("data");
    let mut command = Command::new(&lambent.program);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut endpoint = Endpoint::start(&mut command, &data)?;
    bench.provide_images(&lambent, &endpoint)?;
    let mut script = bench.script();
    script
        .args([&bootstrap, &root])
        .arg(&endpoint.host)
        .args([&emulators, &work.join("emulators")])
        .arg(options.runs.to_string());
    let tables = measure(endpoint.with_client_files(&mut script))?;
    endpoint.end()?;
    print!("{tables}");
    write_results("functions.md", &document(options.runs, &tables)?)
}

struct Bench<'a> {
    cache: &'a Cache,
    work: &'a Work,
}

impl Bench<'_> {
    /// The Python image as a directory, for the bare start beside ours.
    fn unpack_image(&self) -> Result<PathBuf> {
        let bundle = self.work.join("onnx");
        let image = format!("{}:latest", self.cache.corpus().join(ONNX_IMAGE).display());
        process::run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
        Ok(bundle.join("rootfs"))
    }

    /// The Python image in the endpoint's registry, Node.js among its runtimes.
    fn provide_images(&self, lambent: &Lambent, endpoint: &Endpoint) -> Result<()> {
        let image = |name| format!("oci:{}:latest", self.cache.corpus().join(name).display());
        process::run(
            Command::new("skopeo")
                .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
                .args(["--dest-creds", &endpoint.credentials(), &image(ONNX_IMAGE)])
                .arg(format!("docker://{}/embedder:v1", endpoint.host)),
        )?;
        process::run(
            Command::new(&lambent.program)
                .args(["runtime", "add", "nodejs20.x", &image(NODE_IMAGE), "--data"])
                .arg(self.work.join("data")),
        )?;
        Ok(())
    }

    fn script(&self) -> Command {
        let binaries = self.cache.venv().join("bin");
        let mut script = Command::new(binaries.join("python"));
        // moto's server is among them, too.
        let path = env::var("PATH").unwrap_or_default();
        script
            .arg(assets().join("functions.py"))
            .env("PATH", format!("{}:{path}", binaries.display()))
            // The assets are part of the source tree, which no bench adds to.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        script
    }
}

/// What the script prints; its progress goes to the terminal.
fn measure(script: &mut Command) -> Result<String> {
    let output = script
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting python: `cargo xtask setup` installs it")?;
    if !output.status.success() {
        bail!(
            "the script that measures ended with {}: it said why above",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn document(runs: u32, tables: &str) -> Result<String> {
    Ok(format!(
        "# Functions: `cargo xtask bench functions --runs {runs}`\n\nRelease build; the servers, their load and the functions share \
         the machine. Medians of {runs} runs, the smallest and the largest beside them. Loads are wrk's with one thread and kept \
         connections, {LOAD_SECONDS} s each after as long to warm up; starts are single requests by h2load. The \
         Rust handler is static and speaks the Runtime API with nothing but std.\n\n{tables}\nMachine:\n\n{}",
        machine::describe()?
    ))
}

/// As in `load.py`.
const LOAD_SECONDS: u32 = 3;
