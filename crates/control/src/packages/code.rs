//! Zips: stored, and turned into the device with a function's code and layers.

use super::blobs::Blob;
use super::error::PackageError;
use super::tar_layer::{Attributes, LayerWriter, UnderDirectory};
use super::zip_entries::{CheckedZip, Discard, EntryKind, UNZIPPED_BYTES_MAX, ZipFault};
use super::{Packages, ZipCode, push};
use api::ImageAddress;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use chunk::Account;
use image::source::ImageSource;
use image::source::made::TarLayer;
use image::source::platform::Platform;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

/// What a layout of a zip's device is called by. Raise it when the same zips shall give another device.
const DEVICE_VERSION: u32 = 1;

/// Layers of a function: Lambda's limit.
const LAYERS_MAX: usize = 5;

/// The two directories themselves.
const DIRECTORY: Attributes = Attributes {
    mode: 0o755,
    modified: 0,
};

pub(super) async fn put_zip(packages: &Packages, _account: &Account, bytes: Bytes) -> Result<ZipCode, PackageError> {
    let length = bytes.len() as u64;
    if length > UNZIPPED_BYTES_MAX {
        // What is longer than its content may be is no zip of it; and it is not worth unpacking to find out.
        return Err(ZipFault::TooLong.into());
    }
    let blob = packages
        .blocking(move |packages| {
            zip_paths(&bytes)?;
            Ok(packages.shared.blobs.put(&bytes)?)
        })
        .await?;
    Ok(ZipCode {
        sha256_base64: blob.base64(),
        bytes: length,
    })
}

pub(super) async fn zip_bytes(packages: &Packages, code: &ZipCode) -> Result<Bytes, PackageError> {
    let (code, blob) = (code.clone(), blob_of(code)?);
    packages
        .blocking(move |packages| {
            let bytes = packages.shared.blobs.read(&blob, UNZIPPED_BYTES_MAX)?;
            bytes.map(Bytes::from).ok_or_else(|| missing(&code))
        })
        .await
}

pub(super) async fn prepare_zip(
    packages: &Packages,
    account: &Account,
    code: &ZipCode,
    layers: &[ZipCode],
) -> Result<ImageAddress, PackageError> {
    if layers.len() > LAYERS_MAX {
        return Err(PackageError::request(format!(
            "Layers consists of more than {LAYERS_MAX} layers"
        )));
    }
    let (name, code, layers) = (device_name(code, layers), code.clone(), layers.to_vec());
    let reference = name.clone();
    packages
        .ensure(account, name, move |packages| {
            source(packages, reference, &code, &layers)
        })
        .await
}

pub(super) async fn bootstrap(
    packages: &Packages,
    code: &ZipCode,
    layers: &[ZipCode],
) -> Result<&'static str, PackageError> {
    let (code, layers) = (code.clone(), layers.to_vec());
    packages
        .blocking(move |packages| {
            let has_bootstrap = |code: &ZipCode| {
                let zip = open(packages, code)?;
                let mut entries = zip.entries().iter();
                Ok(entries.any(|entry| entry.path == "bootstrap" && entry.kind != EntryKind::Directory))
            };
            if has_bootstrap(&code)? {
                return Ok("/var/task/bootstrap");
            }
            let in_layers = layers
                .iter()
                .map(has_bootstrap)
                .collect::<Result<Vec<bool>, PackageError>>()?;
            if in_layers.contains(&true) {
                return Ok("/opt/bootstrap");
            }
            Ok("/var/task/bootstrap")
        })
        .await
}

/// One name for one content: the inputs' digests, in their order, with the version of what is made from them.
fn device_name(code: &ZipCode, layers: &[ZipCode]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(format!("{DEVICE_VERSION}\n{}\n", code.sha256_base64).as_bytes());
    for layer in layers {
        context.update(format!("{}\n", layer.sha256_base64).as_bytes());
    }
    format!("lambda-zip-{}", hex::encode(context.finish()))
}

/// Checks a zip whole, as it is before it is stored, and gives the paths of its entries: relative, of plain components.
///
/// # Errors
/// If it would be refused.
pub fn zip_paths(bytes: &[u8]) -> Result<Vec<String>, PackageError> {
    let mut zip = CheckedZip::open(Cursor::new(bytes))?;
    zip.unpack(&mut Discard)?;
    Ok(zip.entries().iter().map(|entry| entry.path.clone()).collect())
}

/// The function's layers one over the other under `opt`, then its code under `task`.
fn source(
    packages: &Packages,
    reference: String,
    code: &ZipCode,
    layers: &[ZipCode],
) -> Result<ImageSource, PackageError> {
    let scratch = packages.scratch()?.to_owned();
    let mut tars = vec![directories(&scratch).map_err(|error| not_written(&error))?];
    let mut bytes_left = UNZIPPED_BYTES_MAX;
    let parts = layers.iter().map(|layer| (layer, "opt")).chain([(code, "task")]);
    for (part, directory) in parts {
        let (tar, bytes) = tar_of(open(packages, part)?, directory, &scratch)?;
        bytes_left = bytes_left
            .checked_sub(bytes)
            .ok_or_else(|| too_long_together(layers.len()))?;
        tars.push(tar);
    }
    let source = ImageSource::of_layers(reference, Platform::host(), tars);
    source.map_err(|error| PackageError::internal(error.to_string()))
}

fn directories(scratch: &Path) -> io::Result<TarLayer> {
    let mut writer = LayerWriter::create(scratch)?;
    writer.directory("opt", DIRECTORY)?;
    writer.directory("task", DIRECTORY)?;
    writer.finish()
}

fn tar_of(mut zip: CheckedZip<File>, directory: &str, scratch: &Path) -> Result<(TarLayer, u64), PackageError> {
    let mut writer = LayerWriter::create(scratch).map_err(|error| not_written(&error))?;
    let mut sink = UnderDirectory {
        writer: &mut writer,
        directory,
    };
    let bytes = zip.unpack(&mut sink).map_err(PackageError::from)?;
    let tar = writer.finish().map_err(|error| not_written(&error))?;
    Ok((tar, bytes))
}

fn open(packages: &Packages, code: &ZipCode) -> Result<CheckedZip<File>, PackageError> {
    let file = packages.shared.blobs.open(&blob_of(code)?)?;
    CheckedZip::open(file.ok_or_else(|| missing(code))?).map_err(PackageError::from)
}

fn blob_of(code: &ZipCode) -> Result<Blob, PackageError> {
    Blob::from_base64(&code.sha256_base64).ok_or_else(|| missing(code))
}

fn missing(code: &ZipCode) -> PackageError {
    let digest: String = code.sha256_base64.chars().take(64).collect();
    PackageError::internal(format!(
        "the stored code {digest} is missing: update the function's code again"
    ))
}

fn too_long_together(layers: usize) -> PackageError {
    if layers == 0 {
        return ZipFault::TooLong.into();
    }
    PackageError::request(format!(
        "Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_BYTES_MAX} bytes."
    ))
}

fn not_written(error: &io::Error) -> PackageError {
    PackageError::internal(format!("cannot unpack a zip to the scratch directory: {error}"))
}

impl From<ZipFault> for PackageError {
    fn from(fault: ZipFault) -> Self {
        match &fault {
            ZipFault::Sink(_) => Self::internal(push::chain(&fault)),
            ZipFault::NotAZip(_)
            | ZipFault::Entry { .. }
            | ZipFault::Duplicate
            | ZipFault::TooMany { .. }
            | ZipFault::TooLong => Self::request(fault.to_string()),
        }
    }
}
