//! Data keys that a rotation wrapped anew, and whose manifests are gone.
//!
//! They lie outside of all roots (see `wrapped_keys`), so no root takes them with it. One goes when no root has its
//! manifest any more, whatever the root's state: then there is nothing left that it could open. Nobody makes such a
//! manifest again, since each has a nonce of its own.
//!
//! **Order is the proof here, too.** The keys are listed before the manifests, so that a key that comes meanwhile is not
//! judged; and roots from the oldest to the youngest, until there is no younger one, since a manifest moves to a younger
//! one and is there before it is gone from the older. A rotation that had slept may leave the key of a manifest that was deleted meanwhile: the
//! next collection finds it.

use super::{Collector, LiveManifest};
use crate::{StoreError, layout};
use chunk::ChunkId;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use object_store::path::Path;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

impl<'l, L, E> Collector<'_, L>
where
    L: Fn() -> BoxFuture<'l, Result<Vec<LiveManifest>, E>>,
    E: From<StoreError> + 'l,
{
    /// Deletes the keys of manifests that no root has; in a dry run they are counted.
    pub(super) async fn remove_keys(&mut self) -> Result<(), StoreError> {
        let dead = self.dead_keys().await?;
        self.report.keys_deleted = dead.len() as u64;
        if self.settings.is_dry_run {
            return Ok(());
        }
        let this = &*self;
        futures::stream::iter(dead.into_values().map(Ok))
            .try_for_each_concurrent(this.store.settings().in_flight_requests, |key| async move {
                this.pace.wait().await;
                this.store.delete(&key).await?;
                this.progress.objects_deleted.fetch_add(1, Ordering::Relaxed);
                Ok::<_, StoreError>(())
            })
            .await
    }

    async fn dead_keys(&self) -> Result<HashMap<ChunkId, Path>, StoreError> {
        let mut keys = HashMap::new();
        self.store
            .list_each(&layout::wrapped_keys(), |object| {
                if let Some(manifest) = layout::id(&object.location) {
                    keys.insert(manifest, object.location.clone());
                }
            })
            .await?;
        let mut looked_at = BTreeSet::new();
        while !keys.is_empty() {
            // What a slow collector left in a deleted root counts, too. Another one may have made roots meanwhile.
            let generations = self.store.generations_with_objects().await?;
            let new: Vec<u32> = generations.difference(&looked_at).copied().collect();
            if new.is_empty() {
                break;
            }
            for generation in &new {
                self.keep_keys_of(*generation, &mut keys).await?;
            }
            looked_at.extend(new);
        }
        Ok(keys)
    }

    /// Takes away the keys of manifests that a root has.
    async fn keep_keys_of(&self, generation: u32, keys: &mut HashMap<ChunkId, Path>) -> Result<(), StoreError> {
        let keep = |object: &ObjectMeta| {
            if let Some(manifest) = layout::id(&object.location) {
                keys.remove(&manifest);
            }
        };
        self.store.list_each(&layout::manifests(generation), keep).await
    }
}
