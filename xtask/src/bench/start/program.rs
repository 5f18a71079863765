//! A program in a root file system, from its start until it says that it is ready.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::corpus::chroot::isolated;

/// Runs in a mount namespace of its own: `$1` is the root. The program gets a `/tmp` to write to, `/proc` and `/dev`.
/// Unbuffered, because a pipe would get `ready` only when Python has ended, which takes tensorflow a second.
const ENTER: &str = r#"set -e
mount -t tmpfs tmpfs "$1/tmp"; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"
exec chroot "$1" env -i --chdir=/app PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONUNBUFFERED=1 \
  PYTHONDONTWRITEBYTECODE=1 python3 app.py"#;

/// What the applications of the corpus print.
const READY: &str = "ready";

/// Runs the image's application; gives the seconds from `begin` until it was ready, and what `at_ready` found then.
pub(super) fn run_until_ready<T>(
    root: &Path,
    begin: Instant,
    at_ready: impl FnOnce() -> Result<T>,
) -> Result<(f64, T)> {
    let errors = tempfile::NamedTempFile::new()?;
    let mut command = isolated(&[]);
    command.args(["sh", "-c", ENTER, "sh"]).arg(root);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(errors.path())?)
        .spawn()
        .context("starting the application")?;
    let output = BufReader::new(child.stdout.take().context("its standard output is a pipe")?);
    let mut ready = None;
    let mut at_ready = Some(at_ready);
    for line in output.lines() {
        if line? == READY
            && let Some(at_ready) = at_ready.take()
        {
            ready = Some((begin.elapsed().as_secs_f64(), at_ready()));
        }
    }
    let status = child.wait()?;
    match ready {
        Some((seconds, found)) if status.success() => Ok((seconds, found?)),
        _ => bail!(
            "the application in {} ended with {status} and {}:\n{}",
            root.display(),
            if ready.is_some() {
                "was ready"
            } else {
                "was never ready"
            },
            fs::read_to_string(errors.path())?
        ),
    }
}
