//! What invocations need of functions, in memory.
//!
//! A function is read whole on its first invocation, and forgotten by every write that concerns it. A reading that was
//! overtaken by a write is not kept: the epoch tells.

use crate::aliases::AliasRecord;
use crate::function_record::versions_after;
use crate::traffic_tags::Traffic;
use crate::{Control, ControlError, Lifecycle, ProvisionedConcurrency, concurrency};
use api::Lease;
use chunk::Account;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Functions in memory. Beyond it all are forgotten and read again as they are invoked: simple, and rare.
const FUNCTIONS_MAX: usize = 10_000;

/// Functions that were invoked since they last changed.
#[derive(Default)]
pub(crate) struct FunctionIndex {
    state: RwLock<IndexState>,
}

#[derive(Default)]
struct IndexState {
    /// Counts what was forgotten.
    epoch: u64,
    /// By account, then by name: looked up without making a key of both.
    accounts: HashMap<String, HashMap<String, Arc<IndexedFunction>>>,
    functions: usize,
}

/// All that decides what an invocation runs.
pub(crate) struct IndexedFunction {
    /// By `$LATEST` or number.
    pub(crate) versions: HashMap<String, IndexedVersion>,
    pub(crate) aliases: HashMap<String, AliasRecord>,
    pub(crate) reserved_concurrency: Option<u32>,
    pub(crate) wishes: Vec<ProvisionedConcurrency>,
    /// Versions that aliases serve for now in place of those that they name, by alias.
    pub(crate) held: HashMap<String, String>,
    pub(crate) traffic: Arc<Traffic>,
}

pub(crate) struct IndexedVersion {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) lease: Option<Arc<Lease>>,
}

impl FunctionIndex {
    pub(crate) fn get(&self, account: &Account, name: &str) -> Option<Arc<IndexedFunction>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.accounts.get(account.as_str())?.get(name).cloned()
    }

    pub(crate) fn forget(&self, account: &Account, name: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.epoch += 1;
        let removed = state
            .accounts
            .get_mut(account.as_str())
            .and_then(|functions| functions.remove(name));
        state.functions -= usize::from(removed.is_some());
    }

    fn epoch(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    fn put(&self, (account, name): (&Account, &str), function: &Arc<IndexedFunction>, epoch: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.epoch != epoch {
            return;
        }
        if state.functions >= FUNCTIONS_MAX {
            state.accounts.clear();
            state.functions = 0;
        }
        let functions = state.accounts.entry(account.as_str().to_owned()).or_default();
        let new = functions.insert(name.to_owned(), Arc::clone(function)).is_none();
        state.functions += usize::from(new);
    }
}

impl Control {
    /// From memory, or else from the database; none if there is no such function.
    pub(crate) async fn indexed(
        &self,
        account: &Account,
        name: &str,
    ) -> Result<Option<Arc<IndexedFunction>>, ControlError> {
        if let Some(found) = self.inner.index.get(account, name) {
            return Ok(Some(found));
        }
        let epoch = self.inner.index.epoch();
        let records = versions_after(self, (account, name), None, i64::MAX).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let aliases = self.all_aliases(account, name).await?;
        let reserved = self.reserved_concurrency(account, name).await?;
        let traffic = Traffic::of(&self.function_tags(account, name).await?);
        let wishes = {
            let mut connection = self.pool().acquire().await?;
            concurrency::all_of_function(&mut connection, account, name).await?
        };
        let mut held = self.inner.held.of_function(account, name);
        held.retain(|alias, version| {
            wishes.iter().any(|wish| wish.qualifier == *alias)
                && aliases.iter().any(|record| record.name == *alias)
                && records.iter().any(|record| record.version == *version)
        });
        let function = Arc::new(IndexedFunction {
            wishes,
            held,
            versions: records
                .into_iter()
                .map(|record| {
                    (
                        record.version,
                        IndexedVersion {
                            lifecycle: record.lifecycle,
                            lease: record.lease.map(|lease| traffic.applied_to(lease)),
                        },
                    )
                })
                .collect(),
            aliases: aliases.into_iter().map(|alias| (alias.name.clone(), alias)).collect(),
            reserved_concurrency: reserved.map(|reserved| u32::try_from(reserved).unwrap_or(u32::MAX)),
            traffic: Arc::new(traffic),
        });
        self.inner.index.put((account, name), &function, epoch);
        Ok(Some(function))
    }
}
