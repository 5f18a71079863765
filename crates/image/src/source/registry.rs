//! Registries: the OCI distribution protocol, through `oci-client`.
//!
//! `oci-client` does the token dance and the requests; what it leaves to its caller is here: which documents and
//! platform, retries (`retry`), resumption (`blob`), logins (`login`), and one clear message for each way to fail
//! (`fault`). It reads a manifest whole before we see its length, so against a hostile registry only the read timeout
//! bounds that one answer; blobs, the configuration among them, are bounded by their descriptor.

pub(super) mod blob;
mod fault;
mod login;
mod retry;

pub use fault::{RegistryError, RegistryFault};

use super::decode::media_types::DOCUMENT_TYPES;
use super::decode::{self, Descriptor, Document};
use super::digest::{Digest, DigestAlgorithm};
use super::error::SourceError;
use super::resolve::Wanted;
use super::{ImageSource, LayerData, OpenOptions, Parts, StoredLayer, check_blob, refused};
use blob::BlobReader;
use login::Login;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::{Client, Reference, RegistryOperation};
use retry::{CONTACT_TRIES, Retry, TRIES};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};

/// To reach a registry. Ten seconds outlast a lost packet or three (TCP repeats after 1, 3 and 7 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Without a byte. Half a minute outlasts a registry that fetches the blob from its own store first.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One repository of one registry, logged in.
#[derive(Clone)]
pub(super) struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    reference: Reference,
    login: Login,
    runtime: Handle,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Registry({})", self.shared.reference)
    }
}

pub(super) fn open(reference: &Reference, options: &OpenOptions, runtime: &Handle) -> Result<ImageSource, SourceError> {
    let image = reference.to_string();
    let asked = reference.digest().map(str::parse::<Digest>).transpose();
    let asked = asked.map_err(|error| refused(&image, "reference")(error.into()))?;
    let registry = Registry::connect(reference, options, runtime)?;
    let (first, bytes) = registry.first_document(&image, asked)?;
    let wanted = Wanted {
        image: &image,
        platform: options.wanted_platform(),
    };
    let document = decode::decode_document(&bytes).map_err(refused(&image, &format!("manifest {first}")))?;
    let (digest, manifest) = match document {
        Document::Manifest(manifest) => (first, manifest),
        Document::Index(index) => wanted.choose(&index, &|descriptor| registry.document(&image, descriptor))?,
    };
    let config = registry.config(&image, &manifest.config)?;
    let config = decode::decode_config(&config).map_err(refused(&image, "configuration"))?;
    let stored = |layer: &Descriptor| StoredLayer {
        media_type: layer.media_type.clone(),
        digest: Some(layer.digest.clone()),
        bytes: layer.bytes,
        data: LayerData::Remote(registry.clone()),
    };
    Parts {
        reference: image,
        manifest_digest: Some(digest),
        config_digest: manifest.config.digest.clone(),
        config,
        layers: manifest.layers.iter().map(stored).collect(),
    }
    .into_image(options)
}

impl Registry {
    fn connect(reference: &Reference, options: &OpenOptions, runtime: &Handle) -> Result<Self, RegistryError> {
        assert!(
            runtime.runtime_flavor() != RuntimeFlavor::CurrentThread,
            "a registry needs a runtime that makes progress on threads of its own"
        );
        let failed = |fault| RegistryError::new(reference, fault);
        let login = Login::find(reference, options.docker_config.as_deref()).map_err(failed)?;
        let is_plain =
            is_loopback(reference.registry()) || options.plain_http.iter().any(|host| host == reference.registry());
        let config = ClientConfig {
            protocol: if is_plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("lambent/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        // Not `Client::new`: where that fails it goes on with a client without our timeouts.
        let client = Client::try_from(config).map_err(|error| failed(RegistryFault::of(&error)))?;
        let registry = Self {
            shared: Arc::new(Shared {
                client,
                reference: reference.clone(),
                login,
                runtime: runtime.clone(),
            }),
        };
        registry.log_in()?;
        Ok(registry)
    }

    /// A wrong password is found here, where it can be told from a missing repository: later requests go out
    /// anonymously when the token service refuses.
    fn log_in(&self) -> Result<(), RegistryError> {
        let Shared {
            client,
            reference,
            login,
            runtime,
        } = &*self.shared;
        let answer = runtime.block_on(Retry::new(CONTACT_TRIES).run(async || {
            client
                .auth(reference, login.auth(), RegistryOperation::Pull)
                .await
                .map(drop)
        }));
        answer.map_err(|fault| self.error(fault))
    }

    fn error(&self, fault: RegistryFault) -> RegistryError {
        RegistryError::new(&self.shared.reference, fault.with_login(&self.shared.login))
    }

    /// What the tag or the digest of the reference leads to.
    fn first_document(&self, image: &str, asked: Option<Digest>) -> Result<(Digest, Vec<u8>), SourceError> {
        let bytes = self.manifest(&self.shared.reference)?;
        let algorithm = asked.as_ref().map_or(DigestAlgorithm::Sha256, Digest::algorithm);
        let found = Digest::of(algorithm, &bytes);
        match asked {
            Some(expected) if expected != found => Err(SourceError::WrongDigest {
                what: format!("manifest of {image}"),
                expected,
                found,
            }),
            _ => Ok((found, bytes)),
        }
    }

    /// A manifest or an index that another document names.
    fn document(&self, image: &str, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let what = format!("manifest {}", descriptor.digest);
        decode::expect_length(descriptor.bytes).map_err(refused(image, &what))?;
        let reference = self.shared.reference.clone_with_digest(descriptor.digest.to_string());
        let bytes = self.manifest(&reference)?;
        check_blob("manifest", image, descriptor, &bytes)?;
        Ok(bytes)
    }

    fn manifest(&self, reference: &Reference) -> Result<Vec<u8>, RegistryError> {
        let Shared {
            client, login, runtime, ..
        } = &*self.shared;
        let answer = runtime.block_on(
            Retry::new(TRIES).run(async || client.pull_manifest_raw(reference, login.auth(), &DOCUMENT_TYPES).await),
        );
        let (bytes, _) = answer.map_err(|fault| self.error(fault))?;
        Ok(bytes.into())
    }

    fn config(&self, image: &str, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let bytes = self.blob(&descriptor.digest, descriptor.bytes).read_whole()?;
        check_blob("configuration", image, descriptor, &bytes)?;
        Ok(bytes)
    }

    /// A blob's bytes, fetched as they are read.
    pub(super) fn blob(&self, digest: &Digest, bytes: u64) -> BlobReader {
        BlobReader::new(self.clone(), digest, bytes)
    }
}

/// Loopback registries speak plain HTTP, as for docker.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}
