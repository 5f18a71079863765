//! Accounts' keys in a file of this machine.

use crate::keyring_file::{self, AccountKeys, KEYS_MAX, Keys};
use crate::wrapped::{self, ProviderCode};
use crate::{ForeignKey, KeyError, KeyringError, WrappedDataKey, WrappedError};
use aws_lc_rs::{digest, rand};
use chunk::{Account, DataKey, Envelope, KEY_BYTES, NONCE_BYTES};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the envelope of a wrapped key is bound to, before its head and its account.
const AAD_LABEL: &[u8] = b"lambent wrapped key 1";
const NAME_LABEL: &[u8] = b"lambent keyring name 1";
/// Bytes of a fingerprint: enough to tell the keys of a keyring apart, useless for anything else.
const NAME_BYTES: usize = 8;

/// A file with random 256-bit keys, one or more for each account. Cheap to clone.
///
/// The file is for its owner alone (mode 0600), and refused when it is not. Losing it is losing every image that was
/// pushed with it. It is read again for every question: what another process rotated or
/// revoked holds from the next question on, and no key stays in memory between two.
#[derive(Clone)]
pub struct Keyring {
    path: Arc<Path>,
}

/// An account's keys, without the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringAccount {
    /// Fingerprints, the newest first.
    pub names: Vec<String>,
    /// Whether nothing of the account can be opened.
    pub revoked: bool,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({})", self.path.display())
    }
}

impl Keyring {
    /// Opens the keyring at `path`; without a file there, makes one that holds no key yet. Blocks on the disk.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, KeyringError> {
        let path = path.into();
        if keyring_file::read(&path)?.is_none() {
            keyring_file::update(&path, |_| Ok(()))?;
        }
        Ok(Self { path: path.into() })
    }

    pub(crate) async fn generate(&self, account: &Account) -> Result<WrappedDataKey, KeyError> {
        let key = random_key();
        let wrapped = self.wrap(account, &key).await?;
        Ok(WrappedDataKey { key, wrapped })
    }

    pub(crate) async fn wrap(&self, account: &Account, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        let own = match self.look_up(account).await {
            // The account's first use.
            Err(KeyringError::NoKey { .. }) => self.change(account, make_first).await?,
            own => own?,
        };
        Ok(wrap(own.newest(), account, key))
    }

    pub(crate) async fn unwrap(&self, account: &Account, bytes: &[u8]) -> Result<DataKey, KeyError> {
        let wrapped = wrapped::decode(bytes)?;
        let foreign = |ours| ForeignKey {
            provider: wrapped.provider,
            key_name: wrapped.key_name.to_owned(),
            ours,
        };
        if wrapped.provider != ProviderCode::LocalKeyring {
            return Err(foreign(format!("the keyring {}", self.path.display())).into());
        }
        let own = self.look_up(account).await?;
        let Some(account_key) = own.keys.iter().find(|key| name_of(key) == wrapped.key_name) else {
            return Err(foreign(format!("key {} of account {account}", name_of(own.newest()))).into());
        };
        let opened = Envelope::open(account_key, &associated(wrapped.head, account), wrapped.ciphertext);
        let key = opened.ok().map(Zeroizing::new);
        let key = key.and_then(|key| Some(Zeroizing::new(<[u8; KEY_BYTES]>::try_from(key.as_slice()).ok()?)));
        key.map(|key| DataKey::from_bytes(*key)).ok_or_else(|| {
            WrappedError::Refused {
                key_name: wrapped.key_name.to_owned(),
                account: account.to_string(),
            }
            .into()
        })
    }

    /// Gives an account one more key, with which everything is wrapped from now on. Older ones go on unwrapping.
    pub async fn rotate(&self, account: &Account) -> Result<KeyringAccount, KeyringError> {
        let own = self.change(account, add_key).await?;
        Ok(facts(&own))
    }

    /// Makes an account's keys invalid, or valid again. Nothing of the account can be opened meanwhile, by anybody who
    /// uses this file.
    pub async fn set_revoked(&self, account: &Account, revoked: bool) -> Result<KeyringAccount, KeyringError> {
        let change = move |path: &Path, account: &Account, keys: &mut Keys| {
            own_keys(path, account, keys)?.revoked = revoked;
            Ok(())
        };
        Ok(facts(&self.change(account, change).await?))
    }

    /// Removes an account's keys but for the newest and those with these names: what they wrapped is lost for ever.
    pub async fn prune(&self, account: &Account, keep: BTreeSet<String>) -> Result<KeyringAccount, KeyringError> {
        let change = move |path: &Path, account: &Account, keys: &mut Keys| {
            let own = own_keys(path, account, keys)?;
            let newest = own.newest().clone();
            own.keys.retain(|key| *key == newest || keep.contains(&name_of(key)));
            Ok(())
        };
        Ok(facts(&self.change(account, change).await?))
    }

    /// The account's keys, `None` when it has none yet.
    pub async fn account(&self, account: &Account) -> Result<Option<KeyringAccount>, KeyringError> {
        let wanted = account.clone();
        let keys = self.blocking(keyring_file::read).await?;
        Ok(keys.unwrap_or_default().get(&wanted).map(facts))
    }

    /// The account's valid keys.
    async fn look_up(&self, account: &Account) -> Result<AccountKeys, KeyringError> {
        let wanted = account.clone();
        self.blocking(move |path| {
            let mut keys = keyring_file::read(path)?.unwrap_or_default();
            let own = own_keys(path, &wanted, &mut keys)?;
            if own.revoked {
                let path = path.to_owned();
                return Err(KeyringError::Revoked { path, account: wanted });
            }
            Ok(own.clone())
        })
        .await
    }

    async fn change(
        &self,
        account: &Account,
        change: impl FnOnce(&Path, &Account, &mut Keys) -> Result<(), KeyringError> + Send + 'static,
    ) -> Result<AccountKeys, KeyringError> {
        let wanted = account.clone();
        self.blocking(move |path| {
            let mut keys = keyring_file::update(path, |keys| change(path, &wanted, keys))?;
            own_keys(path, &wanted, &mut keys).cloned()
        })
        .await
    }

    /// On a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let path = Arc::clone(&self.path);
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        done.unwrap_or_else(|error| {
            Err(KeyringError::Io {
                action: "read",
                path: self.path.to_path_buf(),
                source: error.into(),
            })
        })
    }
}

fn own_keys<'a>(path: &Path, account: &Account, keys: &'a mut Keys) -> Result<&'a mut AccountKeys, KeyringError> {
    keys.get_mut(account).ok_or_else(|| KeyringError::NoKey {
        path: path.to_owned(),
        account: account.clone(),
    })
}

/// Another process may have been faster.
fn make_first(_: &Path, account: &Account, keys: &mut Keys) -> Result<(), KeyringError> {
    keys.entry(account.clone())
        .or_insert_with(|| AccountKeys::of(random_key()));
    Ok(())
}

fn add_key(path: &Path, account: &Account, keys: &mut Keys) -> Result<(), KeyringError> {
    let own = own_keys(path, account, keys)?;
    let (path, account) = (path.to_owned(), account.clone());
    if own.revoked {
        return Err(KeyringError::Revoked { path, account });
    }
    if own.keys.len() >= KEYS_MAX {
        return Err(KeyringError::TooManyKeys { path, account });
    }
    own.keys.insert(0, random_key());
    Ok(())
}

fn facts(own: &AccountKeys) -> KeyringAccount {
    KeyringAccount {
        names: own.keys.iter().map(name_of).collect(),
        revoked: own.revoked,
    }
}

fn wrap(account_key: &DataKey, account: &Account, key: &DataKey) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    fill(&mut nonce);
    let mut wrapped = wrapped::encode_head(ProviderCode::LocalKeyring, &name_of(account_key));
    let associated = associated(&wrapped, account);
    wrapped.extend(Envelope::seal(account_key, nonce, &associated, key.expose()));
    wrapped
}

/// The head has its own length in it, so no two pairs of head and account give the same bytes.
fn associated(head: &[u8], account: &Account) -> Vec<u8> {
    [AAD_LABEL, head, account.as_str().as_bytes()].concat()
}

/// The first bytes of a hash of the key, in hexadecimal: it names the key and tells nothing about it.
fn name_of(key: &DataKey) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(NAME_LABEL);
    context.update(key.expose());
    let hash = context.finish();
    hash.as_ref()[..NAME_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn random_key() -> DataKey {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    fill(&mut *bytes);
    DataKey::from_bytes(*bytes)
}

fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's random generator works, or nothing is safe");
}
