//! PyPI packages: downloaded once, then installed and compiled by the image's own Python without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};

use super::chroot::Inside;
use super::tree;
use crate::cache::Cache;
use crate::process;

/// Python of the base image; wheels are chosen for it and not for the host's Python.
const PYTHON_VERSION: &str = "3.11";

/// Where Debian's Python has what pip installs.
pub(super) const PACKAGES_FOLDER: &str = "/usr/local/lib/python3.11/dist-packages";

/// Runs straight from its wheel inside the image, which has no pip: slim images leave it out or should.
const PIP: &str = "pip==25.3";

/// Newest first. Every pinned wheel has one of these; bookworm's glibc is 2.36.
const PLATFORMS: &[&str] = &[
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux2010",
    "manylinux1",
];

/// Downloads the wheels of a list of requirements, unless they are in the cache. Returns their folder.
pub(super) fn wheels(cache: &Cache, requirements: &str) -> Result<PathBuf> {
    let key = hex::encode(&digest(&SHA256, requirements.as_bytes()).as_ref()[..8]);
    let parent = cache.wheels()?;
    let folder = parent.join(key);
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("  downloading {} wheels from PyPI", requirements.lines().count() + 1);
    let work = tempfile::Builder::new().prefix(".download-").tempdir_in(&parent)?;
    let list = work.path().join("requirements.txt");
    fs::write(&list, format!("{requirements}\n{PIP}\n"))?;
    download(cache, work.path(), &list)?;
    fs::rename(work.path(), &folder).with_context(|| format!("keeping wheels in {}", folder.display()))?;
    Ok(folder)
}

fn download(cache: &Cache, folder: &Path, requirements: &Path) -> Result<()> {
    let mut command = Command::new(cache.venv().join("bin/pip"));
    command.args([
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    command.args(["--implementation=cp", "--python-version", PYTHON_VERSION]);
    for platform in PLATFORMS {
        command.arg(format!("--platform={platform}_{}", std::env::consts::ARCH));
    }
    command.arg("--dest").arg(folder).arg("--requirement").arg(requirements);
    process::run(&mut command).context("downloading wheels")?;
    Ok(())
}

/// Installs wheels into an image's file system; `options` go to pip. Compiles nothing.
pub(super) fn install(root: &Path, wheels: &Path, options: &[&str]) -> Result<()> {
    let inside_folder = root.join("tmp/wheels");
    let pip = link_wheels(wheels, &inside_folder)?;
    let pip = format!("/tmp/wheels/{pip}/pip");
    // --break-system-packages: /usr/local is for the administrator, who is us.
    let fixed = [
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--no-cache-dir",
        "--find-links=/tmp/wheels",
    ];
    let quiet = [
        "--break-system-packages",
        "--root-user-action=ignore",
        "--disable-pip-version-check",
    ];
    let argv = [
        &["python3", &pip][..],
        &fixed,
        &quiet,
        options,
        &["--requirement=/tmp/wheels/wanted.txt"],
    ]
    .concat();
    Inside {
        root,
        folder: "/",
        variables: &[],
    }
    .run(&argv)
    .context("installing wheels")?;
    tree::remove(&inside_folder)
}

/// Links every wheel into the image's file system and lists them all but pip, whose name is returned.
fn link_wheels(wheels: &Path, folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)?;
    let mut pip = None;
    for entry in fs::read_dir(wheels).with_context(|| format!("reading {}", wheels.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        fs::hard_link(wheels.join(&name), folder.join(&name)).with_context(|| format!("linking {name}"))?;
        pip = pip.or(Some(name).filter(|name| name.starts_with("pip-")));
    }
    let wanted = fs::read_to_string(wheels.join("requirements.txt"))?.replace(PIP, "");
    fs::write(folder.join("wanted.txt"), wanted)?;
    match pip {
        Some(pip) => Ok(pip),
        None => bail!("{} holds no pip; delete it and run again", wheels.display()),
    }
}

/// Compiles all Python sources below folders of the image.
///
/// The default .pyc holds its source's modification time, and a rebuild on another day would change every one. With
/// unchecked-hash it depends on the source alone, as in images that are built to be reproducible.
pub(super) fn compile(root: &Path, folders: &[&str]) -> Result<()> {
    let options = [
        "python3",
        "-m",
        "compileall",
        "-q",
        "-f",
        "-j1",
        "--invalidation-mode=unchecked-hash",
    ];
    Inside {
        root,
        folder: "/",
        variables: &[],
    }
    .run(&[&options, folders].concat())
    .context("compiling Python sources")?;
    Ok(())
}
