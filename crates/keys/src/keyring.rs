//! Accounts' keys in a file of this machine.

use crate::keyring_file::{self, Keys};
use crate::wrapped::{self, ProviderCode};
use crate::{ForeignKey, KeyError, KeyringError, WrappedDataKey, WrappedError};
use aws_lc_rs::{digest, rand};
use chunk::{Account, DataKey, Envelope, KEY_BYTES, NONCE_BYTES};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// What the envelope of a wrapped key is bound to, before its head and its account.
const AAD_LABEL: &[u8] = b"lambent wrapped key 1";
const NAME_LABEL: &[u8] = b"lambent keyring name 1";
/// Bytes of a fingerprint: enough to tell the keys of a keyring apart, useless for anything else.
const NAME_BYTES: usize = 8;

/// A file with one random 256-bit key for each account. Cheap to clone.
///
/// The file is for its owner alone (mode 0600), and refused when it is not. Losing it is losing every image that was
/// pushed with it. Keys are wiped from memory when the last clone is dropped.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// What the file held when it was last read; it only ever gains keys.
    keys: Mutex<Keys>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({})", self.inner.path.display())
    }
}

impl Keyring {
    /// Opens the keyring at `path`; without a file there, makes one that holds no key yet. Blocks on the disk.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, KeyringError> {
        let path = path.into();
        let keys = match keyring_file::read(&path)? {
            Some(keys) => keys,
            None => keyring_file::update(&path, |_| ())?,
        };
        let keys = Mutex::new(keys);
        Ok(Self {
            inner: Arc::new(Inner { path, keys }),
        })
    }

    pub(crate) async fn generate(&self, account: &Account) -> Result<WrappedDataKey, KeyError> {
        let account_key = match self.known(account) {
            Some(key) => key,
            None => self.refresh(account, make_key).await?,
        };
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *bytes);
        let key = DataKey::from_bytes(*bytes);
        let wrapped = wrap(&account_key, account, &key);
        Ok(WrappedDataKey { key, wrapped })
    }

    pub(crate) async fn unwrap(&self, account: &Account, bytes: &[u8]) -> Result<DataKey, KeyError> {
        let wrapped = wrapped::decode(bytes)?;
        let foreign = |ours| ForeignKey {
            provider: wrapped.provider,
            key_name: wrapped.key_name.to_owned(),
            ours,
        };
        if wrapped.provider != ProviderCode::LocalKeyring {
            return Err(foreign(format!("the keyring {}", self.inner.path.display())).into());
        }
        let account_key = match self.known(account) {
            Some(key) => key,
            // Another process may have made it.
            None => self.refresh(account, look_up).await?,
        };
        let name = name_of(&account_key);
        if name != wrapped.key_name {
            return Err(foreign(format!("key {name} of account {account}")).into());
        }
        let opened = Envelope::open(&account_key, &associated(wrapped.head, account), wrapped.ciphertext);
        let key = opened.ok().map(Zeroizing::new);
        let key = key.and_then(|key| Some(Zeroizing::new(<[u8; KEY_BYTES]>::try_from(key.as_slice()).ok()?)));
        key.map(|key| DataKey::from_bytes(*key)).ok_or_else(|| {
            let account = account.to_string();
            WrappedError::Refused {
                key_name: name,
                account,
            }
            .into()
        })
    }

    fn known(&self, account: &Account) -> Option<DataKey> {
        self.keys().get(account).cloned()
    }

    /// Reads the file again as `read` does, on a thread that may block: an account's first use, and no later one.
    async fn refresh(
        &self,
        account: &Account,
        read: fn(&Path, &Account) -> Result<Keys, KeyringError>,
    ) -> Result<DataKey, KeyringError> {
        let (inner, wanted) = (Arc::clone(&self.inner), account.clone());
        let reading = tokio::task::spawn_blocking(move || read(&inner.path, &wanted));
        let keys = reading.await.map_err(|error| KeyringError::Io {
            action: "read",
            path: self.inner.path.clone(),
            source: error.into(),
        })??;
        self.keys().extend(keys);
        self.known(account).ok_or_else(|| KeyringError::NoKey {
            path: self.inner.path.clone(),
            account: account.clone(),
        })
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // A map of whole keys is valid at every moment.
        self.inner.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_key(path: &Path, account: &Account) -> Result<Keys, KeyringError> {
    keyring_file::update(path, |keys| {
        keys.entry(account.clone()).or_insert_with(|| {
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            fill(&mut *bytes);
            DataKey::from_bytes(*bytes)
        });
    })
}

fn look_up(path: &Path, _: &Account) -> Result<Keys, KeyringError> {
    keyring_file::read(path).map(Option::unwrap_or_default)
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

fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's random generator works, or nothing is safe");
}
