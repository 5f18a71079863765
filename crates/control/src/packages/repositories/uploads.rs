//! Blobs on their way.
//!
//! ```text
//! DIRECTORY/uploads/ACCOUNT/NAME/UUID    the bytes so far; locked while a request writes
//! ```
//! The file is the whole state: its length is the offset, its age says when it expires. So an upload goes on after a
//! lost connection and after a restart.

use super::{Repositories, RepositoryError, RepositoryName};
use crate::packages::blobs::{self, Blob, failed, found, hash_file};
use chunk::Account;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Bytes of a blob. 10 GiB: a layer cannot be larger than the largest image that Lambda takes.
pub const BLOB_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;

/// How long an upload may lie untouched. A day: a push that a person goes on with the next morning.
const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Unfinished uploads of one repository. 1,000 are a hundred images of ten layers at once; they are files, and a client
/// that begins uploads without end shall fill no directory.
const UPLOADS_MAX: usize = 1_000;

/// An upload that this request alone writes.
#[derive(Debug)]
pub struct Upload {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Drop for Upload {
    /// Said and not left to closing: a child that another thread has just forked holds a copy of the file, and with it
    /// the lock, until it runs its program; the client's next request would find the upload busy.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!("cannot unlock the upload {}: {error}", self.path.display());
        }
    }
}

impl Repositories {
    /// Begins an upload, and removes those that have expired. Gives its id, a UUID.
    pub fn start_upload(&self, account: &Account, name: &RepositoryName) -> Result<String, RepositoryError> {
        let directory = self.uploads(account, name);
        if sweep(&directory)? >= UPLOADS_MAX {
            return Err(RepositoryError::TooMany {
                what: "unfinished uploads in one repository",
                max: UPLOADS_MAX,
                advice: "finish or cancel some; they expire after a day",
            });
        }
        let id = Uuid::new_v4().to_string();
        blobs::create_private(&directory.join(&id))?;
        Ok(id)
    }

    /// Takes an upload in order to write, finish or cancel it.
    pub fn open_upload(&self, account: &Account, name: &RepositoryName, id: &str) -> Result<Upload, RepositoryError> {
        // Parsed and written again, so that an id is never a path.
        let id = Uuid::parse_str(id).map_err(|_| RepositoryError::UploadUnknown)?;
        let path = self.uploads(account, name).join(id.to_string());
        let opened = found(File::options().read(true).write(true).open(&path)).map_err(failed("open", &path))?;
        let mut file = opened.ok_or(RepositoryError::UploadUnknown)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RepositoryError::UploadBusy),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error).into()),
        }
        // Finished by another between our open and our lock.
        if found(fs::metadata(&path)).map_err(failed("read", &path))?.is_none() {
            return Err(RepositoryError::UploadUnknown);
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed("read", &path))?;
        Ok(Upload { file, path, bytes })
    }

    /// Checks the digest, and makes the upload a blob of the repository.
    pub fn finish_upload(
        &self,
        account: &Account,
        name: &RepositoryName,
        (mut upload, expected): (Upload, &Blob),
    ) -> Result<(), RepositoryError> {
        let path = upload.path.clone();
        let found = hash_file(&mut upload.file).map_err(failed("read", &path))?;
        if found != *expected {
            upload.cancel()?;
            return Err(RepositoryError::DigestMismatch {
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        self.blobs().adopt(&upload.file, &path, expected)?;
        self.link_blob(account, name, expected)
    }
}

impl Upload {
    /// Bytes so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends; what came before a failure stays.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RepositoryError> {
        let after = self.bytes.saturating_add(bytes.len() as u64);
        if after > BLOB_BYTES_MAX {
            return Err(RepositoryError::BlobTooLarge {
                bytes_max: BLOB_BYTES_MAX,
            });
        }
        self.file.write_all(bytes).map_err(failed("write", &self.path))?;
        self.bytes = after;
        Ok(())
    }

    /// Forgets the upload.
    pub fn cancel(self) -> Result<(), RepositoryError> {
        Ok(fs::remove_file(&self.path).map_err(failed("remove", &self.path))?)
    }
}

/// Removes expired uploads and counts the others.
pub(super) fn sweep(directory: &Path) -> Result<usize, RepositoryError> {
    let Some(entries) = found(fs::read_dir(directory)).map_err(failed("read", directory))? else {
        return Ok(0);
    };
    let mut left = 0;
    for entry in entries {
        let entry = entry.map_err(failed("read", directory))?;
        let is_expired = |entry: &fs::DirEntry| -> io::Result<bool> {
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?);
            Ok(age.unwrap_or_default() > UPLOAD_LIFE)
        };
        // One that ends at this moment is no failure.
        match is_expired(&entry) {
            Ok(true) => drop(fs::remove_file(entry.path())),
            Ok(false) => left += 1,
            Err(_) => {}
        }
    }
    Ok(left)
}
