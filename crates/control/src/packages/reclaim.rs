//! Frees what nothing names any more: blobs of deleted functions, layers, versions and images.
//!
//! ```text
//! record ── zips of functions, versions, layers ──┐
//! repositories ── manifests ── links they need ───┴──> names ──> every other blob: noted, then removed
//! ```
//! Names are looked up anew in each pass and never counted: a count that was wrong once would stay wrong. Devices that
//! were made from the blobs stay, whoever mounts them.

use super::blobs::Blob;
use super::error::PackageError;
use super::unnamed::UNNAMED_LIFE;
use super::{Packages, ZipCode};
use std::collections::HashSet;
use std::time::SystemTime;

/// What a pass has freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Blobs that were removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

pub(super) async fn reclaim(packages: &Packages, zips: Vec<ZipCode>) -> Result<Reclaimed, PackageError> {
    packages
        .blocking(move |packages| {
            let now = SystemTime::now();
            let before = now.checked_sub(UNNAMED_LIFE).unwrap_or(SystemTime::UNIX_EPOCH);
            let zips = zips.iter().filter_map(|zip| Blob::from_base64(&zip.sha256_base64));
            let mut named: HashSet<Blob> = zips.collect();
            packages.shared.repositories.sweep(before, &mut named)?;
            Ok(packages.shared.blobs.sweep(before, &named)?)
        })
        .await
}

#[cfg(test)]
mod tests;
