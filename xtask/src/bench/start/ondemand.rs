//! `lambent` with a store, as whole commands, and a worker whose memory can be taken away.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::origin::CREDENTIALS;
use crate::process;

/// How long a daemon may take to end, and a start pack to appear. Both are seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of the worker's log that a failure repeats.
const LOG_LINES_MAX: usize = 10;

/// Where chunks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Origin {
    /// A directory of this machine's disk
    Directory,
    /// S3 over HTTP behind the link
    S3,
}

/// What a worker may use to be ahead of demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    Nothing,
    Trace,
    StartPack,
}

/// A data folder, its store, and its worker's daemon.
pub(super) struct OnDemand {
    pub(super) program: PathBuf,
    pub(super) data: PathBuf,
    /// As `--store` takes it; none for the data folder's own.
    pub(super) store: Option<String>,
    /// Where this process finds the store's objects as files.
    pub(super) objects: PathBuf,
}

impl OnDemand {
    /// Stores an image of the corpus.
    pub(super) fn push(&self, layout: &Path, name: &str) -> Result<()> {
        let from = format!("oci:{}", layout.display());
        process::run(self.command(&["image", "push", &from, "--name", name]).arg("--json")).map(|_| ())
    }

    /// Writes a stored image to a file, as the ext4 that it is.
    pub(super) fn export(&self, name: &str, file: &Path) -> Result<()> {
        process::run(self.command(&["image", "export", name]).arg(file)).map(|_| ())
    }

    /// Mounts; the daemon starts by itself. The mount goes with its guard.
    pub(super) fn mount<'a>(&'a self, name: &str, folder: &Path) -> Result<Mount<'a>> {
        fs::create_dir_all(folder)?;
        self.mount_command(name, folder)?;
        Ok(Mount {
            of: self,
            folder: folder.to_owned(),
            is_mounted: true,
        })
    }

    /// The command alone: the folder must be there, and nobody unmounts.
    pub(super) fn mount_command(&self, name: &str, folder: &Path) -> Result<()> {
        process::run(self.command(&["image", "mount", name]).arg(folder))
            .map(|_| ())
            // The log goes with the work folder; its end says what the command cannot know.
            .with_context(|| format!("the worker's log ends with:\n{}", self.log_end()))
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.data.join("worker/log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    /// Unmounts one directory.
    pub(super) fn unmount_command(&self, folder: &Path) -> Result<()> {
        process::run(self.command(&["image", "umount"]).arg(folder)).map(|_| ())
    }

    /// Counters of the image's device.
    pub(super) fn stats(&self, name: &str) -> Result<Value> {
        self.json(&["image", "stats", name])
    }

    /// Says that the program is ready.
    pub(super) fn ready(&self, name: &str) -> Result<()> {
        process::run(&mut self.command(&["image", "ready", name])).map(|_| ())
    }

    /// Says that the program is ready, and waits until the store has learnt from it.
    pub(super) fn ready_and_learnt(&self, name: &str) -> Result<()> {
        self.ready(name)?;
        let starts = self.objects.join("starts");
        wait_for("a trace and a start pack in the store", || {
            Ok(has_file(&starts, "trace")? && has_file(&starts, "pack")?)
        })
    }

    /// Waits until no daemon serves, so that its memory is gone.
    pub(super) fn wait_for_end(&self) -> Result<()> {
        let path = self.data.join("worker/lock");
        wait_for("the daemon's end", || {
            let Ok(lock) = File::open(&path) else {
                return Ok(true);
            };
            match lock.try_lock() {
                Ok(()) => Ok(true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(error)) => Err(error.into()),
            }
        })
    }

    /// Deletes the worker's disk cache; no daemon may run.
    pub(super) fn forget(&self) -> Result<()> {
        self.wait_for_end()?;
        let worker = self.data.join("worker");
        if worker.exists() {
            fs::remove_dir_all(&worker).with_context(|| format!("deleting {}", worker.display()))?;
        }
        Ok(())
    }

    /// Writes the worker's settings: what it may use ahead, and further lines. The next daemon reads them.
    pub(super) fn settings(&self, ahead: Ahead, more: &str) -> Result<()> {
        // A second, so that the bench needs not wait for ten after each run.
        let idle = if more.contains("idle_seconds") {
            ""
        } else {
            "idle_seconds = 1\n"
        };
        let text = format!(
            "start_pack = {}\ntrace_prefetch = {}\n{idle}{more}",
            ahead == Ahead::StartPack,
            ahead != Ahead::Nothing,
        );
        fs::create_dir_all(&self.data)?;
        fs::write(self.data.join("worker.toml"), text).context("writing the worker's settings")
    }

    /// Loop devices over files of this worker.
    pub(super) fn loop_devices(&self) -> Result<usize> {
        let list = process::run(Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]))?;
        let devices = self.data.join("worker").display().to_string();
        Ok(list.lines().filter(|line| line.trim().starts_with(&devices)).count())
    }

    /// What a command answers with `--json`.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = process::run(self.command(arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("parsing the answer of lambent {}", arguments.join(" ")))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).envs(CREDENTIALS);
        if let Some(store) = &self.store {
            command.args(["--store", store]);
        }
        command.args(arguments);
        command
    }
}

/// A mounted image.
pub(super) struct Mount<'a> {
    of: &'a OnDemand,
    folder: PathBuf,
    is_mounted: bool,
}

impl Mount<'_> {
    /// Where.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Unmounts, and waits until the daemon has ended.
    pub(super) fn end(mut self) -> Result<()> {
        self.unmount()?;
        self.of.wait_for_end()
    }

    /// Unmounts; the daemon lives on for a while.
    pub(super) fn unmount(&mut self) -> Result<()> {
        self.is_mounted = false;
        self.of.unmount_command(&self.folder)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(error) = self.unmount()
        {
            eprintln!("{error:#}");
        }
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_there()? {
        if Instant::now() > deadline {
            bail!("waited {} s for {what} in vain", PATIENCE.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Whether a file of this name is below `starts/GENERATION/MANIFEST`, for every manifest that has something there.
fn has_file(starts: &Path, name: &str) -> Result<bool> {
    let mut found = 0;
    for generation in folders(starts)? {
        for manifest in folders(&generation)? {
            if !manifest.join(name).exists() {
                return Ok(false);
            }
            found += 1;
        }
    }
    Ok(found > 0)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}
