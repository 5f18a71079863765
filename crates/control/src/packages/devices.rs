//! The devices that these packages made, so that the records of those which nothing needs any more can be removed.
//!
//! ```text
//! DIRECTORY/devices/made/ACCOUNT/NAME       empty: made here, from this directory's packages
//! DIRECTORY/devices/unnamed/ACCOUNT/NAME    nothing names this device; see `unnamed`
//! ```
//! A device's record in the store is what keeps its chunks. It goes a day after the last version of a function that has
//! it and the last image in the registry that it was made from. Removing a record takes nothing from who has the device
//! mounted: its chunks stay for as long as the collector's graces, and the same package asked for again is made again.
//!
//! Whoever is about to name a device claims it (`ensure`). A device that somebody else's packages made in the same store
//! is left alone, and so is every base of a runtime: those belong to no account, and other machines may have found them.

use super::blobs::{BlobError, failed, found, make_directory};
use super::error::PackageError;
use super::unnamed::{Claims, Unnamed, file_names};
use chunk::Account;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::SystemTime;

/// How a device's name begins, whatever it was made from.
pub(crate) const DEVICE_PREFIX: &str = "lambda-";

/// What is known of them. All functions block.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    directory: PathBuf,
    claims: Claims,
}

impl Devices {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            claims: Claims::default(),
        }
    }

    /// Looks for a device with `find`; what it finds stays for a day at least.
    pub(super) fn claim<T>(
        &self,
        account: &Account,
        name: &str,
        find: impl FnOnce() -> Result<T, PackageError>,
    ) -> Result<T, PackageError> {
        self.unnamed(account).claim_with(name, find)
    }

    /// Says that a device is about to be made here.
    pub(super) fn note_made(&self, account: &Account, name: &str) -> Result<(), BlobError> {
        let directory = self.made(account);
        make_directory(&directory)?;
        let path = directory.join(name);
        File::create(&path).map(drop).map_err(failed("create", &path))
    }

    /// Has the records of devices removed that nothing has named since `before`; gives their number.
    pub(super) fn sweep(
        &self,
        before: SystemTime,
        named: &HashSet<String>,
        remove: impl Fn(&Account, &str) -> Result<(), PackageError>,
    ) -> Result<u64, PackageError> {
        let mut removed = 0;
        for account in file_names(&self.directory.join("made"))? {
            let Ok(account) = account.parse::<Account>() else {
                continue;
            };
            let mut unnamed = HashSet::new();
            for name in file_names(&self.made(&account))? {
                if named.contains(&name) {
                    continue;
                }
                let gone = self.unnamed(&account).expire_with(&name, before, || {
                    remove(&account, &name)?;
                    let path = self.made(&account).join(&name);
                    Ok::<_, PackageError>(found(fs::remove_file(&path)).map_err(failed("remove", &path))?)
                })?;
                removed += u64::from(gone.is_some());
                unnamed.insert(name);
            }
            self.unnamed(&account).keep(|name| unnamed.contains(name))?;
        }
        Ok(removed)
    }

    fn made(&self, account: &Account) -> PathBuf {
        self.directory.join("made").join(account.as_str())
    }

    fn unnamed(&self, account: &Account) -> Unnamed {
        let notes = self.directory.join("unnamed").join(account.as_str());
        Unnamed::new(notes, self.claims.clone())
    }
}
