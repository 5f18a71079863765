//! Frees what nothing names any more: blobs of deleted functions, layers, versions and images.
//!
//! ```text
//! record ── zips of functions, versions, layers ──┐
//! repositories ── manifests ── links they need ───┴──> names ──> every other blob: noted, then removed
//! record ── devices of functions, versions ───────┐
//! repositories ── manifests ── their devices ─────┴──> names ──> every other device made here: noted, its record removed
//! ```
//! Names are looked up anew in each pass and never counted: a count that was wrong once would stay wrong. What a record
//! of a device kept in the store, the store's own collection frees.

use super::blobs::Blob;
use super::error::PackageError;
use super::push::{self, root_name};
use super::unnamed::UNNAMED_LIFE;
use super::{Packages, ZipCode};
use chunk::Account;
use image::images::ImageError;
use std::collections::HashSet;
use std::time::SystemTime;
use store::StoreError;

/// What a pass has freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Blobs that were removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Devices whose records were removed.
    pub devices: u64,
}

/// All that a record of functions names.
#[derive(Clone, Debug, Default)]
pub struct RecordNames {
    /// Zips of functions' versions and of layers.
    pub zips: Vec<ZipCode>,
    /// Names of devices, of whatever account.
    pub devices: HashSet<String>,
}

pub(super) async fn reclaim(packages: &Packages, names: RecordNames) -> Result<Reclaimed, PackageError> {
    packages
        .blocking(move |packages| {
            let now = SystemTime::now();
            let before = now.checked_sub(UNNAMED_LIFE).unwrap_or(SystemTime::UNIX_EPOCH);
            let zips = names
                .zips
                .iter()
                .filter_map(|zip| Blob::from_base64(&zip.sha256_base64));
            let mut named: HashSet<Blob> = zips.collect();
            packages.shared.repositories.sweep(before, &mut named)?;
            let mut devices = names.devices;
            devices.extend(named.iter().map(|blob| root_name(blob.hex())));
            let remove = |account: &Account, name: &str| remove_record(packages, account, name);
            let freed = packages.shared.blobs.sweep(before, &named)?;
            let devices = packages.shared.devices.sweep(before, &devices, remove)?;
            Ok(Reclaimed { devices, ..freed })
        })
        .await
}

fn remove_record(packages: &Packages, account: &Account, name: &str) -> Result<(), PackageError> {
    match packages.images(account).remove(name) {
        // Removed by hand, or never made.
        Ok(()) | Err(ImageError::Store(StoreError::Missing(_))) => Ok(()),
        Err(error) => Err(PackageError::internal(push::chain(&error))),
    }
}

#[cfg(test)]
mod tests;
