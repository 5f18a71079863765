//! What an account wants of every machine that writes for it.
//!
//! One line of JSON under `accounts/ACCOUNT.json`: `{"version":1,"salt_scope":"account"}`. It lies in the store and not
//! in a machine's settings, since whoever pushes for the account, from wherever, must keep to it. A push may ask for
//! less sharing than the policy allows, never for more.

use crate::error::Sort;
use crate::{Store, StoreError, layout};
use chunk::Account;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// Whom an account's chunks may be shared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyScope {
    /// All accounts of the store.
    #[default]
    Shared,
    /// Nobody: the account's chunks have a salt of their own, so that no other can tell by a chunk's presence what it
    /// holds. Costs a copy of all that others have, too.
    Account,
}

/// An account's policy; without one it is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountPolicy {
    /// For chunks that are written from now on.
    pub salt_scope: PolicyScope,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: u32,
    salt_scope: PolicyScope,
}

impl Store {
    /// An account's policy.
    pub async fn account_policy(&self, account: &Account) -> Result<AccountPolicy, StoreError> {
        let read = self
            .read_optional(Sort::Policy, account.as_str(), &layout::policy(account))
            .await?;
        let Some(bytes) = read else {
            return Ok(AccountPolicy::default());
        };
        let corrupt = |reason| self.corrupt(Sort::Policy, account.as_str(), reason);
        let file: PolicyFile = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        if file.version != VERSION {
            let reason = format!("its version {} is not known here: update lambent", file.version);
            return Err(corrupt(reason).into());
        }
        Ok(AccountPolicy {
            salt_scope: file.salt_scope,
        })
    }

    /// Sets an account's policy, for all pushes that begin from now on.
    pub async fn set_account_policy(&self, account: &Account, policy: AccountPolicy) -> Result<(), StoreError> {
        let file = PolicyFile {
            version: VERSION,
            salt_scope: policy.salt_scope,
        };
        let bytes = serde_json::to_vec(&file).expect("numbers and strings are always JSON");
        self.replace(Sort::Policy, account.as_str(), &layout::policy(account), bytes.into())
            .await
    }
}
