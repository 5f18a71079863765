//! Passwords for the registry that last twelve hours: ECR's authorization tokens.
//!
//! ```text
//! KEY.EXPIRES.MAC     an access key's id; milliseconds since 1970; HMAC-SHA-256 of `KEY.EXPIRES`, 64 hexadecimal digits
//! ```
//! A token speaks for the access key that asked for it, with that key's policy, and ends with it. They are checked without
//! a table. The key is 32 random bytes in a file of mode 0600, made at the first use; to
//! end all tokens at once, remove it and restart.

use super::blobs::{self, BlobError};
use aws_lc_rs::hmac;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a token is good. 12 h: what ECR gives.
pub const REGISTRY_TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// As long as the hash, which RFC 2104 recommends.
const KEY_BYTES: usize = 32;

/// Gives tokens and checks them. Reads its key from the disk once.
pub struct RegistryTokens {
    path: PathBuf,
    key: Mutex<Option<hmac::Key>>,
}

impl fmt::Debug for RegistryTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RegistryTokens")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl RegistryTokens {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            key: Mutex::new(None),
        }
    }

    /// A token for an access key, by its id, and the millisecond since 1970 at which it ends.
    pub fn issue(&self, key_id: &str, now_ms: u64) -> Result<(Zeroizing<String>, u64), BlobError> {
        let life_ms = u64::try_from(REGISTRY_TOKEN_LIFE.as_millis()).expect("twelve hours are few milliseconds");
        let expires_ms = now_ms.saturating_add(life_ms);
        let claim = format!("{key_id}.{expires_ms}");
        let mac = hmac::sign(&self.key()?, claim.as_bytes());
        Ok((Zeroizing::new(format!("{claim}.{}", hex::encode(mac))), expires_ms))
    }

    /// The id of the access key that a token is for; `None` when it was not given here or has ended. Compares in constant time.
    pub fn check(&self, token: &str, now_ms: u64) -> Result<Option<String>, BlobError> {
        let Some((claim, mac)) = token.rsplit_once('.') else {
            return Ok(None);
        };
        let Ok(mac) = hex::decode(mac) else {
            return Ok(None);
        };
        if hmac::verify(&self.key()?, claim.as_bytes(), &mac).is_err() {
            return Ok(None);
        }
        let Some((key_id, expires_ms)) = claim.split_once('.') else {
            return Ok(None);
        };
        let is_fresh = expires_ms.parse().is_ok_and(|expires_ms: u64| now_ms < expires_ms);
        Ok(is_fresh.then(|| key_id.to_owned()))
    }

    fn key(&self) -> Result<hmac::Key, BlobError> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(key.clone());
        }
        let stored = blobs::read_file(&self.path)?.map(Zeroizing::new);
        let bytes = match stored.filter(|bytes| bytes.len() == KEY_BYTES) {
            Some(bytes) => bytes,
            None => self.make()?,
        };
        Ok(key.insert(hmac::Key::new(hmac::HMAC_SHA256, &bytes)).clone())
    }

    fn make(&self) -> Result<Zeroizing<Vec<u8>>, BlobError> {
        let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
        blobs::write_file(&self.path, &bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_key_and_time_and_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.key");
        let key = "AKIA1EXAMPLE";
        let tokens = RegistryTokens::new(path.clone());
        let (token, expires_ms) = tokens.issue(key, 1_000).unwrap();
        assert_eq!(expires_ms, 1_000 + 12 * 3_600_000);
        for tokens in [tokens, RegistryTokens::new(path)] {
            assert_eq!(tokens.check(&token, expires_ms - 1).unwrap(), Some(key.to_owned()));
            assert_eq!(tokens.check(&token, expires_ms).unwrap(), None);
            let other = token.replacen('1', "2", 1);
            for bad in [
                "",
                ".",
                "..",
                "a.b.c",
                &other,
                &token[..token.len() - 2],
                "AKIA1EXAMPLE.99999999999999.",
            ] {
                assert_eq!(tokens.check(bad, 1_000).unwrap(), None, "{bad}");
            }
        }
        let stranger = RegistryTokens::new(directory.path().join("other.key"));
        assert_eq!(stranger.check(&token, 1_000).unwrap(), None);
    }
}
