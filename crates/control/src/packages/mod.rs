//! What functions are made of: zips, container images and runtimes, each turned into a stored device once.
//!
//! ```text
//! zip ──────────── checked ──> blob ──┐
//! layers ──────────checked ──> blob ──┴─ one tar layer each ──┐
//! docker push ──> blobs, manifest, tag ─── image source ──────┼──> image::push ──> ImageAddress
//! any registry ─────────────────────────── image source ──────┤
//! operator's runtime image ─────────────── image source ──────┘
//! ```
//! Blobs are files named by their SHA-256. A device's name says what it was made from, so the same inputs are pushed
//! once, however often and however many at once they are asked for. Every image that can be a root has an extra layer
//! *below* its own ([`base_layer`]) with the directories that a sandbox mounts on: what the image has itself wins.
//!
//! What this never does: run anything of a package, extract anything to a path that a package names, or give one
//! account another's repositories.
//!
//! Read first: [`Packages`], [`Blobs`], [`Repositories`].

mod base_layer;
mod blobs;
mod code;
mod container;
mod devices;
mod error;
mod held;
mod objects;
mod push;
mod reclaim;
mod reference;
pub mod repositories;
mod runtimes;
mod snapshot;
mod start_command;
mod tar_layer;
mod token;
mod turns;
mod unnamed;
mod zip_entries;

#[cfg(test)]
mod tests;

pub use blobs::{Blob, BlobError, BlobParseError, Blobs};
pub use code::zip_paths;
pub use container::PreparedImage;
pub use error::PackageError;
pub use objects::{S3Access, S3Credentials};
pub use reclaim::{Reclaimed, RecordNames};
pub use reference::{ImagePlace, OwnRegistry};
pub use repositories::Repositories;
pub use runtimes::{RegisteredRuntime, RuntimeBase};
pub use token::{REGISTRY_TOKEN_LIFE, RegistryTokens};

use bytes::Bytes;
use chunk::Account;
pub(crate) use devices::DEVICE_PREFIX;
use devices::Devices;
use image::source::spec::SourceSpec;
use keys::KeyProvider;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;
use tokio::sync::Semaphore;
use turns::Turns;

/// Packages turned into devices at once. Two: one waits for a registry while the other uses the processors, and each
/// holds its unpacked layers in the scratch directory.
const PUSHES_MAX: usize = 2;

/// What packages need from elsewhere.
#[derive(Debug)]
pub struct PackagesParts {
    /// Where devices go.
    pub store: Store,
    /// Who wraps their keys.
    pub keys: KeyProvider,
    /// Where store, keys and registries do their waiting; of the multi-thread flavour.
    pub runtime: tokio::runtime::Handle,
    /// A directory of our own, made if it is missing: `blobs/sha256/`, `devices/`, `uploads/`, `repositories/`, `runtimes.json`,
    /// `token.key`.
    pub directory: PathBuf,
    /// Holds unlinked files with unpacked layers; made if it is missing.
    pub scratch_directory: PathBuf,
    /// Region in the names of the built-in registry, `ACCOUNT.dkr.ecr.REGION.amazonaws.com`.
    pub region: String,
    /// Addresses of the gateway as they stand in image references, `HOST` or `HOST:PORT`. Names of this machine's
    /// loopback are one: with `127.0.0.1:9000`, `localhost:9000` is ours too.
    pub registry_hosts: Vec<String>,
    /// docker's `config.json`, for logins to other registries.
    pub docker_config: Option<PathBuf>,
    /// Other registries that are spoken to without TLS; loopback ones always are.
    pub plain_http: Vec<String>,
    /// How code is fetched from S3; none is a clear error for who asks for it.
    pub s3: Option<S3Access>,
}

/// Zips, images and runtimes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Packages {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: PackagesParts,
    blobs: Blobs,
    devices: Devices,
    repositories: Repositories,
    tokens: RegistryTokens,
    /// One preparation of a name at a time; who waited finds it done.
    turns: Turns,
    pushes: Arc<Semaphore>,
}

/// Names a stored zip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZipCode {
    /// SHA-256 of its bytes in base64: the `CodeSha256` that Lambda answers.
    pub sha256_base64: String,
    /// Its length: Lambda's `CodeSize`.
    pub bytes: u64,
}

impl Packages {
    /// Opens nothing yet: directories and keys are made when they are first needed.
    #[must_use]
    pub fn new(parts: PackagesParts) -> Self {
        let blobs = Blobs::new(parts.directory.clone());
        let shared = Shared {
            repositories: Repositories::new(parts.directory.clone(), blobs.clone()),
            devices: Devices::new(parts.directory.join("devices")),
            tokens: RegistryTokens::new(parts.directory.join("token.key")),
            blobs,
            turns: Turns::default(),
            pushes: Arc::new(Semaphore::new(PUSHES_MAX)),
            parts,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Stores a zip after checking it whole: it is a zip, its paths stay inside, it unzips to less than 262,144,000
    /// bytes.
    pub async fn put_zip(&self, account: &Account, bytes: Bytes) -> Result<ZipCode, PackageError> {
        code::put_zip(self, account, bytes).await
    }

    /// The same with a zip from S3.
    pub async fn put_zip_from_s3(
        &self,
        account: &Account,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<ZipCode, PackageError> {
        let bytes = objects::fetch(self.shared.parts.s3.as_ref(), bucket, key, version).await?;
        self.put_zip(account, bytes).await
    }

    /// A stored zip's bytes. Whoever holds a [`ZipCode`] may have them: control alone hands those out.
    pub async fn zip_bytes(&self, _account: &Account, code: &ZipCode) -> Result<Bytes, PackageError> {
        code::zip_bytes(self, code).await
    }

    /// One device with the directories `task` (the code) and `opt` (the layers merged in order, later ones win).
    pub async fn prepare_zip(
        &self,
        account: &Account,
        code: &ZipCode,
        layers: &[ZipCode],
    ) -> Result<api::ImageAddress, PackageError> {
        code::prepare_zip(self, account, code, layers).await
    }

    /// Where a `provided.*` function's program is: `/var/task/bootstrap` if the code has it, else `/opt/bootstrap` if
    /// a layer has it, else the former, whose absence the environment then reports as Lambda does.
    pub async fn bootstrap(
        &self,
        _account: &Account,
        code: &ZipCode,
        layers: &[ZipCode],
    ) -> Result<&'static str, PackageError> {
        code::bootstrap(self, code, layers).await
    }

    /// Finds an image and gives the digest (`sha256:…`) of its manifest for the architecture, without preparing it:
    /// what CreateFunction can refuse at once.
    pub async fn resolve_image(
        &self,
        account: &Account,
        uri: &str,
        architecture: &str,
    ) -> Result<String, PackageError> {
        container::resolve(self, account, uri, architecture).await
    }

    /// Makes an image's device, or finds it made. `architecture` is `x86_64` or `arm64`.
    pub async fn prepare_image(
        &self,
        account: &Account,
        uri: &str,
        architecture: &str,
    ) -> Result<PreparedImage, PackageError> {
        container::prepare(self, account, uri, architecture).await
    }

    /// The base of a runtime, such as `python3.11`. For python and node the handler follows the arguments; for
    /// `provided.*` they are `/var/task/bootstrap`, see [`Packages::bootstrap`].
    pub async fn runtime(&self, _account: &Account, runtime: &str) -> Result<RuntimeBase, PackageError> {
        runtimes::runtime(self, runtime).await
    }

    /// Makes an image the base of a runtime, for all accounts; replaces the one before for functions created from now.
    pub async fn add_runtime(&self, runtime: &str, source: SourceSpec) -> Result<RegisteredRuntime, PackageError> {
        runtimes::add(self, runtime, source).await
    }

    /// The runtimes that the operator added, by name.
    pub async fn runtimes(&self) -> Result<Vec<RegisteredRuntime>, PackageError> {
        runtimes::list(self).await
    }

    /// Forgets a runtime; functions that have its image keep it. False when there is none of that name.
    pub async fn remove_runtime(&self, runtime: &str) -> Result<bool, PackageError> {
        runtimes::remove(self, runtime).await
    }

    /// Removes the blobs, and the records of devices made here, that nothing has named for a day: neither `names`, which
    /// are all that the record names, nor a manifest of a repository, nor an upload or a push on its way.
    pub async fn reclaim(&self, names: RecordNames) -> Result<Reclaimed, PackageError> {
        reclaim::reclaim(self, names).await
    }

    /// The built-in registry's repositories.
    #[must_use]
    pub fn repositories(&self) -> &Repositories {
        &self.shared.repositories
    }

    /// Passwords that `docker login` takes for the user `AWS`.
    #[must_use]
    pub fn registry_tokens(&self) -> &RegistryTokens {
        &self.shared.tokens
    }

    /// Makes the device of an image that was just pushed to the built-in registry, in the background, so that a
    /// function finds it ready. What goes wrong is said again, and better, when a function asks for it.
    pub fn prepare_in_background(&self, account: &Account, repository: &repositories::RepositoryName, digest: &str) {
        container::prepare_in_background(self, account, repository, digest);
    }
}
