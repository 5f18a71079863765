//! CRIU from Debian's unstable distribution, unpacked beside the libraries that it was built with.
//!
//! Stable's is too old for current kernels, and unstable's does not run on stable's C library. So its package and all
//! that it depends on are downloaded by apt, which checks signatures and hashes as for any package, with lists of its
//! own: nothing of this machine's apt and dpkg changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::process::{self, succeeds};

const SOURCE: &str = "Types: deb
URIs: http://deb.debian.org/debian
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

/// The tree that a package with this program and its loader makes. Source: `crates/sandbox/src/snapshot/criu.rs`.
const PROGRAM: &str = "usr/sbin/criu";

/// Unpacks it, if it is not there.
pub(super) fn install(cache: &Cache) -> Result<()> {
    let tree = cache.criu();
    if works(&tree) {
        println!("CRIU: {} is there", tree.display());
        return Ok(());
    }
    let _lock = cache.lock()?;
    let work = cache.work("criu-download")?;
    let archives = download(&work.join("packages"))?;
    let made = work.join("tree");
    for archive in archives {
        process::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&made))
            .with_context(|| format!("unpacking {}", archive.display()))?;
    }
    if !works(&made) {
        bail!("CRIU of Debian sid does not run from {}", made.display());
    }
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("removing the old {}", tree.display()))?;
    }
    fs::rename(&made, &tree).with_context(|| format!("moving CRIU to {}", tree.display()))?;
    println!("CRIU: unpacked into {}", tree.display());
    Ok(())
}

/// The packages of sid's CRIU, and of all that it needs, on a machine that has nothing.
fn download(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    for name in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::write(folder.join("sid.sources"), SOURCE)?;
    process::run(apt(folder).arg("update")).context("reading Debian sid's package lists")?;
    process::run(apt(folder).args(["install", "--yes", "--no-install-recommends", "--download-only", "criu"]))
        .context("downloading CRIU from Debian sid")?;
    let archives = fs::read_dir(folder.join("archives"))?.collect::<Result<Vec<_>, _>>()?;
    let archives = archives.into_iter().map(|entry| entry.path());
    Ok(archives
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect())
}

fn apt(folder: &Path) -> Command {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new("apt-get");
    for (option, value) in [
        ("Dir::Etc::sourcelist", at("sid.sources")),
        ("Dir::Etc::sourceparts", "-".to_owned()),
        ("Dir::Etc::preferences", "-".to_owned()),
        ("Dir::Etc::preferencesparts", "-".to_owned()),
        ("Dir::State::lists", at("lists")),
        ("Dir::Cache", folder.display().to_string()),
        ("Dir::Cache::archives", at("archives")),
        ("Dir::State::status", "/dev/null".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Debug::NoLocking", "1".to_owned()),
        // Without it, apt would download as a user who may not enter the cache.
        ("APT::Sandbox::User", "root".to_owned()),
    ] {
        command.arg("--option").arg(format!("{option}={value}"));
    }
    command
}

/// Whether it starts with its own loader and libraries.
fn works(tree: &Path) -> bool {
    let triple = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let loader = match std::env::consts::ARCH {
        "aarch64" => "ld-linux-aarch64.so.1",
        _ => "ld-linux-x86-64.so.2",
    };
    let libraries = tree.join(triple);
    succeeds(
        Command::new(libraries.join(loader))
            .arg("--library-path")
            .arg(&libraries)
            .arg(tree.join(PROGRAM))
            .arg("--version"),
    )
}
