//! Data keys, wrapped by the key of an account: in a local keyring, in AWS KMS, or in Vault.
//!
//! This is the only crate that sees a wrapping key, and chunk bytes never pass through it: a data key and its wrapped
//! form go in and out, some hundred bytes. Wrapped bytes are bound to their account; with another account they do not
//! open, whoever asks.
//!
//! It makes no default: which provider, which key and which file are the caller's to say. AWS KMS is behind the cargo
//! feature `aws-kms`, Vault and OpenBao behind `vault`.
//!
//! Keys are wiped from memory when they are dropped, and so are the buffers that this crate reads and writes them in.
//! What the SDK, the HTTP client and TLS copy on the way is theirs and is not wiped.
//!
//! Read first: [`KeyProvider`], `wrapped` (the layout of wrapped bytes), [`Keyring`].

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod error;
mod keyring;
mod keyring_file;
mod provider;
#[cfg(any(feature = "aws-kms", feature = "vault"))]
mod silence;
#[cfg(feature = "vault")]
mod vault;
mod wrapped;

#[cfg(feature = "aws-kms")]
pub use aws_kms::{AwsKms, KmsError, KmsFault};
pub use error::{ErrorKind, KeyError};
pub use keyring::{Keyring, KeyringAccount};
pub use keyring_file::KeyringError;
pub use provider::{KeyProvider, WrappedDataKey};
#[cfg(feature = "vault")]
pub use vault::{VaultError, VaultFault, VaultSettings, VaultTransit};
pub use wrapped::{ForeignKey, WrappedError, WrappingKey};

#[cfg(test)]
mod tests;
