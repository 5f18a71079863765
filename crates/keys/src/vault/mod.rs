//! Data keys from the transit engine of HashiCorp Vault or OpenBao.
//!
//! Vault makes no data key for us: ours is drawn here and sent to `encrypt`, so that one permission pushes and one more
//! reads. The account goes along twice. As associated data it binds the ciphertext to the account with every
//! authenticated key type, `aes256-gcm96` (Vault's default) among them; as context it also gives each account a key of
//! its own where the operator made the transit key with `derived=true`. `rewrap` takes no associated data, so a key is
//! re-wrapped by `decrypt` and `encrypt`, and the binding is never dropped on the way.
//!
//! `{account}` in the key's name stands for the account: one transit key for each can then be rotated, disabled and
//! deleted alone. A policy needs `update` on `MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY`, and on
//! `MOUNT/keys/KEY/rotate` for who rotates; without `create`, a misspelled name does not make a key.
//!
//! The API: <https://developer.hashicorp.com/vault/api-docs/secret/transit>, <https://openbao.org/api-docs/secret/transit>.

mod client;
mod error;
mod token;

pub use error::{VaultError, VaultFault};

use crate::keyring::random_key;
use crate::silence::Silence;
use crate::wrapped::{self, ProviderCode};
use crate::{ForeignKey, KeyError, WrappedDataKey, WrappedError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chunk::{Account, DataKey, KEY_BYTES};
use client::{Answer, Client, Question};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Stands for the account in a key's name.
const ACCOUNT_PLACE: &str = "{account}";

/// Where Vault is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// `https://HOST[:PORT]`. Without TLS only on this machine.
    pub address: String,
    /// The transit key's name; `{account}` in it stands for the account.
    pub key: String,
    /// Where the transit engine is mounted. Vault's default is `transit`.
    pub mount: String,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// A file with the token, for its owner alone (mode 0600). Read for every request, so an agent may replace it.
    pub token_file: PathBuf,
    /// PEM certificates that alone are trusted; the system's if none.
    pub ca_file: Option<PathBuf>,
}

/// A transit key in Vault or OpenBao. Cheap to clone.
#[derive(Clone)]
pub struct VaultTransit {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    settings: VaultSettings,
    silence: Silence,
}

impl fmt::Debug for VaultTransit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VaultSettings { address, key, .. } = &self.inner.settings;
        write!(formatter, "VaultTransit({key} at {address})")
    }
}

impl VaultTransit {
    /// Checks the settings, and reads the certificates. Nothing is sent yet. Blocks on the disk.
    pub fn new(settings: VaultSettings) -> Result<Self, VaultError> {
        for (what, name) in [
            ("key", settings.key.replace(ACCOUNT_PLACE, "0")),
            ("mount", settings.mount.replace('/', "")),
            (
                "namespace",
                settings.namespace.as_deref().unwrap_or("ns").replace('/', ""),
            ),
        ] {
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                return Err(VaultError::settings(
                    &settings,
                    format!("the {what}'s name may have letters, digits, `-`, `_` and `.`"),
                ));
            }
        }
        let client = Client::new(&settings)?;
        let inner = Inner {
            client,
            settings,
            silence: Silence::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) async fn generate(&self, account: &Account) -> Result<WrappedDataKey, KeyError> {
        let key = random_key();
        let wrapped = self.wrap(account, &key).await?;
        Ok(WrappedDataKey { key, wrapped })
    }

    pub(crate) async fn wrap(&self, account: &Account, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        let (name, binding) = (self.key_name(account), binding(account));
        let plaintext = Zeroizing::new(STANDARD.encode(key.expose()));
        let question = Question {
            plaintext: Some(&plaintext),
            ..Question::bound(&binding)
        };
        let body = self
            .ask("wrap a data key", &format!("encrypt/{name}"), &question)
            .await?;
        let answer = Answer::read(&body);
        let ciphertext = answer.as_ref().and_then(|answer| answer.ciphertext);
        let versioned = ciphertext.and_then(|text| Some((text, version(text)?)));
        let (text, version) =
            versioned.ok_or_else(|| self.incomplete("wrap a data key", "a ciphertext with a version"))?;
        let mut wrapped = wrapped::encode_head(
            ProviderCode::VaultTransit,
            &format!("{}:v{version}", self.full_name(account)),
        );
        wrapped.extend_from_slice(text.as_bytes());
        Ok(wrapped)
    }

    pub(crate) async fn unwrap(&self, account: &Account, bytes: &[u8]) -> Result<DataKey, KeyError> {
        const ACTION: &str = "open a data key";
        let wrapped = wrapped::decode(bytes)?;
        let ours = self.full_name(account);
        let name = wrapped.key_name.rsplit_once(":v").map_or("", |(name, _)| name);
        if wrapped.provider != ProviderCode::VaultTransit || name != ours {
            return Err(ForeignKey {
                provider: wrapped.provider,
                key_name: wrapped.key_name.to_owned(),
                ours: format!("Vault's transit key {ours}"),
            }
            .into());
        }
        let refused = || WrappedError::Refused {
            key_name: format!("Vault's transit key {}", wrapped.key_name),
            account: account.to_string(),
        };
        let binding = binding(account);
        let question = Question {
            ciphertext: Some(str::from_utf8(wrapped.ciphertext).map_err(|_| refused())?),
            ..Question::bound(&binding)
        };
        let path = format!("decrypt/{}", self.key_name(account));
        let body = match self.ask(ACTION, &path, &question).await {
            Err(error) if error.is_bad_ciphertext() => return Err(refused().into()),
            body => body?,
        };
        let key = Answer::read(&body).and_then(|answer| decode_key(answer.plaintext?));
        key.ok_or_else(|| self.incomplete(ACTION, "a key of 32 bytes").into())
    }

    pub(crate) async fn rotate(&self, account: &Account) -> Result<(), KeyError> {
        let path = format!("keys/{}/rotate", self.key_name(account));
        self.ask("rotate", &path, &Question::default()).await?;
        Ok(())
    }

    async fn ask(
        &self,
        action: &'static str,
        path: &str,
        question: &Question<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let Inner {
            client,
            settings,
            silence,
        } = &*self.inner;
        if let Some(reason) = silence.recent() {
            let cause = error::Cause::new(VaultFault::Unreachable, reason);
            return Err(VaultError::new(action, settings, cause));
        }
        let began = Instant::now();
        client.ask(path, question).await.map_err(|cause| {
            if cause.fault == VaultFault::Unreachable {
                silence.note(began, &cause.reason);
            }
            VaultError::new(action, settings, cause)
        })
    }

    fn incomplete(&self, action: &'static str, what: &str) -> VaultError {
        let cause = error::Cause::new(VaultFault::Refused, format!("its answer does not have {what}"));
        VaultError::new(action, &self.inner.settings, cause)
    }

    fn key_name(&self, account: &Account) -> String {
        self.inner.settings.key.replace(ACCOUNT_PLACE, account.as_str())
    }

    /// With namespace and mount: two keys of one name are not one key.
    fn full_name(&self, account: &Account) -> String {
        let VaultSettings { mount, namespace, .. } = &self.inner.settings;
        let parts = [namespace.as_deref(), Some(mount)].into_iter().flatten();
        let mut name: String = parts.flat_map(|part| [part.trim_matches('/'), "/"]).collect();
        name.push_str(&self.key_name(account));
        name
    }
}

/// What binds a ciphertext to its account, in base64 as Vault wants it.
fn binding(account: &Account) -> String {
    STANDARD.encode(format!("lambent:account:{account}"))
}

/// The version in `vault:v3:…`. OpenBao may be told to write another prefix, which ends the same way.
fn version(ciphertext: &str) -> Option<u32> {
    let (head, _) = ciphertext.rsplit_once(':')?;
    head.rsplit_once(":v")?.1.parse().ok()
}

fn decode_key(text: &str) -> Option<DataKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok()?);
    Some(DataKey::from_bytes(*bytes))
}
