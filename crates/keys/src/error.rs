//! What a provider may answer instead of a key.

#[cfg(feature = "aws-kms")]
use crate::aws_kms::KmsError;
use crate::{ForeignKey, KeyringError, WrappedError};

/// What the reader of an error can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later.
    Retry,
    /// Change the request, a setting or a permission.
    FixRequest,
    /// What is stored is damaged.
    BadData,
    /// Report it.
    Bug,
}

/// A key that cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The wrapped bytes are not what a provider writes, or do not open.
    #[error(transparent)]
    Wrapped(#[from] WrappedError),
    /// The wrapped bytes belong to a key that this provider does not have.
    #[error(transparent)]
    Foreign(#[from] ForeignKey),
    /// The keyring's file.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// AWS KMS did not do what it was asked.
    #[cfg(feature = "aws-kms")]
    #[error(transparent)]
    AwsKms(#[from] KmsError),
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Wrapped(_) => ErrorKind::BadData,
            Self::Foreign(_) => ErrorKind::FixRequest,
            Self::Keyring(error) => error.kind(),
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(error) => error.fault().kind(),
        }
    }
}
