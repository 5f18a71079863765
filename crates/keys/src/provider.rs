//! The seam between the providers.

#[cfg(feature = "aws-kms")]
use crate::AwsKms;
use crate::{KeyError, Keyring};
use chunk::{Account, DataKey};

/// Who holds the accounts' keys. An enum and no trait: there are two, and what stands in wrapped bytes names them.
#[derive(Clone, Debug)]
pub enum KeyProvider {
    /// A file of this machine.
    Local(Keyring),
    /// A key in AWS KMS, shared by all accounts and bound to each by the encryption context.
    #[cfg(feature = "aws-kms")]
    AwsKms(AwsKms),
}

/// A new data key, with what to store so that it can be had again.
#[derive(Debug)]
pub struct WrappedDataKey {
    /// The key itself: use it and drop it.
    pub key: DataKey,
    /// The key, wrapped by the account's: see `wrapped`.
    pub wrapped: Vec<u8>,
}

impl KeyProvider {
    /// A fresh random data key for an account. A local keyring makes the account's own key on first use.
    pub async fn generate(&self, account: &Account) -> Result<WrappedDataKey, KeyError> {
        match self {
            Self::Local(keyring) => keyring.generate(account).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.generate(account).await,
        }
    }

    /// The data key in `wrapped`, if the same account and the same provider's key wrapped it.
    pub async fn unwrap(&self, account: &Account, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        match self {
            Self::Local(keyring) => keyring.unwrap(account, wrapped).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.unwrap(account, wrapped).await,
        }
    }
}
