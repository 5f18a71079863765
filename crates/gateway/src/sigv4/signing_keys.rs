//! Derived keys, so that a request costs one HMAC and not five.

use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Derived keys that are kept. One for each key, day, region and service in use; beyond that all are forgotten and
/// derived again, which costs four HMACs each.
const KEPT_MAX: usize = 4096;

/// Derived keys by their credential, `KEY/DATE/REGION/SERVICE/aws4_request`.
///
/// An access key keeps its secret as long as it lives and its id is never given again, so what is kept cannot be wrong;
/// whether the key still exists is asked elsewhere, at every request.
pub(crate) struct SigningKeys {
    kept: Mutex<HashMap<Box<str>, Arc<hmac::Key>>>,
}

/// What a derived key is made from.
pub(super) struct Derivation<'a> {
    pub(super) credential: &'a str,
    pub(super) secret: &'a str,
    pub(super) time_ms: u64,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl SigningKeys {
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::new(HashMap::new()),
        }
    }

    /// The key, and whether it was derived now.
    pub(super) fn get(&self, from: &Derivation<'_>) -> (Arc<hmac::Key>, bool) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.get(from.credential) {
            return (Arc::clone(key), false);
        }
        drop(kept);
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(from.time_ms);
        let bytes = aws_sigv4::sign::v4::generate_signing_key(from.secret, time, from.region, from.service);
        (Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_ref())), true)
    }

    /// Keeps a key that has verified a request. Only then: a stranger's invented scopes must not fill the table.
    pub(super) fn keep(&self, credential: &str, key: Arc<hmac::Key>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(credential.into(), key);
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}
