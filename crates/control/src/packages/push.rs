//! From a source to a device that is pushed once.

use super::error::PackageError;
use super::{Packages, base_layer, blobs, held};
use api::ImageAddress;
use chunk::{Account, Compression, SaltScope};
use image::images::{FoundImage, ImageError, Images};
use image::push::{PushError, PushProgress, PushSettings};
use image::record::RecordSummary;
use image::source::error::{SourceError, SourceErrorKind};
use image::source::platform::Platform;
use image::source::{ImageSource, Limits, OpenOptions};
use std::error::Error;
use std::path::Path;
use store::{StoreError, WriteMode};

/// Plain bytes of an image. 10 GiB: the largest that Lambda takes.
const UNPACKED_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;

/// Entries of an image's layers: the default of `lambent image push`.
const ENTRIES_MAX: u64 = 500_000;

impl Packages {
    /// The account's images. Its functions block.
    pub(super) fn images(&self, account: &Account) -> Images {
        let parts = &self.shared.parts;
        Images {
            store: parts.store.clone(),
            keys: parts.keys.clone(),
            account: account.clone(),
            runtime: parts.runtime.clone(),
        }
    }

    /// Where layers are unpacked; made at its first use.
    pub(super) fn scratch(&self) -> Result<&Path, PackageError> {
        let scratch = &self.shared.parts.scratch_directory;
        blobs::make_directory(scratch)?;
        Ok(scratch)
    }

    /// How images are opened.
    pub(super) fn open_options(&self, platform: Platform) -> Result<OpenOptions, PackageError> {
        let parts = &self.shared.parts;
        Ok(OpenOptions {
            platform: Some(platform),
            docker_config: parts.docker_config.clone(),
            plain_http: parts.plain_http.clone(),
            scratch_dir: self.scratch()?.to_owned(),
            limits: Limits {
                unpacked_bytes_max: UNPACKED_BYTES_MAX,
            },
        })
    }

    /// Runs work that blocks on a thread of its own.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, PackageError> + Send + 'static,
    ) -> Result<T, PackageError> {
        let packages = self.clone();
        let done = self.shared.parts.runtime.spawn_blocking(move || work(&packages)).await;
        done.unwrap_or_else(|error| Err(PackageError::internal(format!("preparing a package ended: {error}"))))
    }

    /// Finds the device of this name, or makes it from what `source` gives. However many ask, it is made once; work
    /// that has begun goes on when nobody waits any more.
    pub(super) async fn ensure(
        &self,
        account: &Account,
        name: String,
        source: impl FnOnce(&Self) -> Result<ImageSource, PackageError> + Send + 'static,
    ) -> Result<ImageAddress, PackageError> {
        let account = account.clone();
        let turn = self.shared.turns.take(format!("{account}/{name}")).await;
        let permit = self.shared.pushes.clone().acquire_owned().await;
        self.blocking(move |packages| {
            let _held = (turn, permit);
            let images = packages.images(&account);
            let devices = &packages.shared.devices;
            // Before it can be held, so that a sweep knows of it whatever happens next.
            devices.note_made(&account, &name)?;
            let claim = || devices.claim(&account, &name, || held::find(packages, &images, &name));
            if let Some(found) = claim()? {
                return address(&account, &found);
            }
            let source = source(packages)?;
            push(packages, &images, (&name, SaltScope::Shared), &source)?;
            let made = claim()?.ok_or_else(|| {
                PackageError::internal(format!("device {name} was removed while it was made: try again"))
            })?;
            address(&account, &made)
        })
        .await
    }

    /// Makes a device under a name that nobody else has, from what `source` gives.
    pub(super) async fn make(
        &self,
        account: &Account,
        name: String,
        scope: SaltScope,
        source: impl FnOnce(&Self) -> Result<ImageSource, PackageError> + Send + 'static,
    ) -> Result<ImageAddress, PackageError> {
        let account = account.clone();
        let permit = self.shared.pushes.clone().acquire_owned().await;
        self.blocking(move |packages| {
            let _held = permit;
            let source = source(packages)?;
            packages.shared.devices.note_made(&account, &name)?;
            let images = packages.images(&account);
            push(packages, &images, (&name, scope), &source)?;
            let made = held::find(packages, &images, &name)?;
            let made =
                made.ok_or_else(|| PackageError::internal(format!("device {name} was removed as it was made")))?;
            address(&account, &made)
        })
        .await
    }

    /// The record of a device that was made before.
    pub(super) async fn found(&self, account: &Account, name: String) -> Result<Option<FoundImage>, PackageError> {
        let account = account.clone();
        self.blocking(move |packages| {
            let found = packages.images(&account).find(&name);
            found.map_err(|error| PackageError::internal(error.to_string()))
        })
        .await
    }
}

/// The name under which a root of this manifest is stored.
pub(super) fn root_name(manifest_hex: &str) -> String {
    format!("lambda-image-{}-{manifest_hex}", base_layer::BASE_LAYER_VERSION)
}

/// Where a stored image's device is.
pub(super) fn address(account: &Account, summary: &RecordSummary) -> Result<ImageAddress, PackageError> {
    let manifest = summary
        .manifest_id()
        .map_err(|error| PackageError::internal(error.to_string()))?;
    Ok(ImageAddress {
        name: summary.name.clone(),
        account: account.clone(),
        generation: summary.generation,
        manifest,
    })
}

/// Removes a device's record; that there is none is no error.
pub(super) fn remove_record(packages: &Packages, account: &Account, name: &str) -> Result<(), PackageError> {
    match packages.images(account).remove(name) {
        // Removed by hand, or never made.
        Ok(()) | Err(ImageError::Store(StoreError::Missing(_))) => Ok(()),
        Err(error) => Err(PackageError::internal(chain(&error))),
    }
}

fn push(
    packages: &Packages,
    images: &Images,
    (name, scope): (&str, SaltScope),
    source: &ImageSource,
) -> Result<RecordSummary, PackageError> {
    let settings = PushSettings {
        name: name.to_owned(),
        compression: Compression::Lz4,
        scope,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        unpacked_bytes_max: UNPACKED_BYTES_MAX,
        entries_max: ENTRIES_MAX,
        scratch_dir: packages.scratch()?.to_owned(),
        mode: WriteMode::Store,
    };
    let report = images
        .push(source, &settings, &PushProgress::default())
        .map_err(of_push)?;
    for warning in &report.warnings {
        tracing::warn!(image = source.reference, "{warning}");
    }
    tracing::info!(
        image = source.reference,
        name,
        image_bytes = report.summary.image_bytes,
        stored_bytes = report.written.bytes_new,
        ms = report.seconds.total().as_millis(),
        "made a device"
    );
    Ok(report.summary)
}

fn of_push(error: PushError) -> PackageError {
    match error {
        PushError::Source(source) => of_source(&source),
        PushError::Flatten { .. } => PackageError::new("InvalidImage", chain(&error)),
        PushError::Read { .. } | PushError::Store(_) | PushError::Key(_) | PushError::Scratch { .. } => {
            PackageError::internal(chain(&error))
        }
    }
}

/// A source's fault where nothing more is known of it than its kind.
pub(super) fn of_source(error: &SourceError) -> PackageError {
    match (error, error.kind()) {
        (SourceError::Scratch { .. }, _) | (_, SourceErrorKind::Retry) => PackageError::internal(chain(error)),
        _ => PackageError::new("InvalidImage", chain(error)),
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Errors of one line often say their cause already.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
