//! The seam between the providers.

#[cfg(feature = "aws-kms")]
use crate::AwsKms;
#[cfg(feature = "vault")]
use crate::VaultTransit;
use crate::wrapped::WrappingKey;
use crate::{KeyError, Keyring};
use chunk::{Account, DataKey};

/// Who holds the accounts' keys. An enum and no trait: there are three, and what stands in wrapped bytes names them.
#[derive(Clone, Debug)]
pub enum KeyProvider {
    /// A file of this machine.
    Local(Keyring),
    /// A key in AWS KMS, bound to each account by the encryption context.
    #[cfg(feature = "aws-kms")]
    AwsKms(AwsKms),
    /// A key in HashiCorp Vault's or OpenBao's transit engine, bound to each account by context and associated data.
    #[cfg(feature = "vault")]
    Vault(VaultTransit),
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
            #[cfg(feature = "vault")]
            Self::Vault(vault) => vault.generate(account).await,
        }
    }

    /// Wraps a data key under the newest version of the account's key.
    pub async fn wrap(&self, account: &Account, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Local(keyring) => keyring.wrap(account, key).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.wrap(account, key).await,
            #[cfg(feature = "vault")]
            Self::Vault(vault) => vault.wrap(account, key).await,
        }
    }

    /// The data key in `wrapped`, if the same account and one of the same provider's keys wrapped it.
    pub async fn unwrap(&self, account: &Account, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        match self {
            Self::Local(keyring) => keyring.unwrap(account, wrapped).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.unwrap(account, wrapped).await,
            #[cfg(feature = "vault")]
            Self::Vault(vault) => vault.unwrap(account, wrapped).await,
        }
    }

    /// The same for a manifest: `rewrapped` is what a rotation stored beside it, `own` what it was pushed with.
    ///
    /// Where the newer one cannot be used, the older one may: another machine's copy of a keyring does not have the new
    /// key yet, or the newer one is damaged. A revoked key opens neither, and a provider that is away is asked once.
    pub async fn unwrap_newest(
        &self,
        account: &Account,
        rewrapped: Option<&[u8]>,
        own: &[u8],
    ) -> Result<DataKey, KeyError> {
        let Some(rewrapped) = rewrapped else {
            return self.unwrap(account, own).await;
        };
        match self.unwrap(account, rewrapped).await {
            Err(error @ (KeyError::Wrapped(_) | KeyError::Foreign(_))) => {
                self.unwrap(account, own).await.map_err(|_| error)
            }
            answer => answer,
        }
    }

    /// With which key the provider wraps now. Asked by wrapping: what may wrap may know, and no other permission is
    /// needed.
    pub async fn wrapping_key(&self, account: &Account) -> Result<WrappingKey, KeyError> {
        Ok(WrappingKey::of(&self.generate(account).await?.wrapped)?)
    }

    /// Makes the provider wrap with a new key, or a new version of it, from now on; what older ones wrapped still opens.
    /// AWS KMS is told nothing: a new version of a key there is nobody's business but its own, and another key is a
    /// setting.
    pub async fn rotate(&self, account: &Account) -> Result<(), KeyError> {
        match self {
            Self::Local(keyring) => keyring.rotate(account).await.map(|_| ()).map_err(KeyError::from),
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(_) => Ok(()),
            #[cfg(feature = "vault")]
            Self::Vault(vault) => vault.rotate(account).await,
        }
    }
}
