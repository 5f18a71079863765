//! What requests to function URLs need of the record, in memory: the URL by its id, and the policy of what it calls.
//!
//! A URL is read on its first request, and forgotten by every write that concerns it: of the URL, of its function's
//! policies, of its alias, of the function. A reading that was overtaken by a write is not kept: the epoch tells. An id
//! that nobody has is asked of the database each time, because strangers could fill any memory with such ids.
//!
//! Measured (SQLite on a disk, two cores, profile dev, one caller): the two look-ups cost 130 to 210 us at the median and
//! up to 2.4 ms at p99 in the database, 0.5 us and 0.9 us in memory. A warm invocation has 1 ms.

use crate::policies::{KIND_FUNCTION, PolicyKey};
use crate::{Control, ControlError, FunctionUrl, PolicyRecord};
use chunk::Account;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// URLs in memory. Beyond it all are forgotten and read again as they are called. A URL and a usual policy take 2 KiB,
/// the longest policy (20 KB of JSON) perhaps 60 KiB: 120 MB at the very most.
const URLS_MAX: usize = 2_000;

/// URLs that were called since they last changed.
#[derive(Default)]
pub(crate) struct UrlIndex {
    state: RwLock<UrlState>,
}

#[derive(Default)]
struct UrlState {
    /// Counts the writes.
    epoch: u64,
    /// By id.
    urls: HashMap<String, Arc<IndexedUrl>>,
}

/// All that decides what a URL calls and for whom.
pub(crate) struct IndexedUrl {
    pub(crate) url: FunctionUrl,
    /// Of the function, or of the alias that the URL names.
    pub(crate) policy: Option<PolicyRecord>,
}

impl UrlIndex {
    fn get(&self, id: &str) -> Option<Arc<IndexedUrl>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.urls.get(id).cloned()
    }

    fn epoch(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    fn put(&self, found: &Arc<IndexedUrl>, epoch: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.epoch != epoch {
            return;
        }
        if state.urls.len() >= URLS_MAX {
            state.urls.clear();
        }
        state.urls.insert(found.url.id.clone(), Arc::clone(found));
    }

    /// Forgets a function's URLs. Writes are rare and cost a disk's flush each, so looking at all URLs is little.
    pub(crate) fn forget(&self, account: &Account, name: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.epoch += 1;
        state
            .urls
            .retain(|_, found| found.url.name != name || found.url.account != *account);
    }
}

impl Control {
    /// From memory, or else from the database; none if nobody has this id.
    pub(crate) async fn indexed_url(&self, id: &str) -> Result<Option<Arc<IndexedUrl>>, ControlError> {
        if let Some(found) = self.inner.urls.get(id) {
            return Ok(Some(found));
        }
        let epoch = self.inner.urls.epoch();
        let Some(url) = self.read_function_url(id).await? else {
            return Ok(None);
        };
        let policy = self.policy(policy_of(&url)).await?;
        let found = Arc::new(IndexedUrl { url, policy });
        self.inner.urls.put(&found, epoch);
        Ok(Some(found))
    }

    /// Must follow every write of a function's URLs or policies, after the commit. Other writes of the function end in
    /// [`Control::function_changed`], which says it too.
    pub(crate) fn urls_changed(&self, account: &Account, name: &str) {
        self.inner.urls.forget(account, name);
    }
}

fn policy_of(url: &FunctionUrl) -> PolicyKey<'_> {
    PolicyKey {
        account: &url.account,
        kind: KIND_FUNCTION,
        name: &url.name,
        qualifier: url.qualifier.as_deref().unwrap_or(crate::function_record::LATEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> Arc<IndexedUrl> {
        let url = FunctionUrl {
            id: format!("id-{number}"),
            account: "123456789012".parse().unwrap(),
            name: format!("function-{number}"),
            qualifier: None,
            function_arn: String::new(),
            auth_type: "NONE".to_owned(),
            invoke_mode: "BUFFERED".to_owned(),
            cors: None,
            created_ms: 0,
            modified_ms: 0,
        };
        Arc::new(IndexedUrl { url, policy: None })
    }

    #[test]
    fn a_write_forgets_its_function_alone() {
        let index = UrlIndex::default();
        index.put(&url(1), index.epoch());
        index.put(&url(2), index.epoch());
        index.forget(&url(1).url.account, "function-1");
        assert!(index.get("id-1").is_none());
        assert!(index.get("id-2").is_some());
    }

    #[test]
    fn a_reading_that_a_write_overtook_is_not_kept() {
        let index = UrlIndex::default();
        let epoch = index.epoch();
        index.forget(&url(1).url.account, "function-1");
        index.put(&url(1), epoch);
        assert!(index.get("id-1").is_none());
    }

    #[test]
    fn it_has_a_bound() {
        let index = UrlIndex::default();
        for number in 0..=URLS_MAX {
            index.put(&url(number), index.epoch());
        }
        let kept = index.state.read().unwrap().urls.len();
        assert!(kept <= URLS_MAX, "{kept}");
        assert!(index.get(&format!("id-{URLS_MAX}")).is_some());
    }
}
