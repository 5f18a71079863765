//! Frees what nothing names any more: blobs of deleted functions, layers, versions and images.
//!
//! ```text
//! record ── zips of functions, versions, layers ──┐
//! repositories ── manifests ── links they need ───┴──> names ──> every other blob: noted, then removed
//! record ── devices of functions, versions ───────┐
//! runtimes ── their bases ────────────────────────┤
//! repositories ── manifests ── their devices ─────┴──> names ──> every other device used here: noted, then released
//! ```
//! Names are looked up anew in each pass and never counted: a count that was wrong once would stay wrong. What a record
//! of a device kept in the store, the store's own collection frees. In a store that others use, too, a released device
//! keeps its record for as long as another server holds it (`held`).

use super::blobs::Blob;
use super::error::PackageError;
use super::push::root_name;
use super::unnamed::UNNAMED_LIFE;
use super::{Packages, ZipCode, held};
use api::ImageAddress;
use chunk::Account;
use std::collections::HashSet;
use std::time::SystemTime;

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
    /// Where devices are.
    pub addresses: HashSet<ImageAddress>,
}

pub(super) async fn reclaim(packages: &Packages, names: RecordNames) -> Result<Reclaimed, PackageError> {
    let runtimes = packages.runtimes().await?;
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
            let freed = packages.shared.blobs.sweep(before, &named)?;
            held::mend(packages, &names)?;
            let mut devices = names.devices;
            devices.extend(named.iter().map(|blob| root_name(blob.hex())));
            devices.extend(runtimes.into_iter().map(|runtime| runtime.image.name));
            let release = |account: &Account, name: &str| held::release(packages, account, name);
            let devices = packages.shared.devices.sweep(before, &devices, release)?;
            Ok(Reclaimed { devices, ..freed })
        })
        .await
}

#[cfg(test)]
mod tests;
