//! The built-in registry's repositories, as small files.
//!
//! ```text
//! DIRECTORY/repositories/ACCOUNT/NAME/    NAME with `@` for `/`
//!   created        milliseconds since 1970
//!   blobs/HEX      empty: the repository has this blob
//!   unnamed/HEX    no manifest names this blob; see `unnamed`
//!   manifests/HEX  the manifest's media type; its bytes are a blob
//!   tags/TAG       `sha256:HEX`
//! ```
//! Bytes lie in [`Blobs`], once for all accounts; what an account can see is decided by these links alone. A link is
//! made only by who has sent the bytes, or has them in another repository of the same account: nobody gets a blob by
//! knowing its digest. Every file is written by a rename, so a crash leaves the old state or the new one.
//!
//! All functions block.

mod error;
mod manifests;
mod name;
mod sweep;
mod uploads;

#[cfg(test)]
mod tests;

pub use error::RepositoryError;
pub use manifests::{FoundManifest, MANIFEST_BYTES_MAX, StoredManifest, manifest_names};
pub use name::{ManifestReference, NameParseError, RepositoryName, Tag};
pub use uploads::{BLOB_BYTES_MAX, Upload};

use super::blobs::{self, Blob, Blobs, failed, found};
use super::unnamed::Unnamed;
use chunk::Account;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Repositories of one account. ECR's default quota is 100,000; these are directories, and a tenth is plenty.
const REPOSITORIES_MAX: usize = 10_000;

/// Repositories of all accounts.
#[derive(Clone, Debug)]
pub struct Repositories {
    directory: PathBuf,
    blobs: Blobs,
}

impl Repositories {
    pub(super) const fn new(directory: PathBuf, blobs: Blobs) -> Self {
        Self { directory, blobs }
    }

    /// Where the bytes are.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Makes the repository if it is missing; false when it was there.
    pub fn create_repository(&self, account: &Account, name: &RepositoryName) -> Result<bool, RepositoryError> {
        let is_new = self.created_ms(account, name)?.is_none();
        self.create(account, name)?;
        Ok(is_new)
    }

    /// When a repository was made, milliseconds since 1970; `None` when there is none.
    pub fn created_ms(&self, account: &Account, name: &RepositoryName) -> Result<Option<u64>, RepositoryError> {
        let text = blobs::read_file(&self.repository(account, name).join("created"))?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)))
    }

    /// Removes a repository with its tags. What was made of its images stays, and so do functions.
    pub fn delete_repository(&self, account: &Account, name: &RepositoryName) -> Result<(), RepositoryError> {
        let directory = self.existing(account, name)?;
        for directory in [directory, self.uploads(account, name)] {
            found(fs::remove_dir_all(&directory)).map_err(failed("remove", &directory))?;
        }
        Ok(())
    }

    /// Some of the account's repositories in their order: at most `count`, those after `last`; and whether there are
    /// more.
    pub fn list(
        &self,
        account: &Account,
        (count, last): (usize, Option<&str>),
    ) -> Result<(Vec<String>, bool), RepositoryError> {
        let names = names_in(&self.account(account))?;
        let names = names.iter().filter_map(|name| RepositoryName::from_file_name(name));
        let mut names: Vec<String> = names.map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        Ok(page(names, count, last))
    }

    /// A blob's length; `None` when the repository does not have it. Who is told that it is there relies on it, so it
    /// stays for a day at least.
    pub fn blob_bytes(
        &self,
        account: &Account,
        name: &RepositoryName,
        blob: &Blob,
    ) -> Result<Option<u64>, RepositoryError> {
        self.claim(&self.repository(account, name), blob)
    }

    /// Gives a repository a blob that another one of the account has; false when that one does not.
    pub fn mount_blob(
        &self,
        account: &Account,
        (from, to): (&RepositoryName, &RepositoryName),
        blob: &Blob,
    ) -> Result<bool, RepositoryError> {
        if self.blob_bytes(account, from, blob)?.is_none() {
            return Ok(false);
        }
        self.link_blob(account, to, blob)?;
        Ok(true)
    }

    /// Takes a blob out of a repository; its bytes stay for others.
    pub fn delete_blob(&self, account: &Account, name: &RepositoryName, blob: &Blob) -> Result<(), RepositoryError> {
        let link = self.link(account, name, blob);
        let removed = found(fs::remove_file(&link)).map_err(failed("remove", &link))?;
        removed.ok_or_else(|| RepositoryError::BlobUnknown {
            digest: blob.to_string(),
        })
    }

    /// The same for a repository's directory.
    fn claim(&self, repository: &Path, blob: &Blob) -> Result<Option<u64>, RepositoryError> {
        let link = repository.join("blobs").join(blob.hex());
        if self.unnamed(repository).claim(blob.hex(), &link)?.is_none() {
            return Ok(None);
        }
        Ok(self.blobs.claim(blob)?)
    }

    fn unnamed(&self, repository: &Path) -> Unnamed {
        Unnamed::new(repository.join("unnamed"), self.blobs.claims())
    }

    fn link_blob(&self, account: &Account, name: &RepositoryName, blob: &Blob) -> Result<(), RepositoryError> {
        let repository = self.create(account, name)?;
        let link = self.link(account, name, blob);
        self.unnamed(&repository).claim(blob.hex(), &link)?;
        Ok(blobs::write_file(&link, b"")?)
    }

    /// The repository's directory, made if it is missing.
    fn create(&self, account: &Account, name: &RepositoryName) -> Result<PathBuf, RepositoryError> {
        let directory = self.repository(account, name);
        if self.created_ms(account, name)?.is_some() {
            return Ok(directory);
        }
        if names_in(&self.account(account))?.len() >= REPOSITORIES_MAX {
            return Err(RepositoryError::TooMany {
                what: "repositories in one account",
                max: REPOSITORIES_MAX,
                advice: "delete some",
            });
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        blobs::write_file(&directory.join("created"), since.as_millis().to_string().as_bytes())?;
        Ok(directory)
    }

    fn existing(&self, account: &Account, name: &RepositoryName) -> Result<PathBuf, RepositoryError> {
        match self.created_ms(account, name)? {
            Some(_) => Ok(self.repository(account, name)),
            None => Err(RepositoryError::NameUnknown { name: name.to_string() }),
        }
    }

    fn account(&self, account: &Account) -> PathBuf {
        self.directory.join("repositories").join(account.as_str())
    }

    fn repository(&self, account: &Account, name: &RepositoryName) -> PathBuf {
        self.account(account).join(name.file_name())
    }

    fn uploads(&self, account: &Account, name: &RepositoryName) -> PathBuf {
        self.directory
            .join("uploads")
            .join(account.as_str())
            .join(name.file_name())
    }

    fn link(&self, account: &Account, name: &RepositoryName, blob: &Blob) -> PathBuf {
        self.repository(account, name).join("blobs").join(blob.hex())
    }
}

/// The names in a directory, in byte order; none when it is missing. Files on their way begin with a dot.
fn names_in(directory: &Path) -> Result<Vec<String>, RepositoryError> {
    let Some(entries) = found(fs::read_dir(directory)).map_err(failed("read", directory))? else {
        return Ok(Vec::new());
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let names = names.map_err(failed("read", directory))?.into_iter();
    let mut names: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The part of a sorted list that a client asked for, and whether there is more behind it.
fn page(sorted: Vec<String>, count: usize, last: Option<&str>) -> (Vec<String>, bool) {
    let mut rest = sorted
        .into_iter()
        .skip_while(|name| last.is_some_and(|last| name.as_str() <= last));
    let taken: Vec<String> = rest.by_ref().take(count).collect();
    let has_more = rest.next().is_some();
    (taken, has_more)
}
