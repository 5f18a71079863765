//! `cargo xtask corpus`: OCI images that resemble what people run, built from Debian's packages and PyPI without Docker.
//!
//! One image after the other is built in a temporary folder beside its final place, unpacked and run by tools that are
//! not ours (umoci, skopeo, chroot), and only then renamed into place. A stamp beside it says which recipe made it.
//! Whatever ends a build early leaves a folder named `.build-…`, which the next run deletes.
//!
//! Read first: [`catalog::Image`], [`recipe::build`], [`layout::Layout`].

mod catalog;
pub(crate) mod chroot;
mod debian;
mod layer;
mod layout;
mod mirror;
mod node;
mod python;
mod recipe;
mod stamp;
mod tree;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::process;
use catalog::Image;
use layout::Layout;
use stamp::Stamp;

/// Start of the name of a folder in which an image is being built.
const BUILD_PREFIX: &str = ".build-";

/// What to build, and where.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask corpus --only sklearn,sklearn-app")]
pub(crate) struct Options {
    /// Build only these images, and those that they are made from
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = catalog::names())]
    only: Vec<String>,
    /// Folder of the finished images [default: corpus in the cache folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Options {
    /// Only these images, and those that they are made from, in the cache.
    pub(crate) fn only(names: &[&str]) -> Self {
        Self {
            only: names.iter().map(|name| (*name).to_owned()).collect(),
            dir: None,
        }
    }
}

/// Where recipes take their input from and put their output.
struct Site<'a> {
    cache: &'a Cache,
    corpus: PathBuf,
}

/// Builds the images that are absent or made by an older recipe, and prints a table of all.
pub(crate) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let _lock = cache.lock()?;
    let site = Site {
        cache,
        corpus: std::path::absolute(options.dir.clone().unwrap_or_else(|| cache.corpus()))?,
    };
    fs::create_dir_all(&site.corpus).with_context(|| format!("creating {}", site.corpus.display()))?;
    remove_interrupted_builds(&site.corpus)?;
    let mut rows = Vec::new();
    for image in catalog::with_parents(&options.only) {
        rows.push((
            image.name,
            site.ensure(image).with_context(|| format!("image {}", image.name))?,
        ));
    }
    print_table(&rows);
    Ok(())
}

impl Site<'_> {
    /// The finished image of a name.
    fn image(&self, name: &str) -> PathBuf {
        self.corpus.join(name)
    }

    /// Builds an image unless it is there already. Its parent must be there.
    fn ensure(&self, image: &Image) -> Result<Stamp> {
        let recipe = self.recipe_line(image)?;
        if let Some(stamp) = Stamp::read(&self.corpus, image.name).filter(|stamp| stamp.recipe == recipe) {
            println!("{}: there", image.name);
            return Ok(stamp);
        }
        check_machine(self.cache)?;
        println!("{}: building", image.name);
        let start = Instant::now();
        let work = tempfile::Builder::new().prefix(BUILD_PREFIX).tempdir_in(&self.corpus)?;
        let layout = recipe::build(self, image, work.path())?;
        let files = verify::verify(image, &layout, work.path())?;
        layout.share_blobs(&self.corpus)?;
        let stamp = Stamp {
            recipe,
            layers: layout.layers().len(),
            files,
            bytes: layout.layers().iter().map(|layer| layer.tar_bytes).sum(),
            seconds: start.elapsed().as_secs(),
        };
        self.publish(image, &layout, &stamp)?;
        println!("{}: done in {} s", image.name, stamp.seconds);
        Ok(stamp)
    }

    /// What the image is made from, in one line: another line means another image.
    fn recipe_line(&self, image: &Image) -> Result<String> {
        let parent = match image.parent {
            None => "nothing".to_owned(),
            Some(parent) => format!("{parent} {}", Layout::open(&self.image(parent))?.manifest_digest()),
        };
        Ok(format!("{} recipe {} from {parent}", image.name, image.recipe_version))
    }

    /// Moves a verified layout into place. The stamp goes first and comes last, so that it never stands for another image.
    fn publish(&self, image: &Image, layout: &Layout, stamp: &Stamp) -> Result<()> {
        Stamp::remove(&self.corpus, image.name)?;
        let place = self.image(image.name);
        tree::remove(&place)?;
        fs::rename(layout.folder(), &place).with_context(|| format!("moving the image to {}", place.display()))?;
        stamp.write(&self.corpus, image.name)
    }
}

fn check_machine(cache: &Cache) -> Result<()> {
    process::require(&["debootstrap", "umoci", "skopeo", "tar", "unshare", "chroot"])?;
    if !cache.venv().join("bin/pip").exists() {
        bail!("{} is missing; `cargo xtask setup` makes it", cache.venv().display());
    }
    if !process::is_root()? {
        bail!(
            "building images needs root (debootstrap, chroot, files of other owners); run with `sudo --preserve-env`"
        );
    }
    Ok(())
}

fn remove_interrupted_builds(corpus: &Path) -> Result<()> {
    for entry in fs::read_dir(corpus).with_context(|| format!("reading {}", corpus.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(BUILD_PREFIX) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn print_table(rows: &[(&str, Stamp)]) {
    println!(
        "\n{:<18} {:>6} {:>7} {:>8} {:>8}",
        "image", "layers", "files", "MiB", "seconds"
    );
    for (name, stamp) in rows {
        let mebibytes = stamp.bytes >> 20;
        println!(
            "{name:<18} {:>6} {:>7} {mebibytes:>8} {:>8}",
            stamp.layers, stamp.files, stamp.seconds
        );
    }
}

/// A command of GNU tar, which keeps owners, links, extended attributes and ACLs, and whose output has an order.
fn gnu_tar() -> Command {
    let mut command = Command::new("tar");
    command
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command
}
