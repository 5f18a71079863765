//! The product's binary, as demo and benches run it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// The release build of `lambent`.
pub(crate) struct Lambent {
    /// Its path.
    pub(crate) program: PathBuf,
}

impl Lambent {
    /// Builds it, with cargo's own progress on the terminal. Where the variable `LAMBENT_PROGRAM` names a release build that
    /// was made before, that is taken.
    pub(crate) fn build() -> Result<Self> {
        if let Some(program) = std::env::var_os("LAMBENT_PROGRAM") {
            return Ok(Self {
                program: program.into(),
            });
        }
        let status = Command::new("cargo")
            .args(["build", "--release", "--quiet", "--package", "cli"])
            .current_dir(workspace())
            .status()
            .context("starting cargo")?;
        if !status.success() {
            bail!("building lambent ended with {status}");
        }
        let metadata = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version=1"])
            .current_dir(workspace())
            .output()?;
        let metadata: Value = serde_json::from_slice(&metadata.stdout).context("parsing cargo's metadata")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo has a target directory")?;
        Ok(Self {
            program: Path::new(target).join("release/lambent"),
        })
    }

    /// Runs a command with `--json` and gives what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = process::run(Command::new(&self.program).args(arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("parsing the answer of lambent {}", arguments.join(" ")))
    }
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
