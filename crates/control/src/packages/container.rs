//! Container images, from the built-in registry or any other, made into roots.

use super::Packages;
use super::base_layer::base_layer;
use super::error::PackageError;
use super::push::{chain, of_source, root_name};
use super::reference::{ImagePlace, OwnRegistry};
use super::repositories::{ManifestReference, RepositoryName};
use api::ImageAddress;
use chunk::Account;
use image::images::FoundImage;
use image::source::decode::DecodeError;
use image::source::error::SourceError;
use image::source::platform::Platform;
use image::source::registry::RegistryFault;
use image::source::{self, ImageSource};
use serde_json::Value;

/// An image whose device is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedImage {
    /// Its device.
    pub address: ImageAddress,
    /// `Entrypoint` of its configuration.
    pub entrypoint: Vec<String>,
    /// `Cmd` of its configuration.
    pub command: Vec<String>,
    /// `WorkingDir`; `/` where it names none.
    pub working_directory: String,
    /// `User`; empty where it names none.
    pub user: String,
    /// `Env`, in its order.
    pub environment: Vec<(String, String)>,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Of the manifest for the architecture: `sha256:…`.
    pub digest: String,
    /// Bytes of the device.
    pub bytes: u64,
}

/// What is asked for: where, and for which processor.
#[derive(Clone, Debug)]
struct Wanted {
    account: Account,
    uri: String,
    place: ImagePlace,
    platform: Platform,
}

pub(super) async fn resolve(
    packages: &Packages,
    account: &Account,
    uri: &str,
    architecture: &str,
) -> Result<String, PackageError> {
    let wanted = wanted(packages, account, uri, architecture)?;
    packages.blocking(move |packages| Ok(open(packages, &wanted)?.1)).await
}

pub(super) async fn prepare(
    packages: &Packages,
    account: &Account,
    uri: &str,
    architecture: &str,
) -> Result<PreparedImage, PackageError> {
    prepare_wanted(packages, wanted(packages, account, uri, architecture)?).await
}

pub(super) fn prepare_in_background(packages: &Packages, account: &Account, repository: &RepositoryName, digest: &str) {
    let Ok(reference @ ManifestReference::Digest(_)) = digest.parse() else {
        return;
    };
    let wanted = Wanted {
        account: account.clone(),
        uri: format!("{repository}@{digest}"),
        place: ImagePlace::BuiltIn {
            repository: repository.clone(),
            reference,
        },
        platform: Platform::host(),
    };
    let own = packages.clone();
    packages.shared.parts.runtime.spawn(async move {
        let uri = wanted.uri.clone();
        if let Err(error) = prepare_wanted(&own, wanted).await {
            // A chart, a signature or an image for another processor is pushed by right, and no function needs it.
            tracing::info!(image = uri, "not made into a device: {error}");
        }
    });
}

async fn prepare_wanted(packages: &Packages, wanted: Wanted) -> Result<PreparedImage, PackageError> {
    let account = wanted.account.clone();
    let (source, digest) = packages.blocking(move |packages| open(packages, &wanted)).await?;
    let name = root_name(digest.trim_start_matches("sha256:"));
    let address = packages
        .ensure(&account, name.clone(), move |packages| {
            Ok(source.with_base_layer(base_layer(packages.scratch()?)?))
        })
        .await?;
    let found = packages.found(&account, name).await?;
    let found = found.ok_or_else(|| PackageError::internal(format!("the image {digest} was removed: try again")))?;
    Ok(prepared(address, digest, &found))
}

fn prepared(address: ImageAddress, digest: String, found: &FoundImage) -> PreparedImage {
    let config = &found.details.config;
    let text = |pointer: &str| {
        config
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let list = |pointer: &str| texts(config.pointer(pointer));
    let environment = list("/config/Env").into_iter().map(|line| match line.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (line, String::new()),
    });
    let working_directory = text("/config/WorkingDir");
    PreparedImage {
        entrypoint: list("/config/Entrypoint"),
        command: list("/config/Cmd"),
        working_directory: if working_directory.is_empty() {
            "/".to_owned()
        } else {
            working_directory
        },
        user: text("/config/User"),
        environment: environment.collect(),
        architecture: if found.summary.platform.starts_with("linux/arm64") {
            "arm64"
        } else {
            "x86_64"
        }
        .to_owned(),
        bytes: found.summary.image_bytes,
        address,
        digest,
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn wanted(packages: &Packages, account: &Account, uri: &str, architecture: &str) -> Result<Wanted, PackageError> {
    let parts = &packages.shared.parts;
    let own = OwnRegistry {
        hosts: &parts.registry_hosts,
        region: &parts.region,
    };
    let architecture = match architecture {
        "x86_64" => "amd64",
        "arm64" => "arm64",
        other => return Err(PackageError::request(format!("Architecture {other} is not supported."))),
    };
    Ok(Wanted {
        account: account.clone(),
        uri: uri.to_owned(),
        place: own.place(account, uri)?,
        platform: Platform::new("linux", architecture, None),
    })
}

/// Reads the image's documents, and gives it with the digest of its manifest.
fn open(packages: &Packages, wanted: &Wanted) -> Result<(ImageSource, String), PackageError> {
    let parts = &packages.shared.parts;
    let options = packages.open_options(wanted.platform.clone())?;
    let opened = match &wanted.place {
        ImagePlace::Remote(spec) => source::open(spec, &options, &parts.runtime),
        ImagePlace::BuiltIn { repository, reference } => {
            let found = packages
                .shared
                .repositories
                .manifest(&wanted.account, repository, reference)?;
            let digest = found.ok_or_else(|| does_not_exist(&wanted.uri))?.blob.to_string();
            let digest = digest
                .parse()
                .map_err(|error| PackageError::internal(format!("{error}")))?;
            source::open_blobs(packages.shared.blobs.directory(), &digest, &wanted.uri, &options)
        }
    };
    let image = opened.map_err(|error| refused(&error, wanted))?;
    let digest = image.manifest_digest.as_ref().map(ToString::to_string);
    let digest = digest.ok_or_else(|| PackageError::internal(format!("{} has no digest", wanted.uri)))?;
    Ok((image, digest))
}

/// Lambda's words for what is wrong with an image.
fn refused(error: &SourceError, wanted: &Wanted) -> PackageError {
    let uri = &wanted.uri;
    match error {
        SourceError::Registry(fault) => match fault.fault {
            RegistryFault::Unknown => does_not_exist(uri),
            RegistryFault::Refused { .. } => PackageError::new(
                "ImageAccessDenied",
                format!("Lambda does not have permission to access the image {uri}: {fault}"),
            ),
            // The machine asks nobody but whom the request names: also what cannot be reached is the request's to mend.
            _ => PackageError::request(chain(error)),
        },
        SourceError::PlatformMissing { found, .. } => PackageError::new(
            "InvalidImage",
            format!(
                "The architecture of the image {uri} does not match the function's: the image is for {found}, the \
                 function for {}. Build the image for {0}, or set the function's Architectures.",
                wanted.platform
            ),
        ),
        SourceError::Document {
            source:
                DecodeError::MediaType { .. }
                | DecodeError::ForeignLayer { .. }
                | DecodeError::Schema1
                | DecodeError::SchemaVersion { .. },
            ..
        } => PackageError::request(format!(
            "The image manifest, config or layer media type for the source image {uri} is not supported. ({})",
            chain(error)
        )),
        _ => of_source(error),
    }
}

fn does_not_exist(uri: &str) -> PackageError {
    PackageError::request(format!(
        "Source image {uri} does not exist. Provide a valid source image."
    ))
}
