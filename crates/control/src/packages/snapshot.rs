//! Snapshots of environments, packed into devices.
//!
//! A snapshot is memory of one account's function: its chunks are salted for that account alone, so nobody else can
//! tell by a chunk's presence what the memory held. (Pages in it are not where chunks of the image begin, so sharing
//! with the image's own device would hardly ever happen.) Each is made once and has a name of its own.

use super::Packages;
use super::error::PackageError;
use super::held;
use super::tar_layer::TreeWriter;
use api::{ImageAddress, SNAPSHOT_DIRECTORY};
use chunk::{Account, SaltScope};
use image::source::ImageSource;
use image::source::platform::Platform;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

impl Packages {
    /// Makes a device of a snapshot's directory, with owners and modes, and removes the directory, also when that fails
    /// or nobody waits any more. Refuses one whose files are longer than `bytes_max` together.
    pub async fn keep_snapshot(
        &self,
        account: &Account,
        directory: PathBuf,
        bytes_max: u64,
    ) -> Result<ImageAddress, PackageError> {
        let directory = Removed(directory);
        let name = format!("lambda-snapshot-{}", Uuid::new_v4());
        let scope = SaltScope::Account(account.clone());
        let reference = name.clone();
        let source = move |packages: &Self| source(packages, reference, (&directory.0, bytes_max));
        self.make(account, name, scope, source).await
    }

    /// Takes back a snapshot that nothing has named. What cannot be removed now, the next pass of
    /// [`Packages::reclaim`] finds.
    pub async fn drop_snapshot(&self, device: &ImageAddress) {
        let device = device.clone();
        let dropped = self
            .blocking(move |packages| {
                held::release(packages, &device.account, &device.name)?;
                Ok(packages.shared.devices.forget_made(&device.account, &device.name)?)
            })
            .await;
        if let Err(error) = dropped {
            tracing::warn!(%error, "a snapshot that nothing needs stays for a day");
        }
    }
}

/// A directory that goes when this does.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(directory = %self.0.display(), %error, "a snapshot's directory stays behind"),
        }
    }
}

fn source(
    packages: &Packages,
    reference: String,
    (directory, bytes_max): (&Path, u64),
) -> Result<ImageSource, PackageError> {
    let scratch = packages.scratch()?.to_owned();
    let packed = TreeWriter::create(&scratch)
        .and_then(|writer| writer.pack(directory, Path::new(SNAPSHOT_DIRECTORY), bytes_max));
    let packed = packed.map_err(|error| {
        PackageError::internal(format!(
            "cannot pack the snapshot {}, of at most {bytes_max} bytes, in {}: {error}",
            directory.display(),
            scratch.display()
        ))
    })?;
    let source = ImageSource::of_layers(reference, Platform::host(), vec![packed]);
    source.map_err(|error| PackageError::internal(error.to_string()))
}

#[cfg(test)]
mod tests;
