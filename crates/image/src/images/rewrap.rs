//! A manifest's data key: unwrapped, and wrapped anew after a rotation.
//!
//! ```text
//! rotate ─> the provider wraps with a new key ─> rewrap: for each image of the account
//!                                                  its data key is unwrapped, wrapped anew, stored beside the manifest
//! ```
//! The account's images are those with a record, and devices that a server holds whose record has gone (`store::holds`).
//! No chunk, no manifest, no trace and no start pack is touched: all of them are sealed under the data key, which stays.
//! Each image is one small object, replaced whole. So whoever is interrupted has done a part of the images, and the next
//! run does the others; two runs at once do the same thing twice.

use super::{ImageError, Images, Loaded, READERS};
use bytes::Bytes;
use chunk::{ChunkId, DataKey, Manifest};
use keys::WrappingKey;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use store::{Held, StoreError};

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

/// A manifest, as far as its data key is concerned.
struct WrappedManifest {
    id: ChunkId,
    /// The key as it was pushed.
    own: Vec<u8>,
}

impl Images {
    /// Wraps the data keys of all the account's images with the provider's newest key; `done` counts images.
    pub fn rewrap(&self, done: &AtomicU64) -> Result<Rewrapped, ImageError> {
        let key = self.runtime.block_on(self.keys.wrapping_key(&self.account))?;
        let result = Mutex::new(Rewrapped {
            key: key.clone(),
            rewrapped: 0,
            unchanged: 0,
            failures: 0,
            named: Vec::new(),
        });
        self.for_each_key(|name, wrapped| {
            let outcome = wrapped.and_then(|wrapped| self.rewrap_one(&wrapped, &key));
            result.lock().unwrap_or_else(PoisonError::into_inner).add(name, outcome);
            done.fetch_add(1, Ordering::Relaxed);
        })?;
        Ok(result.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// With which keys the account's images are wrapped. Opens none.
    pub fn wrapping_keys(&self) -> Result<WrappingKeyUse, ImageError> {
        let found = Mutex::new(Vec::new());
        self.for_each_key(|_, wrapped| {
            let key = wrapped.and_then(|wrapped| self.wrapping_key_of(&wrapped));
            found.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        })?;
        let mut uses = WrappingKeyUse::default();
        for key in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            *uses.images.entry(key?).or_default() += 1;
        }
        Ok(uses)
    }

    /// The key that opens an image's manifest, trace and start pack.
    pub(super) fn data_key(&self, loaded: &Loaded) -> Result<DataKey, ImageError> {
        self.data_key_of(&self.wrapped_of(loaded)?)
    }

    fn data_key_of(&self, wrapped: &WrappedManifest) -> Result<DataKey, ImageError> {
        let rewrapped = self.rewrapped_key(wrapped)?;
        let unwrap = self
            .keys
            .unwrap_newest(&self.account, rewrapped.as_deref(), &wrapped.own);
        Ok(self.runtime.block_on(unwrap)?)
    }

    /// Whether the image was done.
    fn rewrap_one(&self, wrapped: &WrappedManifest, key: &WrappingKey) -> Result<bool, ImageError> {
        if self.wrapping_key_of(wrapped)? == *key {
            return Ok(false);
        }
        let data_key = self.data_key_of(wrapped)?;
        self.runtime.block_on(async {
            let anew = self.keys.wrap(&self.account, &data_key).await?;
            // What is stored has been seen to open: a provider that wraps and does not unwrap is found now.
            self.keys.unwrap(&self.account, &anew).await?;
            self.store.put_wrapped_key(wrapped.id, anew.into()).await?;
            Ok(true)
        })
    }

    fn wrapping_key_of(&self, wrapped: &WrappedManifest) -> Result<WrappingKey, ImageError> {
        let rewrapped = self.rewrapped_key(wrapped)?;
        let newest = rewrapped.as_deref().and_then(|wrapped| WrappingKey::of(wrapped).ok());
        match newest {
            Some(key) => Ok(key),
            None => Ok(WrappingKey::of(&wrapped.own).map_err(keys::KeyError::from)?),
        }
    }

    fn rewrapped_key(&self, wrapped: &WrappedManifest) -> Result<Option<Bytes>, ImageError> {
        Ok(self.runtime.block_on(self.store.get_wrapped_key(wrapped.id))?)
    }

    fn wrapped_of(&self, loaded: &Loaded) -> Result<WrappedManifest, ImageError> {
        Ok(WrappedManifest {
            id: self.manifest_id(&loaded.record)?,
            own: loaded.manifest.wrapped_key().to_vec(),
        })
    }

    /// Calls `work` with the name and the wrapped key of each image, and then of each device that is held without one.
    fn for_each_key(&self, work: impl Fn(&str, Result<WrappedManifest, ImageError>) + Sync) -> Result<(), ImageError> {
        let names = self.image_names()?;
        let seen = Mutex::new(HashSet::new());
        self.for_each(&names, |name| {
            let wrapped = self.load(name).and_then(|loaded| self.wrapped_of(&loaded));
            if let Ok(wrapped) = &wrapped {
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(wrapped.id);
            }
            work(name, wrapped);
        });
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let held = self.runtime.block_on(self.store.list_held())?;
        let mut held: Vec<Held> = held.into_iter().filter(|held| held.account == self.account).collect();
        held.sort_unstable_by_key(|held| held.manifest);
        held.dedup_by_key(|held| held.manifest);
        held.retain(|held| !seen.contains(&held.manifest));
        self.for_each(&held, |held| match self.wrapped_of_held(held) {
            // Held when it had gone already: its server lets it go.
            Err(ImageError::Store(StoreError::Missing(_))) => {}
            wrapped => work(&format!("device {}", held.manifest), wrapped),
        });
        Ok(())
    }

    fn wrapped_of_held(&self, held: &Held) -> Result<WrappedManifest, ImageError> {
        let stored = self.store.get_manifest(held.generation, held.manifest);
        let manifest = Manifest::decode(&self.runtime.block_on(stored)?).map_err(|source| ImageError::Manifest {
            name: format!("server {}", held.server),
            manifest: held.manifest.to_string(),
            source,
        })?;
        Ok(WrappedManifest {
            id: held.manifest,
            own: manifest.wrapped_key().to_vec(),
        })
    }

    fn image_names(&self) -> Result<Vec<String>, ImageError> {
        let entries = self.runtime.block_on(self.store.list_records(&self.account))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// With several threads, in no order.
    fn for_each<T: Sync>(&self, all: &[T], work: impl Fn(&T) + Sync) {
        let next = AtomicUsize::new(0);
        let take = || {
            while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(one);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..READERS.min(all.len()) {
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
