//! One chunk: checked, then opened; `seal` is the way here.
//!
//! ```text
//! stored bytes ── CheckedChunk::check: BLAKE3 ──> CheckedChunk ── Opener::open: AES-256-CTR, decode ──> plaintext
//! ```
//! Checking needs no key, so that a cache can do it; opening needs the key and takes only what was checked, so no
//! byte that the manifest did not name ever reaches a decoder, and no chunk is hashed twice on its way.

use crate::seal::unbound;
use crate::{CHUNK_BYTES, ChunkEntry, ChunkId, ChunkKey, Encoding};
use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext};
use aws_lc_rs::iv::FixedLength;
use bytes::Bytes;
use std::fmt;

/// Stored bytes that have the hash that their id says.
#[derive(Clone)]
pub struct CheckedChunk {
    id: ChunkId,
    stored: Bytes,
}

impl CheckedChunk {
    /// Hashes the bytes; gives them back, marked, when they are the ones that `id` names.
    pub fn check(id: ChunkId, stored: Bytes) -> Result<Self, OpenError> {
        if ChunkId::of(&stored) == id {
            Ok(Self { id, stored })
        } else {
            let bytes = stored.len();
            Err(OpenError::Corrupt { id, bytes })
        }
    }

    /// The id, which is the hash of the bytes.
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        self.id
    }

    /// The stored bytes.
    #[must_use]
    pub const fn stored(&self) -> &Bytes {
        &self.stored
    }
}

/// The id and the length: the bytes are noise.
impl fmt::Debug for CheckedChunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CheckedChunk({}, {} bytes)", self.id, self.stored.len())
    }
}

/// Why a sealed chunk does not open. Always a sign of bad data, never of a bad moment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The stored bytes are not the ones that the id names.
    #[error("chunk {id} is corrupt: its {bytes} stored bytes have another hash")]
    Corrupt {
        /// The chunk that was asked for.
        id: ChunkId,
        /// How many bytes came instead.
        bytes: usize,
    },
    /// The bytes are the named ones and decrypt to something that does not decompress.
    #[error("chunk {id} is not what its manifest says: the payload does not decode as {encoding:?}")]
    Undecodable {
        /// The chunk that was asked for.
        id: ChunkId,
        /// The encoding that the manifest gives.
        encoding: Encoding,
    },
}

/// Opens chunks, one after the other; holds the buffers that this takes, so a reader keeps one for each thread.
#[derive(Default)]
pub struct Opener {
    /// The payload between decryption and decompression.
    payload: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Opener {
    /// Decrypts and decodes a chunk into `plaintext`, which holds exactly [`CHUNK_BYTES`] afterwards.
    ///
    /// On an error `plaintext` has unspecified contents.
    ///
    /// # Panics
    /// When `checked` is another chunk than `entry`: that is a mistake of the caller.
    pub fn open(
        &mut self,
        entry: &ChunkEntry,
        key: &ChunkKey,
        checked: &CheckedChunk,
        plaintext: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        plaintext.clear();
        if let ChunkEntry::Data { id, encoding, .. } = *entry {
            assert_eq!(id, checked.id, "a chunk is opened as the entry that names it");
            self.decode(encoding, key, &checked.stored, plaintext)
                .ok_or(OpenError::Undecodable { id, encoding })?;
        }
        plaintext.resize(CHUNK_BYTES, 0);
        Ok(())
    }

    /// `None` when the payload is not a valid encoding of at most a chunk's bytes.
    fn decode(&mut self, encoding: Encoding, key: &ChunkKey, stored: &[u8], plaintext: &mut Vec<u8>) -> Option<()> {
        if encoding == Encoding::Raw {
            plaintext.extend_from_slice(stored);
            decrypt(key, plaintext);
            return (plaintext.len() <= CHUNK_BYTES).then_some(());
        }
        self.payload.clear();
        self.payload.extend_from_slice(stored);
        decrypt(key, &mut self.payload);
        match encoding {
            Encoding::Raw => unreachable!("raw payloads were returned above"),
            Encoding::Lz4 => {
                plaintext.resize(CHUNK_BYTES, 0);
                let length = lz4_flex::block::decompress_into(&self.payload, plaintext).ok()?;
                plaintext.truncate(length);
            }
            Encoding::Zstd => {
                plaintext.reserve(CHUNK_BYTES);
                let decompressor = match &mut self.zstd {
                    Some(decompressor) => decompressor,
                    none => none.insert(zstd::bulk::Decompressor::new().ok()?),
                };
                decompressor.decompress_to_buffer(&self.payload, plaintext).ok()?;
            }
        }
        (plaintext.len() <= CHUNK_BYTES).then_some(())
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Opener")
    }
}

fn decrypt(key: &ChunkKey, payload: &mut [u8]) {
    let key = DecryptingKey::ctr(unbound(key)).expect("AES-256 has a counter mode");
    key.decrypt(payload, DecryptionContext::Iv128(FixedLength::from([0; 16])))
        .expect("counter mode decrypts any length");
}
