//! The keyring's file: who may read it, how it is replaced.
//!
//! ```json
//! { "version": 1, "accounts": { "123456789012": "32 random bytes in base64" } }
//! { "version": 2, "accounts": { "123456789012": { "keys": ["the newest", "older ones"], "revoked": false } } }
//! ```
//! Version 2 is written as soon as an account has several keys or a revoked one, and version 1 as long as none has: a
//! build that knows version 1 alone then says that it is too old, and does not take a revoked key for a good one.
//!
//! Readers take no lock: the file is replaced by a rename, so they see the old one or the new one. Writers hold an
//! flock on `PATH.lock`, read the file again under it, and add to what they read; so two processes that start at once
//! end with one key, and neither loses the other's account. The lock is a file of its own because a rename gives the
//! keyring another inode. Whatever a killed writer leaves (`PATH.lock`, `PATH.new`) is in nobody's way.

use crate::ErrorKind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chunk::{Account, DataKey, KEY_BYTES};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const VERSION: u32 = 2;
const VERSION_PLAIN: u32 = 1;
/// Keys of one account. A rotation each month fills them in five years, unless old ones are pruned.
pub(crate) const KEYS_MAX: usize = 64;
/// Some 8,000 accounts; more belong in a KMS.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const OWNER_ONLY: Mode = Mode::from_raw_mode(0o600);

pub(crate) type Keys = BTreeMap<Account, AccountKeys>;

/// The wrapping keys of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountKeys {
    /// The newest, which wraps, comes first; the others only unwrap. At least one.
    pub(crate) keys: Vec<DataKey>,
    /// Nothing of the account is wrapped or unwrapped.
    pub(crate) revoked: bool,
}

impl AccountKeys {
    pub(crate) fn of(key: DataKey) -> Self {
        Self {
            keys: vec![key],
            revoked: false,
        }
    }

    pub(crate) fn newest(&self) -> &DataKey {
        self.keys
            .first()
            .expect("the decoder and all writers keep at least one key")
    }
}

/// A keyring that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The system refuses.
    #[error("cannot {action} the keyring {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others may read or change the keys.
    #[error("the keyring {0} can be used by others (mode {mode:03o}): run chmod 600 {0}", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user's.
    #[error(
        "the keyring {} belongs to user {owner}, and lambent runs as user {user}: run as its owner, or chown it",
        path.display()
    )]
    WrongOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A directory, a device, or a symbolic link.
    #[error(
        "the keyring {} is not a plain file (symbolic links are not followed): give the file's own path",
        path.display()
    )]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Not what we write.
    #[error(
        "the keyring {} is corrupt: {reason}; restore it from a backup, for images cannot be opened without it",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer Lambent.
    #[error(
        "the keyring {} has version {found} (this build reads version {VERSION} and older): update lambent",
        path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version that was found.
        found: u32,
    },
    /// The account's images were pushed with another keyring.
    #[error(
        "the keyring {} has no key for account {account}: use the keyring that its images were pushed with",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The account.
        account: Account,
    },
    /// The operator revoked the account's key.
    #[error(
        "the key of account {account} in the keyring {} is revoked, and its images cannot be opened: \
         `lambent account key restore` makes it valid again",
        path.display()
    )]
    Revoked {
        /// The file.
        path: PathBuf,
        /// The account.
        account: Account,
    },
    /// One more key would be too many.
    #[error(
        "account {account} has {KEYS_MAX} keys in the keyring {}: run `lambent account key rewrap`, and then prune",
        path.display()
    )]
    TooManyKeys {
        /// The file.
        path: PathBuf,
        /// The account.
        account: Account,
    },
}

impl KeyringError {
    pub(crate) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. } => ErrorKind::BadData,
            Self::Io { .. }
            | Self::OpenToOthers { .. }
            | Self::WrongOwner { .. }
            | Self::NotAFile { .. }
            | Self::UnknownVersion { .. }
            | Self::NoKey { .. }
            | Self::Revoked { .. }
            | Self::TooManyKeys { .. } => ErrorKind::FixRequest,
        }
    }

    /// Whether the keyring was read, and has no valid key for the account. One that cannot be read says nothing.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::NoKey { .. } | Self::Revoked { .. })
    }
}

/// Keys stay in the buffer that was read, or in buffers that are wiped: both maps borrow their texts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileV1<'a> {
    version: u32,
    #[serde(borrow)]
    accounts: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileV2<'a> {
    version: u32,
    #[serde(borrow)]
    accounts: BTreeMap<&'a str, AccountV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountV2<'a> {
    #[serde(borrow)]
    keys: Vec<&'a str>,
    revoked: bool,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// The keys in the file, `None` when there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Keys>, KeyringError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(KeyringError::NotAFile { path: path.to_owned() }),
        Err(errno) => return Err(failed("open", path)(errno.into())),
    };
    check_permissions(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    decode(path, &bytes).map(Some)
}

/// Gives `change` the keys of the file (none, when there is no file), then replaces it by what `change` left.
pub(crate) fn update(
    path: &Path,
    change: impl FnOnce(&mut Keys) -> Result<(), KeyringError>,
) -> Result<Keys, KeyringError> {
    let folder = folder(path);
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("make the folder of", path))?;
    // Released when it is closed, also by a kill.
    let _lock = lock(path)?;
    let before = read(path)?;
    let mut keys = before.clone().unwrap_or_default();
    change(&mut keys)?;
    if before.as_ref() != Some(&keys) {
        replace(path, &encode(&keys)).map_err(failed("write", path))?;
    }
    Ok(keys)
}

fn check_permissions(path: &Path, file: &File) -> Result<(), KeyringError> {
    let path = path.to_owned();
    let metadata = file.metadata().map_err(failed("look at", &path))?;
    let user = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        Err(KeyringError::NotAFile { path })
    } else if metadata.uid() != user {
        let owner = metadata.uid();
        Err(KeyringError::WrongOwner { path, owner, user })
    } else if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        Err(KeyringError::OpenToOthers { path, mode })
    } else {
        Ok(())
    }
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Keys, KeyringError> {
    // serde_json's messages name places and fields, and quote an unknown field's name but no value of a known one.
    let corrupt = |reason: String| KeyringError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(corrupt(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let json = |error: serde_json::Error| corrupt(format!("line {}, column {}", error.line(), error.column()));
    let VersionOnly { version } = serde_json::from_slice(bytes).map_err(json)?;
    let accounts = match version {
        VERSION_PLAIN => {
            let file: FileV1<'_> = serde_json::from_slice(bytes).map_err(json)?;
            let plain = |(account, key)| {
                (
                    account,
                    AccountV2 {
                        keys: vec![key],
                        revoked: false,
                    },
                )
            };
            file.accounts.into_iter().map(plain).collect()
        }
        VERSION => serde_json::from_slice::<FileV2<'_>>(bytes).map_err(json)?.accounts,
        found => {
            let path = path.to_owned();
            return Err(KeyringError::UnknownVersion { path, found });
        }
    };
    let mut keys = Keys::new();
    for (account, texts) in accounts {
        let account: Account = account
            .parse()
            .map_err(|_| corrupt("a name is not an account".to_owned()))?;
        if texts.keys.is_empty() || texts.keys.len() > KEYS_MAX {
            return Err(corrupt(format!("account {account} has {} keys", texts.keys.len())));
        }
        let decoded: Option<Vec<DataKey>> = texts.keys.into_iter().map(decode_key).collect();
        let decoded = decoded.ok_or_else(|| corrupt(format!("the key of account {account} is not 32 bytes")))?;
        let revoked = texts.revoked;
        keys.insert(account, AccountKeys { keys: decoded, revoked });
    }
    Ok(keys)
}

fn decode_key(text: &str) -> Option<DataKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok()?);
    Some(DataKey::from_bytes(*bytes))
}

fn encode(keys: &Keys) -> Zeroizing<Vec<u8>> {
    let texts: BTreeMap<&Account, Vec<Zeroizing<String>>> = keys
        .iter()
        .map(|(account, own)| (account, own.keys.iter().map(encode_key).collect()))
        .collect();
    // Enough from the start: a vector that grows leaves copies behind.
    let keys_in_all: usize = texts.values().map(Vec::len).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 + 160 * keys.len() + 80 * keys_in_all));
    let plain = keys.values().all(|own| !own.revoked && own.keys.len() == 1);
    let written = if plain {
        let accounts = texts
            .iter()
            .map(|(account, texts)| (account.as_str(), texts[0].as_str()));
        serde_json::to_writer_pretty(
            &mut *bytes,
            &FileV1 {
                version: VERSION_PLAIN,
                accounts: accounts.collect(),
            },
        )
    } else {
        let accounts = texts.iter().map(|(account, texts)| {
            let own = AccountV2 {
                keys: texts.iter().map(|text| text.as_str()).collect(),
                revoked: keys[*account].revoked,
            };
            (account.as_str(), own)
        });
        serde_json::to_writer_pretty(
            &mut *bytes,
            &FileV2 {
                version: VERSION,
                accounts: accounts.collect(),
            },
        )
    };
    written.expect("texts are always JSON, and memory takes them");
    bytes.push(b'\n');
    bytes
}

fn encode_key(key: &DataKey) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(key.expose()))
}

fn lock(path: &Path) -> Result<File, KeyringError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::open(with_suffix(path, ".lock"), flags, OWNER_ONLY)
        .and_then(|lock| rustix::fs::flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
    lock.map(File::from).map_err(|errno| failed("lock", path)(errno.into()))
}

/// The new file is on disk before it gets its name, and the name before this returns.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    // Only a killed writer leaves one; we hold the lock.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&new, flags, OWNER_ONLY)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyringError {
    let path = path.to_owned();
    move |source| KeyringError::Io { action, path, source }
}

#[cfg(test)]
mod tests;
