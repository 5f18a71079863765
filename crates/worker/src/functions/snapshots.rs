//! Snapshots of initialised environments: taken of versions that have SnapStart, and restored instead of initialising.
//!
//! ```text
//! take:     mounts, sandbox, runtime ─> restore/next or next ─> connections noted, CRIU writes ─> directory ─> caller
//! restore:  mounts, sandbox, connections made again ─> CRIU restores ─> restore/next is answered ─> hooks ─> next ─> event
//! ```
//! The environment of a snapshot serves no event and ends when it is written. A restore is an ordinary start up to the
//! point where processes would be started; whatever prevents it, the event gets an ordinary start, and its record says
//! why. Hooks run either way: a runtime that asks `restore/next` in an ordinary start is answered at once.
//!
//! A snapshot's directory, and so [`api::SNAPSHOT_DIRECTORY`] of its device, holds what [`sandbox::Sandbox::checkpoint`]
//! writes, and `worker.json`: see [`record`].

mod record;
mod reseed;
mod restore;
mod take;

pub(super) use reseed::seeding;
pub(super) use restore::RestoreError;

use super::dispatch::Machine;
use super::mounts::{MountError, failed};
use sandbox::{Criu, Spawner};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where snapshots are written, and the program that does it.
#[derive(Debug)]
pub(crate) struct Snapshots {
    directory: PathBuf,
    /// Trees that may hold a CRIU, best first.
    places: Vec<PathBuf>,
    criu: Mutex<Option<Arc<Criu>>>,
}

/// What writes and restores processes.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTools {
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) criu: Arc<Criu>,
}

/// A snapshot's directory, removed with this unless it is given away.
#[derive(Debug)]
pub(crate) struct SnapshotDirectory {
    path: PathBuf,
}

impl Snapshots {
    /// Uses a directory, which only its owner may enter, and removes what a dead process left in it. Blocks.
    pub(crate) fn open(directory: PathBuf, places: Vec<PathBuf>) -> Result<Self, MountError> {
        fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(failed("protect", &directory))?;
        for left in fs::read_dir(&directory).map_err(failed("read", &directory))?.flatten() {
            remove(&left.path());
        }
        Ok(Self {
            directory,
            places,
            criu: Mutex::default(),
        })
    }

    /// The first CRIU that works; why there is none. It is looked for until one is found: somebody may install it. Blocks.
    fn criu(&self) -> Result<Arc<Criu>, String> {
        let mut criu = self.criu.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(criu) = &*criu {
            return Ok(Arc::clone(criu));
        }
        let mut reasons = Vec::new();
        for place in &self.places {
            match Criu::open(place) {
                Ok(found) => {
                    let found = Arc::new(found);
                    *criu = Some(Arc::clone(&found));
                    return Ok(found);
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        if reasons.is_empty() {
            return Err("snapshots need CRIU, and no directory is named where it could be".to_owned());
        }
        Err(format!("{} (`lambent doctor` says more)", reasons.join("; ")))
    }

    /// A new directory, readable by all who could enter its parent. Blocks.
    fn create(&self) -> io::Result<SnapshotDirectory> {
        let path = self.directory.join(uuid::Uuid::new_v4().to_string());
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        let made = SnapshotDirectory { path };
        // Whatever the process's own mask is.
        fs::set_permissions(&made.path, fs::Permissions::from_mode(0o755))?;
        Ok(made)
    }
}

impl SnapshotDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn give_away(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for SnapshotDirectory {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove(&self.path);
        }
    }
}

impl Machine {
    /// What snapshots need; why it is not there. Blocks.
    fn snapshot_tools(&self) -> Result<SnapshotTools, String> {
        Ok(SnapshotTools {
            criu: self.snapshots.criu()?,
            spawner: self.sandboxes.current(),
        })
    }
}

/// Of a directory that is private, so nobody changes it meanwhile.
fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next process that opens the directory tries again.
        Err(error) => tracing::warn!("{} stays: {error}", directory.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_new_ones_go_with_their_owner() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("snapshots");
        fs::create_dir_all(directory.join("left/tmp")).unwrap();
        let snapshots = Snapshots::open(directory.clone(), Vec::new()).unwrap();
        let count = || fs::read_dir(&directory).unwrap().count();
        assert_eq!(count(), 0);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let (gone, kept) = (snapshots.create().unwrap(), snapshots.create().unwrap());
        assert_eq!(mode(gone.path()), 0o755);
        drop(gone);
        assert!(kept.give_away().is_dir());
        assert_eq!(count(), 1);
    }

    #[test]
    fn without_a_criu_it_is_said_where_it_was_looked_for() {
        let data = tempfile::tempdir().unwrap();
        let places = vec![data.path().join("nothing")];
        let snapshots = Snapshots::open(data.path().join("snapshots"), places).unwrap();
        let reason = snapshots.criu().unwrap_err();
        assert!(reason.contains("nothing") && reason.contains("doctor"), "{reason}");
    }
}
