//! A folder for what a task makes and nobody needs afterwards.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long mounts in the folder may take to go: a daemon whose client has ended stays for its idle time, 10 s.
const UNMOUNT_MAX: Duration = Duration::from_secs(30);
const UNMOUNT_LOOK: Duration = Duration::from_millis(200);

/// A folder on disk that is empty at first and goes with its guard. What a killed task left is deleted by the next one.
pub(crate) struct Work {
    path: PathBuf,
    _lock: File,
}

impl Work {
    /// Takes the folder; fails while another task has it.
    pub(crate) fn take(path: PathBuf) -> Result<Self> {
        let parent = path.parent().context("a work folder has a parent")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).with_context(|| format!("opening {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            bail!("another task works in {}: wait until it has ended", path.display());
        }
        let work = Self { path, _lock: lock };
        work.remove()?;
        fs::create_dir(&work.path).with_context(|| format!("creating {}", work.path.display()))?;
        Ok(work)
    }

    /// A path in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + UNMOUNT_MAX;
        loop {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    std::thread::sleep(UNMOUNT_LOOK);
                }
                Err(error) => return Err(error).with_context(|| format!("removing {}", self.path.display())),
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}
