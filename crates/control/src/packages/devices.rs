//! The devices that these packages made, so that the records of those which nothing needs any more can be removed.
//!
//! ```text
//! DIRECTORY/devices/server                  this server's id among those that share the store
//! DIRECTORY/devices/made/ACCOUNT/NAME       empty: made or found from here, so this server may hold it in the store
//! DIRECTORY/devices/unnamed/ACCOUNT/NAME    nothing names this device; see `unnamed`
//! ```
//! A device's record in the store is what keeps its chunks. It goes a day after the last version of a function that has
//! it, the last image in the registry that it was made from, and the last runtime that it is the base of. Removing a
//! record takes nothing from who has the device mounted: its chunks stay for as long as the collector's graces, and the
//! same package asked for again is made again.
//!
//! Whoever is about to name a device claims it (`ensure`). Other servers may use the same store, even the same account.
//! Each holds in the store what it names (`store::holds`), and a record goes only when no other server holds the device:
//! the last one that needs it removes it, whoever made it.

use super::blobs::{self, BlobError, failed, found, make_directory};
use super::error::PackageError;
use super::unnamed::{Claims, Unnamed, file_names};
use chunk::Account;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use store::ServerId;

/// How a device's name begins, whatever it was made from.
pub(crate) const DEVICE_PREFIX: &str = "lambda-";

/// What is known of them. All functions block.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    directory: PathBuf,
    claims: Claims,
    server: Arc<Mutex<Option<ServerId>>>,
}

impl Devices {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            claims: Claims::default(),
            server: Arc::default(),
        }
    }

    /// This server's id: `draw` gives it at the first use of the directory.
    pub(super) fn server(&self, draw: impl FnOnce() -> ServerId) -> Result<ServerId, PackageError> {
        let mut known = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = *known {
            return Ok(server);
        }
        let path = self.directory.join("server");
        let server = match blobs::read_file(&path)? {
            Some(bytes) => parse_server(&bytes).ok_or_else(|| {
                let path = path.display();
                PackageError::internal(format!(
                    "{path} is not a server's id: restore it, or remove it to draw another"
                ))
            })?,
            None => {
                let server = draw();
                blobs::write_file(&path, format!("{server}\n").as_bytes())?;
                server
            }
        };
        Ok(*known.insert(server))
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

    /// Says that a device is about to be made or held here, so that a sweep looks at it.
    pub(super) fn note_made(&self, account: &Account, name: &str) -> Result<(), BlobError> {
        let directory = self.made(account);
        make_directory(&directory)?;
        let path = directory.join(name);
        File::create(&path).map(drop).map_err(failed("create", &path))
    }

    /// Says that a device has been taken back before anything named it.
    pub(super) fn forget_made(&self, account: &Account, name: &str) -> Result<(), BlobError> {
        let path = self.made(account).join(name);
        found(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        Ok(())
    }

    /// Releases the devices that nothing has named since `before`; gives the number of those for which `release` says
    /// that their records went.
    pub(super) fn sweep(
        &self,
        before: SystemTime,
        named: &HashSet<String>,
        release: impl Fn(&Account, &str) -> Result<bool, PackageError>,
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
                    let removed = release(&account, &name)?;
                    // Last: a crash before is made up for by the next pass.
                    let path = self.made(&account).join(&name);
                    found(fs::remove_file(&path)).map_err(failed("remove", &path))?;
                    Ok::<_, PackageError>(removed)
                })?;
                removed += u64::from(gone == Some(true));
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

fn parse_server(bytes: &[u8]) -> Option<ServerId> {
    std::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}
