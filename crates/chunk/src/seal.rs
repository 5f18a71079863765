//! One chunk: sealed and named; `open` is the way back.
//!
//! A chunk's zero tail is cut off; what is left is the payload, compressed or not. Then
//!
//! ```text
//! key        = BLAKE3 derive_key(context "lambent chunk 1", salt ‖ encoding ‖ payload)
//! ciphertext = AES-256-CTR(key, IV = 0, payload)
//! id         = BLAKE3(ciphertext)
//! ```
//! A zero IV is sound because a key meets one payload only. The key is derived from the payload as it is encrypted,
//! after compression: were it derived from the plaintext, two versions of a compressor could make one key meet two
//! payloads, and the XOR of the two ciphertexts would leak both. BLAKE3's key derivation is a mode of its own, so no
//! hash that names anything can be a key. See docs/decisions/0002.

use crate::{CHUNK_BYTES, ChunkEntry, ChunkId, ChunkKey, Salt};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// The context of key derivation, for chunks and nothing else; the number is the format's version.
const KEY_CONTEXT: &str = "lambent chunk 1";

/// Compressed payloads are kept only when they save this share of the payload: 1/16, so that a read never pays for
/// decompression without moving fewer bytes.
const COMPRESSION_GAIN_MIN: usize = 16;

/// zstd's level. Only 1 was measured (docs/decisions/0002); higher levels cost more time at every push.
const ZSTD_LEVEL: i32 = 1;

/// zstd's level for what is written in the background. It opens as fast as any other.
const ZSTD_LEVEL_SMALL: i32 = 7;

/// How a chunk's payload is encoded, as the manifest says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// The plaintext itself.
    Raw = 0,
    /// One LZ4 block (no frame, no size): the plaintext is at most [`CHUNK_BYTES`].
    Lz4 = 1,
    /// One zstd frame.
    Zstd = 2,
}

impl Encoding {
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What the writer tries; each chunk is compressed only where that saves enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Store plaintext as it is.
    None,
    /// LZ4: little CPU, opened at 2.0 GiB/s a core (docs/decisions/0002).
    Lz4,
    /// zstd at level 1: fewer bytes, opened at 1.4 GiB/s a core.
    Zstd,
    /// zstd at level 7, for what is written once, in the background, and fetched often.
    ZstdSmall,
}

/// What [`seal_chunk`] made of a chunk.
#[derive(Debug)]
pub enum SealedChunk {
    /// All bytes were zero: nothing is stored.
    Zero,
    /// The manifest's entry, the key that opens the chunk, and the bytes to store under `entry.id`.
    Data {
        /// Goes into the manifest's chunk list.
        entry: ChunkEntry,
        /// Goes into the manifest's sealed key table.
        key: ChunkKey,
        /// Goes into the store.
        ciphertext: Vec<u8>,
    },
}

/// Seals one chunk; equal plaintext, salt and compression give equal bytes.
///
/// The vector is encrypted in place and handed back, so an uncompressed chunk is not copied.
///
/// # Panics
/// When `plaintext` is not [`CHUNK_BYTES`] long.
#[must_use]
pub fn seal_chunk(salt: &Salt, mut plaintext: Vec<u8>, compression: Compression) -> SealedChunk {
    assert_eq!(plaintext.len(), CHUNK_BYTES, "a chunk is sealed whole");
    plaintext.truncate(length_without_zero_tail(&plaintext));
    if plaintext.is_empty() {
        return SealedChunk::Zero;
    }
    let (encoding, payload) = encode(plaintext, compression);
    seal_payload(salt, encoding, payload)
}

/// The same chunk under another salt: what [`seal_chunk`] would have made of it, without compressing it again.
#[must_use]
pub fn reseal_chunk(sealed: SealedChunk, salt: &Salt) -> SealedChunk {
    let SealedChunk::Data {
        entry: ChunkEntry::Data { encoding, .. },
        key,
        ciphertext: mut payload,
    } = sealed
    else {
        return sealed;
    };
    // Counter mode is its own inverse.
    encrypt(&key, &mut payload);
    seal_payload(salt, encoding, payload)
}

fn seal_payload(salt: &Salt, encoding: Encoding, mut payload: Vec<u8>) -> SealedChunk {
    let key = derive_key(salt, encoding, &payload);
    encrypt(&key, &mut payload);
    let id = ChunkId::of(&payload);
    let stored_bytes = u32::try_from(payload.len()).expect("a payload is never longer than a chunk");
    SealedChunk::Data {
        entry: ChunkEntry::Data {
            id,
            stored_bytes,
            encoding,
        },
        key,
        ciphertext: payload,
    }
}

fn length_without_zero_tail(bytes: &[u8]) -> usize {
    const STRIDE: usize = 64;
    let mut length = bytes.len();
    while length >= STRIDE && bytes[length - STRIDE..length] == [0; STRIDE] {
        length -= STRIDE;
    }
    bytes[..length]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

fn encode(plaintext: Vec<u8>, compression: Compression) -> (Encoding, Vec<u8>) {
    let (encoding, compressed) = match compression {
        Compression::None => return (Encoding::Raw, plaintext),
        Compression::Lz4 => (Encoding::Lz4, lz4_flex::block::compress(&plaintext)),
        Compression::Zstd => (Encoding::Zstd, zstd_compress(&plaintext, ZSTD_LEVEL)),
        Compression::ZstdSmall => (Encoding::Zstd, zstd_compress(&plaintext, ZSTD_LEVEL_SMALL)),
    };
    if compressed.len() + plaintext.len() / COMPRESSION_GAIN_MIN <= plaintext.len() {
        (encoding, compressed)
    } else {
        (Encoding::Raw, plaintext)
    }
}

fn zstd_compress(plaintext: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(plaintext, level).expect("zstd compresses any memory at a fixed valid level")
}

fn derive_key(salt: &Salt, encoding: Encoding, payload: &[u8]) -> ChunkKey {
    let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
    hasher.update(salt.as_bytes()).update(&[encoding as u8]).update(payload);
    ChunkKey::from_bytes(*hasher.finalize().as_bytes())
}

fn encrypt(key: &ChunkKey, payload: &mut [u8]) {
    let key = EncryptingKey::ctr(unbound(key)).expect("AES-256 has a counter mode");
    key.less_safe_encrypt(payload, EncryptionContext::Iv128(FixedLength::from([0; 16])))
        .expect("counter mode encrypts any length");
}

pub(crate) fn unbound(key: &ChunkKey) -> UnboundCipherKey {
    UnboundCipherKey::new(&AES_256, key.expose()).expect("a chunk key has the 32 bytes that AES-256 wants")
}

#[cfg(test)]
mod tests;
