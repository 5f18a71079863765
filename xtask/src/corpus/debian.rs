//! The base image's file system: a minimal Debian with Python, made slim as the images of Docker Hub are.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{chroot, mirror, python, tree};
use crate::cache::Cache;
use crate::process;

/// Debian 12 whatever the host runs: its Python is 3.11, which the pinned wheels are made for.
const SUITE: &str = "bookworm";

/// What `python:3.11-slim` has beside Python: certificates, time zones, names of protocols.
const PACKAGES: &str = "ca-certificates,netbase,python3,tzdata";

/// Folders whose content a slim image does not have, or that a container runtime fills.
/// Source: debuerreotype's slimification and docker-clean lists.
const EMPTIED: &[&str] = &[
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "var/tmp",
];

/// Files that debootstrap copies from the host, or that hold the time of the build.
const REMOVED: &[&str] = &["etc/hostname", "etc/machine-id", "etc/resolv.conf"];

/// Fills `root` with the base image's files.
pub(super) fn build(cache: &Cache, root: &Path) -> Result<()> {
    bootstrap(cache, root, PACKAGES)?;
    make_slim(root)?;
    python::compile(root, &["/usr/lib/python3", "/usr/lib/python3.11"])
}

/// Fills `root` with a minimal Debian and these packages, as debootstrap leaves it.
pub(super) fn bootstrap(cache: &Cache, root: &Path, packages: &str) -> Result<()> {
    let source = mirror::configured(&[SUITE, "trixie", "stable"]);
    println!("  debootstrap {SUITE} from {}", source.uri);
    // debootstrap mounts /proc in the new root.
    let mut command = chroot::isolated(&["--mount-proc"]);
    command
        .args(["debootstrap", "--variant=minbase"])
        .arg(format!("--include={packages}"))
        .arg(format!("--keyring={}", source.keyring))
        .arg(format!("--cache-dir={}", cache.debs()?.display()))
        .arg(SUITE)
        .arg(root)
        .arg(&source.uri)
        .envs(mirror::proxy_variables());
    process::run(&mut command)?;
    Ok(())
}

fn make_slim(root: &Path) -> Result<()> {
    for folder in EMPTIED {
        tree::empty(&root.join(folder))?;
    }
    for file in REMOVED {
        let path = root.join(file);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}
