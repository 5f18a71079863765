//! Bytes sealed under a data key.
//!
//! ```text
//! offset  width  what
//!      0     12  nonce, drawn at random by the caller
//!     12      n  ciphertext, as long as the plaintext
//!   12+n     16  AES-256-GCM tag over ciphertext and associated data
//! ```
//! The associated data is not stored here: it is what the reader already holds (a manifest's chunk list, an image's
//! name), and the tag binds the two. The nonce comes first because the reader needs it first. There is no version
//! field: an envelope always stands inside a versioned object.

use crate::DataKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes in a nonce of AES-GCM.
pub const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Sealing and opening under a [`DataKey`].
pub struct Envelope;

/// Why an envelope does not open.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than a nonce and a tag.
    #[error("sealed bytes are cut short: {bytes} bytes, at least 28 are needed")]
    Truncated {
        /// How many bytes there were.
        bytes: usize,
    },
    /// The tag does not match: other key, other associated data, or changed bytes.
    #[error("sealed bytes do not open: they were changed, or belong to another key or object")]
    Refused,
}

impl Envelope {
    /// Bytes that sealing adds to its plaintext.
    pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

    /// Seals `plaintext` and binds it to `associated`.
    ///
    /// A nonce must never meet the same key twice; callers draw it from the system's random generator.
    #[must_use]
    pub fn seal(key: &DataKey, nonce: [u8; NONCE_BYTES], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + Self::OVERHEAD_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = cipher(key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated),
                &mut sealed[NONCE_BYTES..],
            )
            .expect("AES-GCM refuses only plaintexts over 64 GiB, and ours are far smaller");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`Envelope::seal`] made, if key, associated data and every bit are the same.
    pub fn open(key: &DataKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        if sealed.len() < Self::OVERHEAD_BYTES {
            return Err(EnvelopeError::Truncated { bytes: sealed.len() });
        }
        let (nonce, body) = sealed.split_at(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| EnvelopeError::Refused)?;
        let mut plaintext = body.to_vec();
        let length = cipher(key)
            .open_in_place(nonce, Aad::from(associated), &mut plaintext)
            .map_err(|_| EnvelopeError::Refused)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

fn cipher(key: &DataKey) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key.expose()).expect("a data key has the 32 bytes that AES-256 wants"),
    )
}

#[cfg(test)]
mod tests;
