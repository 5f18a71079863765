//! Data keys, wrapped by the key of an account: in a local keyring, or in AWS KMS.
//!
//! This is the only crate that sees a wrapping key, and chunk bytes never pass through it: a data key and its wrapped
//! form go in and out, some hundred bytes. Wrapped bytes are bound to their account; with another account they do not
//! open, whoever asks.
//!
//! It makes no default: which provider, which key and which file are the caller's to say. AWS KMS is behind the cargo
//! feature `aws-kms`.
//!
//! Read first: [`KeyProvider`], `wrapped` (the layout of wrapped bytes), [`Keyring`].

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod error;
mod keyring;
mod keyring_file;
mod provider;
mod wrapped;

#[cfg(feature = "aws-kms")]
pub use aws_kms::{AwsKms, KmsError, KmsFault};
pub use error::{ErrorKind, KeyError};
pub use keyring::Keyring;
pub use keyring_file::KeyringError;
pub use provider::{KeyProvider, WrappedDataKey};
pub use wrapped::{ForeignKey, WrappedError};

#[cfg(test)]
mod tests;
