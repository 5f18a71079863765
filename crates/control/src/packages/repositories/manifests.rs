//! Manifests and tags.

use super::{ManifestReference, Repositories, RepositoryError, RepositoryName, Tag, page};
use crate::packages::blobs::{self, Blob, failed, found};
use chunk::Account;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Bytes of a manifest. 4 MiB: what the specification asks registries to accept.
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Tags of one repository. Our own limit, ten thousand pushes.
const TAGS_MAX: usize = 10_000;

/// Blobs and manifests that one manifest names. Images have at most some hundred.
const DESCRIPTORS_MAX: usize = 5_000;

const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Configurations from which a root can be made.
const IMAGE_CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// A manifest that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundManifest {
    /// Its digest.
    pub blob: Blob,
    /// As it was pushed.
    pub media_type: String,
}

/// A manifest that was just stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub blob: Blob,
    /// Whether it is an image or an index of such, and not an artifact of another kind.
    pub is_image: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    fs_layers: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Repositories {
    /// The manifest that a tag or a digest names; `None` when the repository has none.
    pub fn manifest(
        &self,
        account: &Account,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<Option<FoundManifest>, RepositoryError> {
        let repository = self.repository(account, name);
        let blob = match reference {
            ManifestReference::Digest(blob) => blob.clone(),
            ManifestReference::Tag(tag) => match tagged(&repository, tag)? {
                Some(blob) => blob,
                None => return Ok(None),
            },
        };
        let media_type = blobs::read_file(&repository.join("manifests").join(blob.hex()))?;
        Ok(media_type.map(|text| FoundManifest {
            blob,
            media_type: String::from_utf8_lossy(&text).into_owned(),
        }))
    }

    /// A manifest's bytes.
    pub fn manifest_bytes(&self, manifest: &FoundManifest) -> Result<Vec<u8>, RepositoryError> {
        let bytes = self.blobs().read(&manifest.blob, MANIFEST_BYTES_MAX)?;
        bytes.ok_or_else(|| RepositoryError::ManifestUnknown {
            reference: manifest.blob.to_string(),
        })
    }

    /// Checks a manifest and stores it under its digest, and under the tag if the reference is one. All that it names
    /// must be in the repository.
    pub fn put_manifest(
        &self,
        (account, name): (&Account, &RepositoryName),
        reference: &ManifestReference,
        (content_type, bytes): (&str, &[u8]),
    ) -> Result<StoredManifest, RepositoryError> {
        let manifest = parse(content_type, bytes)?;
        self.check_names(account, name, &manifest)?;
        let blob = Blob::of(bytes);
        if let ManifestReference::Digest(expected) = reference
            && *expected != blob
        {
            return Err(RepositoryError::DigestMismatch {
                expected: expected.to_string(),
                found: blob.to_string(),
            });
        }
        let repository = self.create(account, name)?;
        self.blobs().put(bytes)?;
        blobs::write_file(&repository.join("manifests").join(blob.hex()), content_type.as_bytes())?;
        if let ManifestReference::Tag(tag) = reference {
            put_tag(&repository, tag, &blob)?;
        }
        Ok(StoredManifest {
            is_image: manifest.is_image(),
            blob,
        })
    }

    /// Removes a tag, or a manifest with all its tags.
    pub fn delete_manifest(
        &self,
        account: &Account,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository(account, name);
        let path = match reference {
            ManifestReference::Tag(tag) => repository.join("tags").join(tag.as_str()),
            ManifestReference::Digest(blob) => {
                for tag in tags(&repository)? {
                    if tagged(&repository, &tag)?.as_ref() == Some(blob) {
                        let path = repository.join("tags").join(tag.as_str());
                        found(fs::remove_file(&path)).map_err(failed("remove", &path))?;
                    }
                }
                repository.join("manifests").join(blob.hex())
            }
        };
        let removed = found(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        removed.ok_or_else(|| RepositoryError::ManifestUnknown {
            reference: reference.to_string(),
        })
    }

    /// Some tags in their order: at most `count`, those after `last`; and whether there are more.
    pub fn tags(
        &self,
        account: &Account,
        name: &RepositoryName,
        (count, last): (usize, Option<&str>),
    ) -> Result<(Vec<String>, bool), RepositoryError> {
        let repository = self.existing(account, name)?;
        let tags = tags(&repository)?.into_iter().map(|tag| tag.as_str().to_owned());
        Ok(page(tags.collect(), count, last))
    }

    /// The blobs that a stored manifest names; `None` when it cannot be read.
    pub(super) fn names_of(&self, manifest: &Blob) -> Option<Vec<Blob>> {
        let bytes = self.blobs().read(manifest, MANIFEST_BYTES_MAX).ok()??;
        let manifest: WireManifest = serde_json::from_slice(&bytes).ok()?;
        let descriptors = manifest.config.iter().chain(manifest.layers.iter().flatten());
        let names = descriptors.filter_map(|descriptor| descriptor.digest.parse().ok());
        Some(names.collect())
    }

    fn manifest_length(&self, repository: &Path, blob: &Blob) -> Result<Option<u64>, RepositoryError> {
        let link = repository.join("manifests").join(blob.hex());
        if found(fs::metadata(&link)).map_err(failed("read", &link))?.is_none() {
            return Ok(None);
        }
        Ok(self.blobs().claim(blob)?)
    }

    fn check_names(
        &self,
        account: &Account,
        name: &RepositoryName,
        manifest: &WireManifest,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository(account, name);
        let named = |directory: &'static str| {
            let list = if directory == "manifests" {
                &manifest.manifests
            } else {
                &manifest.layers
            };
            let config = manifest.config.iter().filter(move |_| directory == "blobs");
            config
                .chain(list.iter().flatten())
                .map(move |descriptor| (directory, descriptor))
        };
        let mut checked = 0;
        for (directory, descriptor) in named("blobs").chain(named("manifests")) {
            checked += 1;
            if checked > DESCRIPTORS_MAX {
                return Err(invalid(format!("it names more than {DESCRIPTORS_MAX} blobs")));
            }
            // Layers that only their vendor distributes are not pushed.
            if descriptor.media_type.contains("nondistributable") || descriptor.media_type.contains("foreign") {
                continue;
            }
            let missing = || RepositoryError::ManifestBlobUnknown {
                digest: descriptor.digest.chars().take(160).collect(),
            };
            let blob: Blob = descriptor.digest.parse().map_err(|_| missing())?;
            let bytes = if directory == "blobs" {
                self.claim(&repository, &blob)?
            } else {
                self.manifest_length(&repository, &blob)?
            };
            if bytes.ok_or_else(missing)? != descriptor.size {
                return Err(invalid(format!(
                    "{blob} has another size than {} bytes",
                    descriptor.size
                )));
            }
        }
        Ok(())
    }
}

impl WireManifest {
    fn is_index(&self) -> bool {
        self.manifests.is_some()
    }

    fn is_image(&self) -> bool {
        let config = self.config.as_ref().map(|config| config.media_type.as_str());
        self.is_index() || config.is_some_and(|config| IMAGE_CONFIG_TYPES.contains(&config))
    }
}

/// Checks a document as it is before it is stored, but for what it names; gives the digests of that.
///
/// # Errors
/// If it would be refused.
pub fn manifest_names(content_type: &str, bytes: &[u8]) -> Result<Vec<String>, RepositoryError> {
    let manifest = parse(content_type, bytes)?;
    let named = manifest.config.into_iter();
    let named = named.chain(manifest.layers.into_iter().flatten());
    let named = named.chain(manifest.manifests.into_iter().flatten());
    Ok(named.map(|descriptor| descriptor.digest).collect())
}

/// Form, version and media type. A document is an index or a manifest, never both (CVE-2021-41190).
fn parse(content_type: &str, bytes: &[u8]) -> Result<WireManifest, RepositoryError> {
    let manifest: WireManifest = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if manifest.schema_version != 2 || manifest.fs_layers.is_some() {
        return Err(invalid(
            "only schemaVersion 2 is taken: push with a current docker, skopeo or buildah".to_owned(),
        ));
    }
    let is_manifest = manifest.config.is_some() && manifest.layers.is_some();
    if manifest.is_index() == is_manifest || (manifest.is_index() && manifest.layers.is_some()) {
        return Err(invalid(
            "it must have either config and layers, or manifests".to_owned(),
        ));
    }
    let types = if manifest.is_index() {
        INDEX_TYPES
    } else {
        MANIFEST_TYPES
    };
    let said = manifest.media_type.as_deref().filter(|text| !text.is_empty());
    if !types.contains(&content_type) || said.is_some_and(|said| said != content_type) {
        return Err(invalid(format!(
            "Content-Type and mediaType must both be one of {}",
            types.join(", ")
        )));
    }
    Ok(manifest)
}

fn put_tag(repository: &Path, tag: &Tag, blob: &Blob) -> Result<(), RepositoryError> {
    let is_new = tagged(repository, tag)?.is_none();
    if is_new && tags(repository)?.len() >= TAGS_MAX {
        return Err(RepositoryError::TooMany {
            what: "tags in one repository",
            max: TAGS_MAX,
            advice: "delete some",
        });
    }
    let path = repository.join("tags").join(tag.as_str());
    Ok(blobs::write_file(&path, blob.to_string().as_bytes())?)
}

fn tagged(repository: &Path, tag: &Tag) -> Result<Option<Blob>, RepositoryError> {
    let text = blobs::read_file(&repository.join("tags").join(tag.as_str()))?;
    // A file that we did not write names nothing.
    Ok(text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
}

fn tags(repository: &Path) -> Result<Vec<Tag>, RepositoryError> {
    let names = super::names_in(&repository.join("tags"))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn invalid(reason: String) -> RepositoryError {
    RepositoryError::ManifestInvalid { reason }
}
