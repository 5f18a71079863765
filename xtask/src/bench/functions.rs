//! How fast are functions, through the gateway, as a client sees them?

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{machine, write_results};
use crate::cache::Cache;
use crate::endpoint::Endpoint;
use crate::lambent::{Lambent, workspace};
use crate::process;

/// How much.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Cold starts of the Rust function; the Python one has half as many
    #[arg(long, value_name = "N", default_value_t = 20)]
    runs: u32,
}

/// Starts an endpoint, lets the script measure, and writes what it prints.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let bootstrap = work.join("bootstrap");
    let source = workspace().join("crates/cli/tests/functions/handler.rs");
    process::run(
        Command::new("rustc")
            .args([
                "--edition=2024",
                "-O",
                "-Ctarget-feature=+crt-static",
                "-Cstrip=symbols",
                "-o",
            ])
            .args([&bootstrap, &source]),
    )?;
    let onnx = cache.corpus().join("onnx-function");
    let bundle = work.join("onnx");
    process::run(
        Command::new("umoci")
            .args(["unpack", "--image", &format!("{}:latest", onnx.display())])
            .arg(&bundle),
    )?;
    let mut command = Command::new(&lambent.program);
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(work.join("data"));
    let mut endpoint = Endpoint::start(&mut command, &work.join("data"))?;
    process::run(
        Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                "--dest-creds",
            ])
            .arg(endpoint.credentials())
            .arg(format!("oci:{}:latest", onnx.display()))
            .arg(format!("docker://{}/embedder:v1", endpoint.host)),
    )?;
    let mut script = Command::new(cache.venv().join("bin/python"));
    script
        .arg(workspace().join("xtask/assets/bench/functions.py"))
        .args([&bootstrap, &bundle.join("rootfs")])
        .arg(&endpoint.host)
        .arg(options.runs.to_string());
    let output = endpoint
        .with_client_files(&mut script)
        .output()
        .context("starting python")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    endpoint.end()?;
    let table = String::from_utf8_lossy(&output.stdout);
    print!("{table}");
    let text = format!(
        "# Functions: `cargo xtask bench functions`\n\nRelease build; the endpoint, its load and the functions share the \
         machine. The Rust function is static and speaks the Runtime API with nothing but std.\n\n{table}\nMachine:\n\n{}",
        machine::describe()?
    );
    write_results("functions.md", &text)
}
