//! What a provider may answer instead of a key.

#[cfg(feature = "aws-kms")]
use crate::aws_kms::KmsError;
#[cfg(feature = "vault")]
use crate::vault::VaultError;
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
    /// Vault did not do what it was asked.
    #[cfg(feature = "vault")]
    #[error(transparent)]
    Vault(#[from] VaultError),
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
            #[cfg(feature = "vault")]
            Self::Vault(error) => error.fault().kind(),
        }
    }

    /// Whether the provider was asked and says no: this key is not, or no longer, to be had by this account here.
    ///
    /// One that is away, slow or broken says nothing, and neither does one that does not know who asks: credentials
    /// that have expired are a fault of this machine, and no decision about a key. Who holds a key goes on for a while
    /// in these cases, and stops at once in the others.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Wrapped(_) | Self::Foreign(_) => true,
            Self::Keyring(error) => error.is_refusal(),
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(error) => error.fault().is_refusal(),
            #[cfg(feature = "vault")]
            Self::Vault(error) => error.fault().is_refusal(),
        }
    }
}
