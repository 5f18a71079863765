//! The ordered list of a device's chunks, with their keys.
//!
//! All numbers are little-endian. N chunks, K of them not zero, a wrapped key of W bytes:
//!
//! ```text
//! offset          width  what
//!      0              8  magic "lambentm"
//!      8              2  version, 1
//!     10              1  base-2 logarithm of the chunk's bytes, 19
//!     11              1  reserved, 0
//!     12              4  N, chunks of the device
//!     16              4  K, chunks with a key
//!     20              4  chunks at the front that hold file-system metadata
//!     24              4  generation of the root whose salt sealed the chunks
//!     28              4  W, bytes of the wrapped data key
//!     32           36·N  chunk list: 32 bytes id, 3 bytes stored length, 1 byte encoding; a zero chunk is 36 zeros
//! 32+36·N             W  data key, wrapped by the account's key (opaque here)
//!      …   12+32·K+16    envelope (see [`Envelope`]): K chunk keys in order; everything before it is associated data
//! ```
//! The list stands in front of the keys so that whoever copies, counts or garbage-collects chunks reads it without a
//! key; the envelope comes last so that all that it authenticates is one slice before it. 68 bytes for a chunk and
//! less than 400 for the rest, which keeps the whole at or under [`MANIFEST_BYTES_PER_CHUNK_MAX`] for every device of
//! 50 MiB or more.

use crate::{
    CHUNK_BYTES, ChunkId, ChunkKey, DataKey, Encoding, Envelope, EnvelopeError, ID_BYTES, KEY_BYTES, NONCE_BYTES,
};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"lambentm";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 36;

/// The format's promise: bytes of manifest for each chunk.
pub const MANIFEST_BYTES_PER_CHUNK_MAX: usize = 72;

/// A wrapped key is some hundred bytes with every provider we know; more is not a key.
const WRAPPED_KEY_BYTES_MAX: usize = 16 * 1024;

/// One chunk of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEntry {
    /// All bytes are zero; nothing is stored.
    Zero,
    /// Stored under `id`.
    Data {
        /// Hash and name of the stored bytes.
        id: ChunkId,
        /// How many bytes are stored, 1 to [`CHUNK_BYTES`].
        stored_bytes: u32,
        /// How to read the payload after decryption.
        encoding: Encoding,
    },
}

impl ChunkEntry {
    /// The name of the stored bytes; `None` for a zero chunk.
    #[must_use]
    pub const fn id(&self) -> Option<ChunkId> {
        match self {
            Self::Zero => None,
            Self::Data { id, .. } => Some(*id),
        }
    }
}

/// What a writer collects, in device order.
#[derive(Debug, Default)]
pub struct ManifestDraft {
    /// The chunks with the key of each; the key of a zero chunk is `None`.
    pub chunks: Vec<(ChunkEntry, Option<ChunkKey>)>,
    /// How many chunks at the front hold file-system metadata.
    pub metadata_chunks: u32,
    /// The root's generation.
    pub generation: u32,
}

/// A manifest as stored: readable by all, its keys by nobody until [`Manifest::unlock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<ChunkEntry>,
    metadata_chunks: u32,
    generation: u32,
    wrapped_key: Vec<u8>,
    /// Header, chunk list and wrapped key: what the envelope authenticates.
    authenticated: Vec<u8>,
    envelope: Vec<u8>,
}

/// A manifest with its keys.
#[derive(Debug)]
pub struct UnlockedManifest {
    chunks: Vec<(ChunkEntry, Option<ChunkKey>)>,
}

/// Why bytes are not a manifest, or a manifest does not open.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Does not begin like a manifest.
    #[error("not a manifest: it does not begin with `lambentm`")]
    NotAManifest,
    /// Written by a newer Lambent.
    #[error("manifest version {found} is not known here (this build reads version {VERSION}): update lambent")]
    UnknownVersion {
        /// The version that was found.
        found: u16,
    },
    /// A field has a value that no writer gives it.
    #[error("manifest is corrupt: {field} has the impossible value {value}")]
    BadField {
        /// Which field of the layout.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// More or fewer bytes than the header announces.
    #[error("manifest is corrupt: {found} bytes, but its header announces {expected}")]
    WrongLength {
        /// What the header announces.
        expected: u64,
        /// What there is.
        found: usize,
    },
    /// The key table does not open.
    #[error("manifest's key table: {0}")]
    Sealed(#[from] EnvelopeError),
}

impl Manifest {
    /// Seals a draft. `wrapped_key` is `data_key` as the account's key provider wrapped it; `nonce` must be fresh.
    #[must_use]
    pub fn seal(draft: &ManifestDraft, data_key: &DataKey, wrapped_key: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let mut keys = Zeroizing::new(Vec::with_capacity(draft.chunks.len() * KEY_BYTES));
        for key in draft.chunks.iter().filter_map(|(_, key)| key.as_ref()) {
            keys.extend_from_slice(key.expose());
        }
        let mut bytes = header(draft, keys.len() / KEY_BYTES, wrapped_key.len());
        for (entry, _) in &draft.chunks {
            push_entry(&mut bytes, entry);
        }
        bytes.extend_from_slice(wrapped_key);
        let envelope = Envelope::seal(data_key, nonce, &bytes, &keys);
        bytes.extend_from_slice(&envelope);
        bytes
    }

    /// Reads a manifest of unknown origin; nothing is trusted until [`Manifest::unlock`] has checked the tag.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let header = Header::decode(bytes)?;
        let authenticated_bytes = HEADER_BYTES + header.chunks as usize * ENTRY_BYTES + header.wrapped_bytes as usize;
        let list = &bytes[HEADER_BYTES..HEADER_BYTES + header.chunks as usize * ENTRY_BYTES];
        let entries = list
            .chunks_exact(ENTRY_BYTES)
            .map(decode_entry)
            .collect::<Result<Vec<_>, _>>()?;
        let with_key = entries.iter().filter(|entry| **entry != ChunkEntry::Zero).count();
        if with_key != header.keys as usize {
            return Err(ManifestError::BadField {
                field: "count of keys",
                value: header.keys.into(),
            });
        }
        Ok(Self {
            entries,
            metadata_chunks: header.metadata_chunks,
            generation: header.generation,
            wrapped_key: bytes[authenticated_bytes - header.wrapped_bytes as usize..authenticated_bytes].to_vec(),
            authenticated: bytes[..authenticated_bytes].to_vec(),
            envelope: bytes[authenticated_bytes..].to_vec(),
        })
    }

    /// Opens the key table, and thereby proves that every byte of the manifest is as it was written.
    pub fn unlock(self, data_key: &DataKey) -> Result<UnlockedManifest, ManifestError> {
        let keys = Zeroizing::new(Envelope::open(data_key, &self.authenticated, &self.envelope)?);
        let mut keys = keys.chunks_exact(KEY_BYTES).map(|key| {
            ChunkKey::from_bytes(
                key.try_into()
                    .expect("chunks_exact gives pieces of exactly this length"),
            )
        });
        let chunks = self.entries.into_iter().map(|entry| match entry {
            ChunkEntry::Zero => (entry, None),
            ChunkEntry::Data { .. } => (entry, keys.next()),
        });
        Ok(UnlockedManifest {
            chunks: chunks.collect(),
        })
    }

    /// The device's chunks in order.
    #[must_use]
    pub fn entries(&self) -> &[ChunkEntry] {
        &self.entries
    }

    /// How many chunks at the front hold file-system metadata.
    #[must_use]
    pub const fn metadata_chunks(&self) -> u32 {
        self.metadata_chunks
    }

    /// The generation of the root that holds the chunks.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The data key as the account's key provider wrapped it.
    #[must_use]
    pub fn wrapped_key(&self) -> &[u8] {
        &self.wrapped_key
    }

    /// Bytes of the device.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        self.entries.len() as u64 * CHUNK_BYTES as u64
    }
}

impl UnlockedManifest {
    /// A device of so many zero chunks, for which there are no keys.
    #[must_use]
    pub fn zeros(chunks: usize) -> Self {
        Self {
            chunks: std::iter::repeat_with(|| (ChunkEntry::Zero, None))
                .take(chunks)
                .collect(),
        }
    }

    /// The device's chunks in order, each with its key unless it is zero.
    #[must_use]
    pub fn chunks(&self) -> &[(ChunkEntry, Option<ChunkKey>)] {
        &self.chunks
    }
}

/// The fixed fields, checked against each other and against the length of the whole.
struct Header {
    chunks: u32,
    keys: u32,
    metadata_chunks: u32,
    generation: u32,
    wrapped_bytes: u32,
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ManifestError::NotAManifest);
        }
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(ManifestError::WrongLength {
            expected: HEADER_BYTES as u64,
            found: bytes.len(),
        })?;
        let version = u16::from_le_bytes([fixed[8], fixed[9]]);
        if version != VERSION {
            return Err(ManifestError::UnknownVersion { found: version });
        }
        let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let header = Self {
            chunks: number(12),
            keys: number(16),
            metadata_chunks: number(20),
            generation: number(24),
            wrapped_bytes: number(28),
        };
        header.check(fixed, bytes.len())?;
        Ok(header)
    }

    fn check(&self, fixed: &[u8; HEADER_BYTES], found: usize) -> Result<(), ManifestError> {
        let bad = |field, value: u64| Err(ManifestError::BadField { field, value });
        match self {
            _ if 1_usize.checked_shl(fixed[10].into()) != Some(CHUNK_BYTES) => bad("chunk size", fixed[10].into()),
            _ if fixed[11] != 0 => bad("reserved byte", fixed[11].into()),
            _ if self.keys > self.chunks => bad("count of keys", self.keys.into()),
            _ if self.metadata_chunks > self.chunks => bad("metadata chunks", self.metadata_chunks.into()),
            _ if self.wrapped_bytes as usize > WRAPPED_KEY_BYTES_MAX => bad("wrapped key", self.wrapped_bytes.into()),
            _ if self.total_bytes() != found as u64 => Err(ManifestError::WrongLength {
                expected: self.total_bytes(),
                found,
            }),
            _ => Ok(()),
        }
    }

    fn total_bytes(&self) -> u64 {
        (HEADER_BYTES + Envelope::OVERHEAD_BYTES) as u64
            + u64::from(self.chunks) * ENTRY_BYTES as u64
            + u64::from(self.wrapped_bytes)
            + u64::from(self.keys) * KEY_BYTES as u64
    }
}

fn header(draft: &ManifestDraft, keys: usize, wrapped_bytes: usize) -> Vec<u8> {
    let count = |value: usize| u32::try_from(value).expect("a device has fewer than 2^32 chunks and a key is short");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + draft.chunks.len() * (ENTRY_BYTES + KEY_BYTES) + 1024);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[CHUNK_BYTES.trailing_zeros() as u8, 0]);
    let fields = [
        count(draft.chunks.len()),
        count(keys),
        draft.metadata_chunks,
        draft.generation,
        count(wrapped_bytes),
    ];
    for field in fields {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn push_entry(bytes: &mut Vec<u8>, entry: &ChunkEntry) {
    match entry {
        ChunkEntry::Zero => bytes.extend_from_slice(&[0; ENTRY_BYTES]),
        ChunkEntry::Data {
            id,
            stored_bytes,
            encoding,
        } => {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&stored_bytes.to_le_bytes()[..3]);
            bytes.push(*encoding as u8);
        }
    }
}

fn decode_entry(bytes: &[u8]) -> Result<ChunkEntry, ManifestError> {
    let (id, rest) = bytes
        .split_first_chunk::<ID_BYTES>()
        .expect("the caller cuts entries of 36 bytes");
    let stored_bytes = u32::from_le_bytes([rest[0], rest[1], rest[2], 0]);
    if bytes == [0; ENTRY_BYTES] {
        return Ok(ChunkEntry::Zero);
    }
    if stored_bytes == 0 || stored_bytes as usize > CHUNK_BYTES {
        return Err(ManifestError::BadField {
            field: "stored length of a chunk",
            value: stored_bytes.into(),
        });
    }
    let encoding = Encoding::from_code(rest[3]).ok_or(ManifestError::BadField {
        field: "encoding of a chunk",
        value: rest[3].into(),
    })?;
    Ok(ChunkEntry::Data {
        id: ChunkId::from_bytes(*id),
        stored_bytes,
        encoding,
    })
}

#[cfg(test)]
mod tests;
