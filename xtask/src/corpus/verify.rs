//! Checks a finished layout with tools that are not ours, before anyone can find it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::catalog::{Image, READY};
use super::chroot::Inside;
use super::layout::Layout;
use super::tree;
use crate::process;

/// skopeo reads the image, umoci unpacks it, and its application runs in what was unpacked. Returns the count of files.
pub(super) fn verify(image: &Image, layout: &Layout, work: &Path) -> Result<u64> {
    println!("  checking with skopeo, umoci and a run");
    let folder = layout.folder().display();
    process::run(Command::new("skopeo").args(["inspect", &format!("oci:{folder}:latest")]))?;
    let bundle = work.join("bundle");
    process::run(
        Command::new("umoci")
            .args(["unpack", "--image", &format!("{folder}:latest")])
            .arg(&bundle),
    )?;
    let root = bundle.join("rootfs");
    let files = tree::count_files(&root)?;
    run_application(image, &root)?;
    Ok(files)
}

fn run_application(image: &Image, root: &Path) -> Result<()> {
    let folder = if root.join("app").is_dir() { "/app" } else { "/" };
    let output = Inside {
        root,
        folder,
        variables: &[],
    }
    .run(image.check)
    .context("running the application")?;
    if output.lines().last() != Some(READY) {
        bail!("the application did not end with `{READY}` but printed:\n{output}");
    }
    println!("  it printed: {}", output.trim_end().replace('\n', " / "));
    Ok(())
}
