//! Archives of `docker save`.
//!
//! `manifest.json` lists images, each with the member of its configuration and those of its layers. Layers have no
//! digests of their own here: the configuration's diff_ids are the truth, and the configuration is named by its own
//! digest. Newer archives are image layouts as well; this reads them by the same `manifest.json`.

use super::archive::Archive;
use super::decode::{self, DockerImage};
use super::digest::{Digest, DigestAlgorithm};
use super::error::SourceError;
use super::layout::{read_document, tag_list};
use super::range::Range;
use super::spec::SourceSpec;
use super::{ImageSource, LayerData, OpenOptions, Parts, StoredLayer, refused};
use oci_client::Reference;
use std::path::Path;

pub(super) fn open(
    file: &Path,
    reference: Option<&Reference>,
    spec: &SourceSpec,
    options: &OpenOptions,
) -> Result<ImageSource, SourceError> {
    DockerArchive {
        image: spec.to_string(),
        archive: Archive::open(file, options)?,
    }
    .open(reference, options)
}

struct DockerArchive {
    image: String,
    archive: Archive,
}

impl DockerArchive {
    fn open(&self, reference: Option<&Reference>, options: &OpenOptions) -> Result<ImageSource, SourceError> {
        let list = self
            .archive
            .get("manifest.json")
            .ok_or_else(|| SourceError::NotAnImage {
                image: self.image.clone(),
                expected: "a docker archive",
                missing: "manifest.json".to_owned(),
            })?;
        let list = read_document(&list, &self.image, "manifest.json")?;
        let images = decode::decode_docker_manifest(&list).map_err(refused(&self.image, "manifest.json"))?;
        let image = self.choose(&images, reference)?;
        let config = self.member("configuration", &image.config)?;
        let config = read_document(&config, &self.image, "configuration")?;
        let config_digest = self.check_config(&image.config, &config)?;
        let config = decode::decode_config(&config).map_err(refused(&self.image, "configuration"))?;
        let layers = image
            .layers
            .iter()
            .map(|name| self.layer(name))
            .collect::<Result<_, _>>()?;
        Parts {
            reference: self.image.clone(),
            manifest_digest: None,
            config_digest,
            config,
            layers,
        }
        .into_image(options)
    }

    /// The image of that tag, or the only one. Tags are compared in their full form, because docker writes
    /// `python:3.12` where skopeo writes `docker.io/library/python:3.12`.
    fn choose<'a>(
        &self,
        images: &'a [DockerImage],
        reference: Option<&Reference>,
    ) -> Result<&'a DockerImage, SourceError> {
        let has_tag = |image: &DockerImage, wanted: &Reference| {
            image
                .tags
                .iter()
                .any(|tag| tag.parse::<Reference>().as_ref() == Ok(wanted))
        };
        let (found, problem) = match (reference, images) {
            (None, [only]) => (Some(only), ""),
            (None, []) => (None, "has no image"),
            (None, _) => (None, "has several images: append one, as in :REPO:TAG"),
            (Some(wanted), _) => (images.iter().find(|image| has_tag(image, wanted)), "has no such image"),
        };
        found.ok_or_else(|| {
            let tags: Vec<&str> = images
                .iter()
                .flat_map(|image| &image.tags)
                .map(String::as_str)
                .collect();
            SourceError::Tag {
                image: self.image.clone(),
                problem,
                found: tag_list(&tags),
            }
        })
    }

    /// `<digest>.json` and `blobs/sha256/<digest>` promise a digest; other names promise nothing.
    fn check_config(&self, name: &str, bytes: &[u8]) -> Result<Digest, SourceError> {
        let found = Digest::of(DigestAlgorithm::Sha256, bytes);
        let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".json");
        match format!("sha256:{stem}").parse::<Digest>() {
            Ok(expected) if expected != found => Err(SourceError::WrongDigest {
                what: format!("configuration of {}", self.image),
                expected,
                found,
            }),
            _ => Ok(found),
        }
    }

    fn layer(&self, name: &str) -> Result<StoredLayer, SourceError> {
        let range = self.member("layer", name)?;
        Ok(StoredLayer {
            media_type: String::new(),
            digest: None,
            bytes: range.bytes,
            data: LayerData::Local(range),
        })
    }

    fn member(&self, what: &str, name: &str) -> Result<Range, SourceError> {
        self.archive.get(name).ok_or_else(|| SourceError::BlobMissing {
            image: self.image.clone(),
            what: format!("{what} `{}`", decode::printable(name)),
        })
    }
}
