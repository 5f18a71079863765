//! A manifest's data key: unwrapped, and wrapped anew after a rotation.
//!
//! ```text
//! rotate ─> the provider wraps with a new key ─> rewrap: for each image of the account
//!                                                  its data key is unwrapped, wrapped anew, stored beside the manifest
//! ```
//! No chunk, no manifest, no trace and no start pack is touched: all of them are sealed under the data key, which stays.
//! Each image is one small object, replaced whole. So whoever is interrupted has done a part of the images, and the next
//! run does the others; two runs at once do the same thing twice.

use super::{ImageError, Images, Loaded, READERS};
use bytes::Bytes;
use chunk::DataKey;
use keys::WrappingKey;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Images that could not be done and are named; more are only counted.
const FAILURES_NAMED_MAX: usize = 20;

/// What became of an account's images.
#[derive(Clone, Debug)]
pub struct Rewrapped {
    /// The key that wraps now.
    pub key: WrappingKey,
    /// Images that were wrapped anew.
    pub rewrapped: u64,
    /// Images that this key wrapped already.
    pub unchanged: u64,
    /// Images that could not be done: they are as they were.
    pub failures: u64,
    /// Why, of the first of them.
    pub named: Vec<String>,
}

/// With which keys an account's images are wrapped.
#[derive(Clone, Debug, Default)]
pub struct WrappingKeyUse {
    /// How many images each key wraps.
    pub images: BTreeMap<WrappingKey, u64>,
}

impl Images {
    /// Wraps the data keys of all the account's images with the provider's newest key; `done` counts images.
    pub fn rewrap(&self, done: &AtomicU64) -> Result<Rewrapped, ImageError> {
        let key = self.runtime.block_on(self.keys.wrapping_key(&self.account))?;
        let names = self.image_names()?;
        let result = Mutex::new(Rewrapped {
            key: key.clone(),
            rewrapped: 0,
            unchanged: 0,
            failures: 0,
            named: Vec::new(),
        });
        self.for_each(&names, |name| {
            let outcome = self.rewrap_one(name, &key);
            result.lock().unwrap_or_else(PoisonError::into_inner).add(name, outcome);
            done.fetch_add(1, Ordering::Relaxed);
        });
        Ok(result.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// With which keys the account's images are wrapped. Opens none.
    pub fn wrapping_keys(&self) -> Result<WrappingKeyUse, ImageError> {
        let names = self.image_names()?;
        let found = Mutex::new(Vec::with_capacity(names.len()));
        self.for_each(&names, |name| {
            let key = self.load(name).and_then(|loaded| self.wrapping_key_of(&loaded));
            found.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        });
        let mut uses = WrappingKeyUse::default();
        for key in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            *uses.images.entry(key?).or_default() += 1;
        }
        Ok(uses)
    }

    /// The key that opens an image's manifest, trace and start pack.
    pub(super) fn data_key(&self, loaded: &Loaded) -> Result<DataKey, ImageError> {
        let rewrapped = self.rewrapped_key(loaded)?;
        let own = loaded.manifest.wrapped_key();
        let unwrap = self.keys.unwrap_newest(&self.account, rewrapped.as_deref(), own);
        Ok(self.runtime.block_on(unwrap)?)
    }

    /// Whether the image was done.
    fn rewrap_one(&self, name: &str, key: &WrappingKey) -> Result<bool, ImageError> {
        let loaded = self.load(name)?;
        if self.wrapping_key_of(&loaded)? == *key {
            return Ok(false);
        }
        let data_key = self.data_key(&loaded)?;
        let id = self.manifest_id(&loaded.record)?;
        self.runtime.block_on(async {
            let wrapped = self.keys.wrap(&self.account, &data_key).await?;
            // What is stored has been seen to open: a provider that wraps and does not unwrap is found now.
            self.keys.unwrap(&self.account, &wrapped).await?;
            self.store.put_wrapped_key(id, wrapped.into()).await?;
            Ok(true)
        })
    }

    fn wrapping_key_of(&self, loaded: &Loaded) -> Result<WrappingKey, ImageError> {
        let rewrapped = self.rewrapped_key(loaded)?;
        let newest = rewrapped.as_deref().and_then(|wrapped| WrappingKey::of(wrapped).ok());
        match newest {
            Some(key) => Ok(key),
            None => Ok(WrappingKey::of(loaded.manifest.wrapped_key()).map_err(keys::KeyError::from)?),
        }
    }

    fn rewrapped_key(&self, loaded: &Loaded) -> Result<Option<Bytes>, ImageError> {
        let id = self.manifest_id(&loaded.record)?;
        Ok(self.runtime.block_on(self.store.get_wrapped_key(id))?)
    }

    fn image_names(&self) -> Result<Vec<String>, ImageError> {
        let entries = self.runtime.block_on(self.store.list_records(&self.account))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// With several threads, in no order.
    fn for_each(&self, names: &[String], work: impl Fn(&str) + Sync) {
        let next = AtomicUsize::new(0);
        let take = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(name);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..READERS.min(names.len()) {
                scope.spawn(take);
            }
        });
    }
}

impl Rewrapped {
    fn add(&mut self, name: &str, outcome: Result<bool, ImageError>) {
        match outcome {
            Ok(true) => self.rewrapped += 1,
            Ok(false) => self.unchanged += 1,
            Err(error) => {
                self.failures += 1;
                if self.named.len() < FAILURES_NAMED_MAX {
                    self.named.push(format!("{name}: {error}"));
                }
            }
        }
    }
}
