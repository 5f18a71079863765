//! Walks over folders: removal, counting, modification times.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Removes a folder with all it holds, if it is there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Removes all that a folder holds, and keeps the folder with its mode.
pub(super) fn empty(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Regular files below a folder, each name counted.
pub(super) fn count_files(folder: &Path) -> Result<u64> {
    let mut files = 0;
    walk(folder, &mut |path| {
        files += u64::from(path.symlink_metadata()?.is_file());
        Ok(())
    })?;
    Ok(files)
}

/// Moves the modification times of all regular files and folders, the top one included. A file with two names moves once.
pub(super) fn shift_times(folder: &Path, by: Duration) -> Result<()> {
    let mut linked = std::collections::HashSet::new();
    walk(folder, &mut |path| {
        use std::os::unix::fs::MetadataExt;
        let metadata = path.symlink_metadata()?;
        let first = metadata.is_dir() || metadata.nlink() == 1 || linked.insert(metadata.ino());
        if (metadata.is_file() || metadata.is_dir()) && first {
            File::open(path)?.set_modified(metadata.modified()? + by)?;
        }
        Ok(())
    })
}

/// Calls `visit` for a folder and all below it, children first. Symbolic links are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    if path
        .symlink_metadata()
        .with_context(|| format!("reading {}", path.display()))?
        .is_dir()
    {
        for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
            walk(&entry?.path(), visit)?;
        }
    }
    visit(path).with_context(|| format!("at {}", path.display()))
}
