//! The bench leaves the host before it changes anything: namespaces of its own for network, mounts and processes.
//!
//! The kernel takes down all mounts, cards and processes of such namespaces with their first process, and that one dies
//! with the bench, however the bench ends. What survives a kill by SIGKILL is at most a file in the work folder, which
//! the next run deletes.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::corpus::chroot::isolated;

/// First process of the namespace: a shell, because it collects the dead that nobody else waits for.
const FIRST: &str = r#"mount -t proc proc /proc && "$@"; exit $?"#;

/// Runs this very command again in namespaces of its own, with the path of `lambent` as one more option.
pub(super) fn run_inside(lambent: &Path) -> Result<std::convert::Infallible> {
    let program = env::current_exe().context("finding this program")?;
    let mut command = isolated(&["--net", "--ipc"]);
    command
        .args(["sh", "-c", FIRST, "sh"])
        .arg(program)
        .args(env::args_os().skip(1))
        .arg("--inside")
        .arg(lambent);
    let status = command
        .stdin(Stdio::null())
        .status()
        .context("starting the bench in namespaces of its own")?;
    // What went wrong has been said by the one inside.
    std::process::exit(status.code().unwrap_or(1));
}

/// Writes back what is dirty, then empties page cache, names and inodes of the whole machine.
pub(super) fn drop_caches() -> Result<()> {
    crate::process::run(&mut Command::new("sync"))?;
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the page cache")
}
