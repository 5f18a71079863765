//! OCI image layouts, in a directory or in a tar file.

use super::archive::{Archive, open_regular};
use super::decode::{self, Descriptor, Document, Index, Manifest, printable};
use super::digest::Digest;
use super::error::SourceError;
use super::range::Range;
use super::resolve::Wanted;
use super::spec::SourceSpec;
use super::{ImageSource, LayerData, OpenOptions, Parts, StoredLayer, check_blob, refused};
use serde::Deserialize;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that makes a directory a layout.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLayout {
    image_layout_version: String,
}

/// Tags that an error lists. More would hide the message.
const TAGS_SHOWN_MAX: usize = 20;

pub(super) fn open_directory(
    directory: &Path,
    tag: Option<&str>,
    spec: &SourceSpec,
    options: &OpenOptions,
) -> Result<ImageSource, SourceError> {
    // Told apart from a directory that is no layout: a mistyped name is the commonest mistake.
    std::fs::read_dir(directory).map_err(|source| SourceError::Read {
        path: directory.to_owned(),
        source,
    })?;
    Layout {
        image: spec.to_string(),
        files: Files::Directory(directory.to_owned()),
    }
    .open(tag, options)
}

pub(super) fn open_archive(
    file: &Path,
    tag: Option<&str>,
    spec: &SourceSpec,
    options: &OpenOptions,
) -> Result<ImageSource, SourceError> {
    Layout {
        image: spec.to_string(),
        files: Files::Archive(Archive::open(file, options)?),
    }
    .open(tag, options)
}

/// The image that `digest` names, in a directory without `index.json`.
pub(super) fn open_blobs(
    directory: &Path,
    digest: &Digest,
    reference: &str,
    options: &OpenOptions,
) -> Result<ImageSource, SourceError> {
    let layout = Layout {
        image: reference.to_owned(),
        files: Files::Directory(directory.to_owned()),
    };
    let bytes = layout.named(digest)?;
    let document = decode::decode_document(&bytes).map_err(refused(reference, &format!("manifest {digest}")))?;
    match document {
        Document::Manifest(manifest) => layout.image_of(digest.clone(), &manifest, options),
        Document::Index(index) => {
            let (digest, manifest) = layout.choose(&index, options)?;
            layout.image_of(digest, &manifest, options)
        }
    }
}

struct Layout {
    image: String,
    files: Files,
}

enum Files {
    Directory(PathBuf),
    Archive(Archive),
}

impl Files {
    /// A file of the layout; `None` when there is none of that name.
    fn get(&self, name: &str) -> Result<Option<Range>, SourceError> {
        let directory = match self {
            Self::Archive(archive) => return Ok(archive.get(name)),
            Self::Directory(directory) => directory,
        };
        let path = directory.join(name);
        let opened = open_regular(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((bytes, file)) => Ok(Some(Range {
                file: Arc::new(file),
                start: 0,
                bytes,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SourceError::Read { path, source }),
        }
    }
}

impl Layout {
    fn open(&self, tag: Option<&str>, options: &OpenOptions) -> Result<ImageSource, SourceError> {
        self.check_version()?;
        let index = self.required("index.json")?;
        let index = decode::decode_index(&index).map_err(refused(&self.image, "index.json"))?;
        let index = self.tagged(index, tag)?;
        let (digest, manifest) = self.choose(&index, options)?;
        self.image_of(digest, &manifest, options)
    }

    fn choose(&self, index: &Index, options: &OpenOptions) -> Result<(Digest, Manifest), SourceError> {
        let wanted = Wanted {
            image: &self.image,
            platform: options.wanted_platform(),
        };
        wanted.choose(index, &|descriptor| self.document("manifest", descriptor))
    }

    fn image_of(&self, digest: Digest, manifest: &Manifest, options: &OpenOptions) -> Result<ImageSource, SourceError> {
        let config = self.document("configuration", &manifest.config)?;
        let config = decode::decode_config(&config).map_err(refused(&self.image, "configuration"))?;
        Parts {
            reference: self.image.clone(),
            manifest_digest: Some(digest),
            config_digest: manifest.config.digest.clone(),
            config,
            layers: self.layers(manifest)?,
        }
        .into_image(options)
    }

    fn check_version(&self) -> Result<(), SourceError> {
        let text = self.required("oci-layout")?;
        let layout: WireLayout =
            serde_json::from_slice(&text).map_err(|error| refused(&self.image, "oci-layout")(error.into()))?;
        if layout.image_layout_version != "1.0.0" {
            return Err(SourceError::LayoutVersion {
                image: self.image.clone(),
                version: printable(&layout.image_layout_version),
            });
        }
        Ok(())
    }

    fn required(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        let range = self.files.get(name)?.ok_or_else(|| SourceError::NotAnImage {
            image: self.image.clone(),
            expected: "an OCI image layout",
            missing: name.to_owned(),
        })?;
        read_document(&range, &self.image, name)
    }

    /// The entries of the wanted tag: the only tag there is, or `latest`, where the user names none.
    fn tagged(&self, mut index: Index, tag: Option<&str>) -> Result<Index, SourceError> {
        let mut tags: Vec<&str> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.reference_name.as_deref())
            .collect();
        tags.sort_unstable();
        tags.dedup();
        let (tag, problem) = match (tag, tags.as_slice()) {
            (Some(tag), _) => (tag, "has no such tag"),
            (None, []) => return Ok(index),
            (None, [only]) => (*only, ""),
            (None, _) => ("latest", "has several tags: append one, as in :TAG"),
        };
        if !tags.contains(&tag) {
            return Err(SourceError::Tag {
                image: self.image.clone(),
                problem,
                found: tag_list(&tags),
            });
        }
        let tag = tag.to_owned();
        index
            .manifests
            .retain(|entry| entry.reference_name.as_ref() == Some(&tag));
        Ok(index)
    }

    /// A document of which only the digest is known.
    fn named(&self, digest: &Digest) -> Result<Vec<u8>, SourceError> {
        let range = self.files.get(&digest.layout_path())?;
        let range = range.ok_or_else(|| SourceError::BlobMissing {
            image: self.image.clone(),
            what: format!("manifest {digest}"),
        })?;
        let bytes = read_document(&range, &self.image, "manifest")?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(SourceError::WrongDigest {
                what: format!("manifest of {}", self.image),
                expected: digest.clone(),
                found,
            });
        }
        Ok(bytes)
    }

    fn document(&self, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let range = self.blob(what, descriptor)?;
        let bytes = read_document(&range, &self.image, what)?;
        check_blob(what, &self.image, descriptor, &bytes)?;
        Ok(bytes)
    }

    fn blob(&self, what: &str, descriptor: &Descriptor) -> Result<Range, SourceError> {
        let found = self.files.get(&descriptor.digest.layout_path())?;
        found.ok_or_else(|| SourceError::BlobMissing {
            image: self.image.clone(),
            what: format!("{what} {}", descriptor.digest),
        })
    }

    fn layers(&self, manifest: &Manifest) -> Result<Vec<StoredLayer>, SourceError> {
        let stored = |(place, layer): (usize, &Descriptor)| {
            let what = format!("layer {} of {},", place + 1, manifest.layers.len());
            let range = self.blob(&what, layer)?;
            if range.bytes != layer.bytes {
                return Err(SourceError::WrongSize {
                    what: format!("{what} {}, of {}", layer.digest, self.image),
                    expected: layer.bytes,
                    found: range.bytes,
                });
            }
            Ok(StoredLayer {
                media_type: layer.media_type.clone(),
                digest: Some(layer.digest.clone()),
                bytes: layer.bytes,
                data: LayerData::Local(range),
            })
        };
        manifest.layers.iter().enumerate().map(stored).collect()
    }
}

/// Reads a whole document of bounded length.
pub(super) fn read_document(range: &Range, image: &str, what: &str) -> Result<Vec<u8>, SourceError> {
    decode::expect_length(range.bytes).map_err(refused(image, what))?;
    let mut bytes = Vec::new();
    range
        .reader()
        .read_to_end(&mut bytes)
        .map_err(|source| SourceError::Read {
            path: PathBuf::from(format!("{image}, {what}")),
            source,
        })?;
    Ok(bytes)
}

pub(super) fn tag_list(tags: &[&str]) -> String {
    let mut list: Vec<String> = tags.iter().take(TAGS_SHOWN_MAX).map(|tag| printable(tag)).collect();
    if tags.len() > TAGS_SHOWN_MAX {
        list.push(format!("and {} more", tags.len() - TAGS_SHOWN_MAX));
    }
    if list.is_empty() {
        return "none".to_owned();
    }
    list.join(", ")
}
