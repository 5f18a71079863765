//! Lambda emulators from the registries, which the bench of functions measures beside us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::process;

/// The last of each that needs neither Docker nor an account with its maker: Serverless asks for one from version 4 on.
const NPM_PACKAGES: &[&str] = &["serverless@3.40.0", "serverless-offline@13.9.0", "lambda-local@2.2.0"];

/// Its wheel holds the program alone. What it depends on is a compiler for other machines, so it comes without.
const CARGO_LAMBDA: &str = "cargo-lambda==1.9.2";

/// Installs what is missing; gives the folder with `node/` and `python/`.
pub(super) fn install(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.emulators()?;
    let wanted = format!("{}\n{CARGO_LAMBDA}", NPM_PACKAGES.join("\n"));
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    let _lock = cache.lock()?;
    println!("installing {}", wanted.replace('\n', ", "));
    install_node(&folder.join("node"))?;
    process::run(
        Command::new(cache.venv().join("bin/pip"))
            .args(["install", "--quiet", "--no-deps", "--upgrade", "--target"])
            .arg(folder.join("python"))
            .arg(CARGO_LAMBDA),
    )
    .context("installing cargo-lambda from PyPI")?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}

fn install_node(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    process::run(
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(folder)
            .args(NPM_PACKAGES),
    )
    .context("installing emulators from npm")?;
    Ok(())
}
