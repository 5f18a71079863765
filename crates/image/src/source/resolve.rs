//! From a tag's document to the one manifest of the wanted platform.

use super::decode::{self, Descriptor, Document, Index, Manifest};
use super::digest::Digest;
use super::error::SourceError;
use super::platform::Platform;
use super::refused;

/// Indexes inside each other. Real ones nest once, when a tool indexes what another had indexed.
const DEPTH_MAX: usize = 4;

/// Documents fetched to look inside nested indexes.
const NESTED_MAX: usize = 64;

/// What is looked for, and in what.
pub(super) struct Wanted<'a> {
    pub(super) image: &'a str,
    pub(super) platform: Platform,
}

/// Gives the bytes of a document, with digest and size checked against the descriptor.
pub(super) type Fetch<'a> = dyn Fn(&Descriptor) -> Result<Vec<u8>, SourceError> + 'a;

impl Wanted<'_> {
    /// The manifest of the wanted platform among `index`, with its digest.
    pub(super) fn choose(&self, index: &Index, fetch: &Fetch<'_>) -> Result<(Digest, Manifest), SourceError> {
        let mut manifests = Vec::new();
        let mut fetched = 0;
        self.flatten(index, fetch, (&mut manifests, &mut fetched), DEPTH_MAX)?;
        let chosen = self.best(&manifests)?;
        let what = format!("manifest {}", chosen.digest);
        match decode::decode_document(&fetch(chosen)?).map_err(refused(self.image, &what))? {
            Document::Manifest(manifest) => Ok((chosen.digest.clone(), manifest)),
            // Its descriptor said manifest, so following it would be the ambiguity that digests must not have.
            Document::Index(_) => Err(refused(self.image, &what)(decode::DecodeError::Ambiguous)),
        }
    }

    /// Collects manifests; one inside a nested index has the platform of that index where it names none.
    fn flatten(
        &self,
        index: &Index,
        fetch: &Fetch<'_>,
        (manifests, fetched): (&mut Vec<Descriptor>, &mut usize),
        depth: usize,
    ) -> Result<(), SourceError> {
        for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
            if !entry.is_index() {
                manifests.push(entry.clone());
                continue;
            }
            *fetched += 1;
            if depth == 0 || *fetched > NESTED_MAX {
                return Err(SourceError::NestedTooDeep {
                    image: self.image.to_owned(),
                    max: DEPTH_MAX,
                });
            }
            let what = format!("index {}", entry.digest);
            let inner = decode::decode_index(&fetch(entry)?).map_err(refused(self.image, &what))?;
            let first = manifests.len();
            self.flatten(&inner, fetch, (manifests, fetched), depth - 1)?;
            for manifest in &mut manifests[first..] {
                manifest.platform = manifest.platform.take().or_else(|| entry.platform.clone());
            }
        }
        Ok(())
    }

    /// The closest platform, the first of equals; a single manifest that names no platform is taken, as its
    /// configuration will.
    fn best<'m>(&self, manifests: &'m [Descriptor]) -> Result<&'m Descriptor, SourceError> {
        if let [only] = manifests
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let fits = manifests.iter().enumerate().filter_map(|(place, manifest)| {
            let fit = self.platform.fit(manifest.platform.as_ref()?)?;
            Some(((fit, place), manifest))
        });
        fits.min_by_key(|(rank, _)| rank.clone())
            .map(|(_, manifest)| manifest)
            .ok_or_else(|| SourceError::PlatformMissing {
                image: self.image.to_owned(),
                wanted: self.platform.clone(),
                found: platforms(manifests),
            })
    }
}

fn platforms(manifests: &[Descriptor]) -> String {
    let mut names: Vec<String> = manifests
        .iter()
        .map(|manifest| manifest.platform.as_ref())
        .map(|platform| platform.map_or_else(|| "one without a platform".to_owned(), Platform::to_string))
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::digest::DigestAlgorithm;
    use std::collections::HashMap;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    /// Blobs by digest, as a registry has them.
    #[derive(Default)]
    struct Blobs(HashMap<Digest, Vec<u8>>);

    impl Blobs {
        fn add(&mut self, media_type: &str, platform: Option<&str>, bytes: String) -> Descriptor {
            let digest = Digest::of(DigestAlgorithm::Sha256, bytes.as_bytes());
            self.0.insert(digest.clone(), bytes.into_bytes());
            Descriptor {
                media_type: media_type.to_owned(),
                bytes: self.0[&digest].len() as u64,
                digest,
                platform: platform.map(|text| text.parse().unwrap()),
                reference_name: None,
            }
        }

        fn manifest(&mut self, platform: Option<&str>, salt: u8) -> Descriptor {
            let config = format!("sha256:{}", format!("{salt:02x}").repeat(32));
            let text = format!(
                r#"{{"schemaVersion":2,"layers":[],"config":{{"mediaType":
                "application/vnd.oci.image.config.v1+json","digest":"{config}","size":{salt}}}}}"#
            );
            self.add(MANIFEST, platform, text)
        }

        fn index(&mut self, entries: &[Descriptor]) -> Descriptor {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| {
                    let platform = entry.platform.as_ref().map(|platform| {
                        let text = platform.to_string();
                        let (os, architecture) = text.split_once('/').unwrap();
                        format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#)
                    });
                    format!(
                        r#"{{"mediaType":"{}","digest":"{}","size":{}{}}}"#,
                        entry.media_type,
                        entry.digest,
                        entry.bytes,
                        platform.unwrap_or_default()
                    )
                })
                .collect();
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
            self.add(INDEX, None, text)
        }

        /// The size of the chosen configuration, which says which manifest it was; or the message.
        fn choose(&self, entries: Vec<Descriptor>, platform: &str) -> Result<u64, String> {
            let wanted = Wanted {
                image: "test",
                platform: platform.parse().unwrap(),
            };
            let fetch = |descriptor: &Descriptor| Ok(self.0[&descriptor.digest].clone());
            wanted
                .choose(&Index { manifests: entries }, &fetch)
                .map(|(_, manifest)| manifest.config.bytes)
                .map_err(|error| error.to_string())
        }
    }

    #[test]
    fn the_wanted_platform_is_found_also_in_nested_indexes() {
        let mut blobs = Blobs::default();
        let amd = blobs.manifest(Some("linux/amd64"), 1);
        let arm = blobs.manifest(Some("linux/arm64"), 2);
        let attestation = blobs.manifest(Some("unknown/unknown"), 3);
        let nested = blobs.index(&[attestation.clone(), arm]);
        let entries = vec![attestation, amd, nested];
        assert_eq!(blobs.choose(entries.clone(), "linux/amd64"), Ok(1));
        assert_eq!(blobs.choose(entries.clone(), "linux/arm64/v8"), Ok(2));
        let message = blobs.choose(entries, "linux/s390x").unwrap_err();
        assert!(
            message.contains("nothing for linux/s390x; it has: linux/amd64, linux/arm64"),
            "{message}"
        );
    }

    #[test]
    fn one_manifest_without_a_platform_is_taken_and_two_are_not() {
        let mut blobs = Blobs::default();
        let (one, two) = (blobs.manifest(None, 1), blobs.manifest(None, 2));
        assert_eq!(blobs.choose(vec![one.clone()], "linux/amd64"), Ok(1));
        assert!(blobs.choose(vec![one, two], "linux/amd64").is_err());
        assert!(
            blobs
                .choose(vec![], "linux/amd64")
                .unwrap_err()
                .contains("it has: nothing")
        );
    }

    #[test]
    fn deep_and_wide_nests_end() {
        let mut blobs = Blobs::default();
        let mut deep = blobs.manifest(Some("linux/amd64"), 1);
        for _ in 0..DEPTH_MAX {
            deep = blobs.index(&[deep]);
        }
        assert_eq!(blobs.choose(vec![deep.clone()], "linux/amd64"), Ok(1));
        let deeper = blobs.index(&[deep.clone()]);
        assert!(
            blobs
                .choose(vec![deeper], "linux/amd64")
                .unwrap_err()
                .contains("deeper than 4")
        );
        assert!(blobs.choose(vec![deep; NESTED_MAX], "linux/amd64").is_err());
    }
}
