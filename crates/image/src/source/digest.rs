//! Names of content: `sha256:…` and `sha512:…`.

use aws_lc_rs::digest::{self, SHA256, SHA512};
use std::fmt;
use std::str::FromStr;

/// The hash functions that the OCI image specification registers and that tools write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// What every tool writes.
    Sha256,
    /// Allowed by the specification, and seen in a few signed images.
    Sha512,
}

impl DigestAlgorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A checked digest: a known algorithm and exactly its lower-case hexadecimal digits.
///
/// Only such a text is ever joined to a path or a URL, so a hostile manifest cannot name anything but a blob.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    hex: String,
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The hexadecimal digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Where an OCI image layout keeps the blob: `blobs/sha256/…`.
    pub(super) fn layout_path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// A text that is not a digest which we can check.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected sha256: and 64, or sha512: and 128, lower-case hexadecimal digits")]
pub struct DigestParseError {
    text: String,
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || DigestParseError {
            text: text.chars().take(160).flat_map(char::escape_debug).collect(),
        };
        let (name, hex) = text.split_once(':').ok_or_else(refused)?;
        let algorithm = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(refused)?;
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex || hex.len() != algorithm.hex_digits() {
            return Err(refused());
        }
        Ok(Self {
            algorithm,
            hex: hex.to_owned(),
        })
    }
}

/// Hashes and counts bytes as they pass.
pub(super) struct Hasher {
    algorithm: DigestAlgorithm,
    context: digest::Context,
}

impl Hasher {
    pub(super) fn new(algorithm: DigestAlgorithm) -> Self {
        let context = match algorithm {
            DigestAlgorithm::Sha256 => digest::Context::new(&SHA256),
            DigestAlgorithm::Sha512 => digest::Context::new(&SHA512),
        };
        Self { algorithm, context }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    pub(super) fn finish(self) -> Digest {
        Digest {
            algorithm: self.algorithm,
            hex: hex::encode(self.context.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_algorithms_with_all_their_digits_are_digests() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert!(format!("sha512:{}", "0a".repeat(64)).parse::<Digest>().is_ok());
        let bad = [
            String::new(),
            "sha256".to_owned(),
            "sha256:".to_owned(),
            format!("sha256:{}", "0A".repeat(32)),
            format!("sha256:{}", "0a".repeat(31)),
            format!("sha512:{}", "0a".repeat(32)),
            format!("md5:{}", "0a".repeat(16)),
            format!("sha256:../{}", "a".repeat(61)),
        ];
        for text in bad {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn digest_of_nothing_is_the_published_one() {
        assert_eq!(
            Digest::of(DigestAlgorithm::Sha256, b"").hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
