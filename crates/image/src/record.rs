//! What an account keeps of an image besides its chunks: one small JSON object under the image's name.
//!
//! The fields that listings and other images need stand in the open. The configuration, which may hold secrets in its
//! environment, and the layers are sealed under the data key of the image's manifest, with the open fields as
//! associated data: a record cannot be edited, nor put in another's place, without failing to open.

use crate::source::ImageSource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chunk::{ChunkId, DataKey, Envelope, EnvelopeError, NONCE_BYTES};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// The open fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSummary {
    /// The format's version.
    pub version: u32,
    /// The image's name.
    pub name: String,
    /// Where it was pushed from.
    pub source: String,
    /// The platform, as `linux/amd64`.
    pub platform: String,
    /// The manifest's id, 64 hexadecimal digits.
    pub manifest: String,
    /// The root that holds manifest and chunks.
    pub generation: u32,
    /// Bytes of the device.
    pub image_bytes: u64,
    /// Chunks of the device.
    pub chunks: u64,
    /// Those that are zero and not stored.
    pub chunks_zero: u64,
    /// Bytes of its distinct chunks as stored.
    pub stored_bytes: u64,
    /// Inodes of the file system.
    pub files: u64,
    /// The first stored chunks of the file system's metadata, for mounts to ask for together with the manifest: hints,
    /// at most [`METADATA_CHUNKS_MAX`] of them. Older records have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<RecordChunk>,
}

/// Longest list of a record's metadata chunks: the metadata of some 100,000 files, in 3 KiB of record.
pub const METADATA_CHUNKS_MAX: usize = 32;

/// One stored chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordChunk {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its bytes as stored.
    pub stored_bytes: u32,
}

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordDetails {
    /// The digest of the image's manifest in its source, if it had one.
    pub manifest_digest: Option<String>,
    /// The digest of the configuration.
    pub config_digest: String,
    /// The image's configuration as the source has it.
    pub config: serde_json::Value,
    /// From the base upwards.
    pub layers: Vec<RecordLayer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLayer {
    /// Digest of the plain bytes.
    pub diff_id: String,
    /// What the source calls it.
    pub media_type: String,
    /// Bytes as the source stores it.
    pub source_bytes: u64,
    /// Plain bytes.
    pub plain_bytes: u64,
}

/// A record as stored: its summary readable, its details not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The open fields.
    pub summary: RecordSummary,
    /// Base64 of the envelope around [`RecordDetails`].
    sealed: String,
}

/// Bytes that are not an image's record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of the known form.
    #[error("the image's record is corrupt: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer Lambent.
    #[error("the image's record has version {found}; this build reads version {VERSION}: update lambent")]
    UnknownVersion {
        /// The version that was found.
        found: u64,
    },
    /// A field that cannot be.
    #[error("the image's record is corrupt: {field} is not valid")]
    BadField {
        /// Which one.
        field: &'static str,
    },
    /// The record belongs to another name.
    #[error("the image's record is one of {found}: it was moved or tampered with")]
    WrongName {
        /// Whose record it is.
        found: String,
    },
    /// The sealed part does not open.
    #[error("the image's record: {0}")]
    Sealed(#[from] EnvelopeError),
}

impl RecordSummary {
    /// The current version's number, for a new record.
    pub const VERSION: u32 = VERSION;

    fn associated(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are always valid JSON")
    }

    /// The manifest's id.
    pub fn manifest_id(&self) -> Result<ChunkId, RecordError> {
        self.manifest
            .parse()
            .map_err(|_| RecordError::BadField { field: "manifest" })
    }

    /// The metadata's chunks that are listed, at most [`METADATA_CHUNKS_MAX`], with their stored bytes.
    pub fn metadata_chunks(&self) -> Result<Vec<(ChunkId, u32)>, RecordError> {
        let bad = |_| RecordError::BadField { field: "metadata" };
        let listed = self.metadata.iter().take(METADATA_CHUNKS_MAX);
        listed
            .map(|chunk| Ok((chunk.id.parse().map_err(bad)?, chunk.stored_bytes)))
            .collect()
    }
}

impl RecordDetails {
    /// What a source says of an image.
    #[must_use]
    pub fn of(image: &ImageSource, plain_bytes: &[u64]) -> Self {
        let layers = image
            .layers
            .iter()
            .zip(plain_bytes)
            .map(|(layer, plain_bytes)| RecordLayer {
                diff_id: layer.diff_id.to_string(),
                media_type: layer.media_type.clone(),
                source_bytes: layer.bytes,
                plain_bytes: *plain_bytes,
            });
        Self {
            manifest_digest: image.manifest_digest.as_ref().map(ToString::to_string),
            config_digest: image.config_digest.to_string(),
            config: serde_json::from_slice(&image.config.raw).unwrap_or_default(),
            layers: layers.collect(),
        }
    }
}

impl Record {
    /// Seals the details and binds them to the summary; `nonce` must be fresh for this key.
    #[must_use]
    pub fn seal(summary: RecordSummary, details: &RecordDetails, key: &DataKey, nonce: [u8; NONCE_BYTES]) -> Self {
        let plaintext = serde_json::to_vec(details).expect("the configuration was JSON, and the rest are strings");
        let sealed = BASE64.encode(Envelope::seal(key, nonce, &summary.associated(), &plaintext));
        Self { summary, sealed }
    }

    /// The record as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are always valid JSON")
    }

    /// Reads the record that is stored under `name`.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, RecordError> {
        let any: serde_json::Value = serde_json::from_slice(bytes)?;
        match any.pointer("/summary/version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(found) => return Err(RecordError::UnknownVersion { found }),
            None => return Err(RecordError::BadField { field: "version" }),
        }
        let record: Self = serde_json::from_value(any)?;
        if record.summary.name != name {
            return Err(RecordError::WrongName {
                found: record.summary.name,
            });
        }
        Ok(record)
    }

    /// Opens the details.
    pub fn open(&self, key: &DataKey) -> Result<RecordDetails, RecordError> {
        let sealed = BASE64
            .decode(&self.sealed)
            .map_err(|_| RecordError::BadField { field: "sealed" })?;
        Ok(serde_json::from_slice(&Envelope::open(
            key,
            &self.summary.associated(),
            &sealed,
        )?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DataKey = DataKey::from_bytes([3; 32]);

    fn record() -> Record {
        let summary = RecordSummary {
            version: VERSION,
            name: "scorer:1".to_owned(),
            source: "oci:scorer".to_owned(),
            platform: "linux/amd64".to_owned(),
            manifest: "ab".repeat(32),
            generation: 1,
            image_bytes: 1 << 20,
            chunks: 2,
            chunks_zero: 0,
            stored_bytes: 99,
            files: 7,
            metadata: vec![RecordChunk {
                id: "cd".repeat(32),
                stored_bytes: 77,
            }],
        };
        let details = RecordDetails {
            manifest_digest: None,
            config_digest: "sha256:00".to_owned(),
            config: serde_json::json!({ "config": { "Env": ["TOKEN=hidden"] } }),
            layers: vec![],
        };
        Record::seal(summary, &details, &KEY, [9; NONCE_BYTES])
    }

    #[test]
    fn a_record_opens_under_its_name_and_key_and_hides_its_configuration() {
        let encoded = record().encode();
        assert!(!String::from_utf8_lossy(&encoded).contains("TOKEN"));
        let decoded = Record::decode("scorer:1", &encoded).expect("the record is whole");
        let details = decoded.open(&KEY).expect("the key is right");
        assert_eq!(
            details.config.pointer("/config/Env/0").and_then(|value| value.as_str()),
            Some("TOKEN=hidden")
        );
        assert!(decoded.open(&DataKey::from_bytes([4; 32])).is_err());
    }

    #[test]
    fn a_record_in_anothers_place_or_with_an_edited_field_is_refused() {
        let encoded = record().encode();
        assert!(matches!(
            Record::decode("other", &encoded),
            Err(RecordError::WrongName { .. })
        ));
        let text = String::from_utf8(encoded).expect("JSON is text");
        for (field, other) in [
            ("\"generation\":1", "\"generation\":2"),
            ("\"files\":7", "\"files\":8"),
            ("abab", "abac"),
        ] {
            let edited = text.replacen(field, other, 1);
            assert_ne!(edited, text);
            let decoded = Record::decode("scorer:1", edited.as_bytes()).expect("the form is right");
            assert!(matches!(decoded.open(&KEY), Err(RecordError::Sealed(_))), "{field}");
        }
    }

    #[test]
    fn versions_and_fields_that_are_not_known_are_refused() {
        let text = String::from_utf8(record().encode()).expect("JSON is text");
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(
            Record::decode("scorer:1", newer.as_bytes()),
            Err(RecordError::UnknownVersion { found: 2 })
        ));
        let more = text.replacen("\"files\":7", "\"files\":7,\"colour\":\"red\"", 1);
        assert!(matches!(
            Record::decode("scorer:1", more.as_bytes()),
            Err(RecordError::Malformed(_))
        ));
        assert!(Record::decode("scorer:1", b"{}").is_err());
    }
}
