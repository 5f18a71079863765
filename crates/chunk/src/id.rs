//! A chunk's name.

use std::fmt;
use std::str::FromStr;

/// Bytes in an id: BLAKE3's full output.
pub const ID_BYTES: usize = 32;

/// The BLAKE3 hash of a sealed object's bytes: of a chunk's ciphertext, of a manifest as stored.
///
/// A cache checks what it holds by hashing it, without any key. BLAKE3 rather than SHA-256 because this hash is on
/// the read path: half of a miss was SHA-256 when it was measured (5.5 GB/s a core against 1.0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId([u8; ID_BYTES]);

impl ChunkId {
    /// The id of an object with these stored bytes.
    #[must_use]
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }

    /// The id with this hash, as read from a manifest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChunkId({self})")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a chunk id: expected 64 hexadecimal digits")]
pub struct IdParseError {
    text: String,
}

impl FromStr for ChunkId {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; ID_BYTES];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(IdParseError { text: text.to_owned() }),
        }
    }
}
