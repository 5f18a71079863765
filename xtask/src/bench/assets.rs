//! What benches of functions bring along: scripts, and the trivial handler.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::lambent::workspace;
use crate::process;
use crate::work::Work;

/// Where they lie.
pub(super) fn assets() -> PathBuf {
    workspace().join("xtask/assets/bench")
}

/// The trivial handler, linked statically.
pub(super) fn build_handler(work: &Work) -> Result<PathBuf> {
    let bootstrap = work.join("bootstrap");
    process::run(
        Command::new("rustc")
            .args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static"])
            .args(["-Cstrip=symbols", "-o"])
            .args([&bootstrap, &assets().join("handler.rs")]),
    )?;
    Ok(bootstrap)
}
