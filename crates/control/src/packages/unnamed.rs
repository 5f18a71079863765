//! Files that nothing names any more, and when they may go.
//!
//! ```text
//! DIRECTORY/HEX     empty; its modification time is when a pass first found that nothing names the file HEX
//! ```
//! A pass looks for names without stopping anybody who makes them, so it can be wrong about a file that is named at that
//! moment. Hence two rules. A file goes only when it has been without a name for [`UNNAMED_LIFE`], at every pass in
//! between. And who is going to name a file claims it first: that removes its note, and notes and removals exclude each
//! other, so a claimed file stays for that long at least, or the claim says that it is gone.
//!
//! A crash can leave a note without its file: it means nothing, and the next pass or the next claim removes it.

use super::blobs::{BlobError, failed, found, make_directory};
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// How long a file stays after its last name. A day: a push that a person goes on with the next morning, as for uploads
/// that are not finished; and time to notice that a wrong record was started on these files.
pub(super) const UNNAMED_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Held for reading by who claims, for writing by who removes; for the few calls that it takes, never while bytes move.
/// Of files these are calls of the kernel. Of devices they are requests to the object store with their retries: while a
/// store stalls in the removal of one device, whoever is about to name any device waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<RwLock<()>>);

/// The notes of one directory of files.
#[derive(Clone, Debug)]
pub(super) struct Unnamed {
    directory: PathBuf,
    claims: Claims,
}

impl Unnamed {
    pub(super) const fn new(directory: PathBuf, claims: Claims) -> Self {
        Self { directory, claims }
    }

    /// Says that a file is about to be named; gives its length, or `None` when there is no such file.
    pub(super) fn claim(&self, hex: &str, path: &Path) -> Result<Option<u64>, BlobError> {
        self.claim_with(hex, || {
            let metadata = found(fs::metadata(path)).map_err(failed("read", path))?;
            Ok(metadata.map(|metadata| metadata.len()))
        })
    }

    /// The same of anything that has a name: gives what `find` does.
    pub(super) fn claim_with<T, E: From<BlobError>>(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _claim = self.claims.0.read().unwrap_or_else(PoisonError::into_inner);
        self.forget(name)?;
        find()
    }

    /// Says that nothing names a file. Removes it, and gives its length, when that has been so since `before`.
    pub(super) fn expire(&self, hex: &str, path: &Path, before: SystemTime) -> Result<Option<u64>, BlobError> {
        self.expire_with(hex, before, || {
            // Gone already where its owner removed it meanwhile.
            let metadata = found(fs::metadata(path)).map_err(failed("read", path))?;
            found(fs::remove_file(path)).map_err(failed("remove", path))?;
            Ok(metadata.map_or(0, |metadata| metadata.len()))
        })
    }

    /// The same of anything that has a name: gives what `remove` does, which takes it away.
    pub(super) fn expire_with<T, E: From<BlobError>>(
        &self,
        name: &str,
        before: SystemTime,
        remove: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let _removal = self.claims.0.write().unwrap_or_else(PoisonError::into_inner);
        let note = self.directory.join(name);
        let noted = found(fs::metadata(&note).and_then(|note| note.modified())).map_err(failed("read", &note))?;
        match noted {
            None => {
                make_directory(&self.directory)?;
                File::create(&note).map_err(failed("create", &note))?;
                Ok(None)
            }
            Some(since) if since > before => Ok(None),
            Some(_) => {
                let removed = remove()?;
                self.forget(name)?;
                Ok(Some(removed))
            }
        }
    }

    /// Removes the notes of files that have a name again, or are gone.
    pub(super) fn keep(&self, is_unnamed: impl Fn(&str) -> bool) -> Result<(), BlobError> {
        for hex in file_names(&self.directory)? {
            if !is_unnamed(&hex) {
                self.forget(&hex)?;
            }
        }
        Ok(())
    }

    fn forget(&self, hex: &str) -> Result<(), BlobError> {
        let note = self.directory.join(hex);
        found(fs::remove_file(&note)).map_err(failed("remove", &note))?;
        Ok(())
    }
}

/// The names in a directory; none when it is missing. A name that is not UTF-8 is not ours.
pub(super) fn file_names(directory: &Path) -> Result<HashSet<String>, BlobError> {
    let Some(entries) = found(fs::read_dir(directory)).map_err(failed("read", directory))? else {
        return Ok(HashSet::new());
    };
    let mut names = HashSet::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_it_has_had_no_name_for_long_enough_and_a_claim_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (file, notes) = (directory.path().join("ab"), directory.path().join("notes"));
        let unnamed = Unnamed::new(notes.clone(), Claims::default());
        let (past, future) = (SystemTime::UNIX_EPOCH, SystemTime::now() + UNNAMED_LIFE);
        fs::write(&file, b"abc").unwrap();
        assert_eq!(unnamed.expire("ab", &file, future).unwrap(), None, "first seen now");
        assert_eq!(unnamed.expire("ab", &file, past).unwrap(), None, "not for long enough");
        assert_eq!(unnamed.claim("ab", &file).unwrap(), Some(3));
        assert_eq!(unnamed.expire("ab", &file, future).unwrap(), None, "seen anew");
        assert_eq!(unnamed.expire("ab", &file, future).unwrap(), Some(3));
        assert!(!file.exists() && file_names(&notes).unwrap().is_empty());
        assert_eq!(unnamed.claim("ab", &file).unwrap(), None);
        // What a crash between the two removals leaves.
        fs::write(notes.join("ab"), b"").unwrap();
        unnamed.keep(|_| false).unwrap();
        assert!(file_names(&notes).unwrap().is_empty());
    }
}
