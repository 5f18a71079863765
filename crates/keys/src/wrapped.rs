//! Wrapped data keys, as they stand in manifests.
//!
//! ```text
//! offset  width  what
//!      0      1  version, 1
//!      1      1  provider: 1 local keyring, 2 AWS KMS, 3 Vault or OpenBao transit
//!      2      2  N, bytes of the key's name, little-endian
//!      4      N  name of the key that wrapped it, UTF-8: a fingerprint, a KMS key's ARN, or
//!                [NAMESPACE/]MOUNT/KEY:vVERSION of Vault
//!    4+N   rest  ciphertext: an envelope of the `chunk` crate, KMS's CiphertextBlob, or Vault's text
//! ```
//! The head says who can open the rest, so that a reader with the wrong keyring or provider learns which one it needs.
//! For the local keyring it is authenticated with the account; in KMS and Vault the ciphertext itself names the key or
//! its version, and the head only says which of the configured keys to try.

use std::fmt;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 4;
/// An ARN has at most 2,048 characters; ours have some 80.
const NAME_BYTES_MAX: usize = 2048;

/// Who wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum ProviderCode {
    LocalKeyring = 1,
    AwsKms = 2,
    VaultTransit = 3,
}

/// A wrapped key's parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrapped<'a> {
    pub(crate) provider: ProviderCode,
    pub(crate) key_name: &'a str,
    /// All that stands before the ciphertext.
    pub(crate) head: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
}

/// Bytes that are not a wrapped key, or do not open.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrappedError {
    /// Written by a newer Lambent.
    #[error("wrapped key of version {found} is not known here (this build reads version {VERSION}): update lambent")]
    UnknownVersion {
        /// The version that was found.
        found: u8,
    },
    /// Wrapped by a provider that this build does not know.
    #[error("wrapped key of provider {found} is not known here (this build knows 1 to 3): update lambent")]
    UnknownProvider {
        /// The provider that was found.
        found: u8,
    },
    /// Too short, or with a name that is none.
    #[error("wrapped key is corrupt: {reason}")]
    Corrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// The right key refuses.
    #[error("wrapped key does not open with {key_name}: it was changed, or belongs to another account than {account}")]
    Refused {
        /// The key that was used.
        key_name: String,
        /// The account that asked.
        account: String,
    },
}

/// Wrapped by a key that we do not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ForeignKey {
    pub(crate) provider: ProviderCode,
    pub(crate) key_name: String,
    /// What we have instead.
    pub(crate) ours: String,
}

impl fmt::Display for ForeignKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_name, ours, .. } = self;
        match self.provider {
            ProviderCode::AwsKms => write!(
                formatter,
                "this image was sealed with AWS KMS key {key_name}, not with {ours}; \
                 start lambent with --kms-key {key_name}, or add it as --kms-previous-key"
            ),
            ProviderCode::VaultTransit => write!(
                formatter,
                "this image was sealed with Vault's transit key {key_name}, not with {ours}; \
                 start lambent with --vault-key and the namespace and mount of that key"
            ),
            ProviderCode::LocalKeyring => write!(
                formatter,
                "this image was sealed with the local keyring's key {key_name}, not with {ours}; \
                 start lambent with the keyring that it was pushed with"
            ),
        }
    }
}

/// Which key wrapped: two of them are equal exactly if re-wrapping would change nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WrappingKey {
    provider: ProviderCode,
    name: String,
}

impl WrappingKey {
    /// Read from wrapped bytes; nothing is opened.
    pub fn of(wrapped: &[u8]) -> Result<Self, WrappedError> {
        let Wrapped { provider, key_name, .. } = decode(wrapped)?;
        Ok(Self {
            provider,
            name: key_name.to_owned(),
        })
    }

    /// As its provider calls it: a fingerprint in a keyring, an ARN, or a path of Vault with a version.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for WrappingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.provider.noun(), self.name)
    }
}

impl ProviderCode {
    const fn noun(self) -> &'static str {
        match self {
            Self::LocalKeyring => "keyring key",
            Self::AwsKms => "AWS KMS key",
            Self::VaultTransit => "Vault transit key",
        }
    }
}

/// The head for a key; the ciphertext follows it.
pub(crate) fn encode_head(provider: ProviderCode, key_name: &str) -> Vec<u8> {
    let name_bytes = u16::try_from(key_name.len()).expect("fingerprints and ARNs are far shorter than 64 KiB");
    let mut head = vec![VERSION, provider as u8];
    head.extend_from_slice(&name_bytes.to_le_bytes());
    head.extend_from_slice(key_name.as_bytes());
    head
}

/// Reads wrapped bytes of unknown origin.
pub(crate) fn decode(bytes: &[u8]) -> Result<Wrapped<'_>, WrappedError> {
    let corrupt = |reason| WrappedError::Corrupt { reason };
    let (fixed, rest) = bytes
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or_else(|| corrupt("it is shorter than its head"))?;
    let [version, provider, ..] = *fixed;
    if version != VERSION {
        return Err(WrappedError::UnknownVersion { found: version });
    }
    let provider = match provider {
        1 => ProviderCode::LocalKeyring,
        2 => ProviderCode::AwsKms,
        3 => ProviderCode::VaultTransit,
        found => return Err(WrappedError::UnknownProvider { found }),
    };
    let name_bytes = usize::from(u16::from_le_bytes([fixed[2], fixed[3]]));
    if name_bytes > NAME_BYTES_MAX {
        return Err(corrupt("its key's name is too long"));
    }
    let (name, ciphertext) = rest
        .split_at_checked(name_bytes)
        .ok_or_else(|| corrupt("it is shorter than its key's name"))?;
    let key_name = str::from_utf8(name).map_err(|_| corrupt("its key's name is not UTF-8"))?;
    if key_name.is_empty() || key_name.contains(|character: char| !character.is_ascii_graphic()) {
        return Err(corrupt("its key's name is empty or unprintable"));
    }
    Ok(Wrapped {
        provider,
        key_name,
        head: &bytes[..HEAD_BYTES + name_bytes],
        ciphertext,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_documented() {
        let mut bytes = encode_head(ProviderCode::AwsKms, "arn:x");
        assert_eq!(bytes, b"\x01\x02\x05\x00arn:x");
        bytes.extend_from_slice(b"sealed");
        let expected = Wrapped {
            provider: ProviderCode::AwsKms,
            key_name: "arn:x",
            head: b"\x01\x02\x05\x00arn:x",
            ciphertext: b"sealed",
        };
        assert_eq!(decode(&bytes), Ok(expected));
    }

    #[test]
    fn other_bytes_are_refused_by_name() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "shorter than its head"),
            (b"\x02\x01\x00\x00", "version 2 is not known here"),
            (b"\x01\x04\x00\x00", "provider 4 is not known here"),
            (b"\x01\x01\xff\xff", "name is too long"),
            (b"\x01\x01\x05\x00abcd", "shorter than its key's name"),
            (b"\x01\x01\x01\x00\xff", "not UTF-8"),
            (b"\x01\x01\x01\x00\n", "unprintable"),
        ];
        for (bytes, expected) in cases {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
