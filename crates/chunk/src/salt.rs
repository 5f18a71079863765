//! What decides who shares chunks with whom.

use crate::Account;
use std::fmt;

/// Bytes mixed into key derivation: chunks under one salt share, chunks under two salts never do.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

/// Who may share a stored chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaltScope {
    /// All accounts of the store.
    Shared,
    /// Only images of this account: nobody else can tell by a chunk's presence what the account holds.
    Account(Account),
}

impl Salt {
    /// The salt for `scope` under a root's own random 32 bytes: BLAKE3 keyed with the root's bytes over the scope.
    #[must_use]
    pub fn derive(root_salt: &[u8; 32], scope: &SaltScope) -> Self {
        let label = match scope {
            SaltScope::Shared => "shared".to_owned(),
            SaltScope::Account(account) => format!("account {account}"),
        };
        Self(*blake3::keyed_hash(root_salt, label.as_bytes()).as_bytes())
    }

    /// One of several salts instead of this one, for chunks that so many share that not all should share one copy.
    #[must_use]
    pub fn lane(&self, lane: u32) -> Self {
        Self(*blake3::keyed_hash(&self.0, format!("lane {lane}").as_bytes()).as_bytes())
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Salt(..)")
    }
}
