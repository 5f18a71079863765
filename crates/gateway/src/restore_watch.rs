//! Says when a new version restores slower than the one before it.

use crate::metrics::Metrics;
use crate::start_records::StartEntry;
use chunk::Account;
use control::Control;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// Versions that are remembered as told. Beyond it all are forgotten, and some are told once more.
const TOLD_MAX: usize = 10_000;

/// Account, function, version.
type Key = (Account, String, String);

/// Looks at restores as they are recorded, off the path of the invocations that waited for them.
#[derive(Default)]
pub(crate) struct RestoreWatch {
    told: Mutex<HashSet<Key>>,
}

impl RestoreWatch {
    /// Looks at a version whose start was just recorded; says once for each version what is to be said.
    pub(crate) async fn look(&self, control: &Control, metrics: &Metrics, entry: &StartEntry) {
        let (account, name, version) = (&entry.account, &entry.name, &entry.record.version);
        let key = (account.clone(), name.clone(), version.clone());
        if !entry.record.is_restore() || self.told().contains(&key) {
            return;
        }
        match control.slower_restores(account, name, version).await {
            Ok(None) => {}
            Ok(Some(slower)) => {
                self.remember(key);
                metrics.slower_restores();
                warn!(
                    function = name,
                    version,
                    median_us = slower.median_us,
                    before = slower.before,
                    before_median_us = slower.before_median_us,
                    "a version restores slower than the one before it; see `lambent function starts {name}`"
                );
            }
            Err(error) => warn!(function = name, "a version's restores are not compared: {error}"),
        }
    }

    fn remember(&self, key: Key) {
        let mut told = self.told();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(key);
    }

    fn told(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
