//! Runs a program inside an image's file system.
//!
//! `/proc` and `/dev` are mounted in namespaces of their own. The kernel drops those with their last process, and the
//! parent-death signal ends that process with us: no way to end this task, SIGKILL included, leaves a mount or a process
//! behind. Having no network proves that a build takes its input from the cache alone.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Program and arguments, the folder to run in, and variables beside the fixed ones.
pub(super) struct Inside<'a> {
    pub(super) root: &'a Path,
    pub(super) folder: &'a str,
    pub(super) variables: &'a [&'a str],
}

/// Runs before the root changes: `$1` is the root, the rest is the command. The umask makes modes independent of the user's.
const ENTER: &str = r#"set -e; umask 022; root=$1; shift
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; exec chroot "$root" "$@""#;

/// Fixed, so that equal input gives equal bytes: hash order decides how sets are laid out in .pyc files.
const VARIABLES: &[&str] = &[
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/tmp",
    "LC_ALL=C.UTF-8",
    "PYTHONHASHSEED=0",
    "PYTHONDONTWRITEBYTECODE=1",
];

impl Inside<'_> {
    /// Runs to the end; returns standard output.
    pub(super) fn run(&self, argv: &[&str]) -> Result<String> {
        let mut command = isolated(&["--net", "--ipc"]);
        command
            .args(["sh", "-c", ENTER, "sh"])
            .arg(self.root)
            .args(["env", "--ignore-environment", "--chdir", self.folder])
            .args(VARIABLES)
            .args(self.variables)
            .args(argv);
        process::run(&mut command)
    }
}

/// The start of a command that runs in mount and process namespaces of its own and dies with this task.
pub(crate) fn isolated(more: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child"])
        .args(more)
        .arg("--");
    command
}
