//! The only place that deletes chunks, and only whole roots of them.

use super::{Collector, LiveManifest};
use crate::{RootState, Store, StoreError, layout};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl<'l, L, E> Collector<'_, L>
where
    L: Fn() -> BoxFuture<'l, Result<Vec<LiveManifest>, E>>,
    E: From<StoreError> + 'l,
{
    /// Deletes all objects of a root: manifests before chunks, so that what is left halfway looks like a push that broke
    /// off. In a dry run they are counted.
    pub(super) async fn remove_objects(&self, generation: u32) -> Result<(), StoreError> {
        for folder in layout::folders(generation) {
            let mut keys: Vec<(Path, u64)> = Vec::new();
            let objects = self.store.list(&folder).await?;
            keys.extend(objects.into_iter().map(|object| (object.location, object.size)));
            futures::stream::iter(keys.into_iter().map(Ok))
                .try_for_each_concurrent(self.store.settings().in_flight_requests, |(key, bytes)| async move {
                    if !self.settings.is_dry_run {
                        self.pace.wait().await;
                        self.store.delete(&key).await?;
                    }
                    self.progress.objects_deleted.fetch_add(1, Ordering::Relaxed);
                    self.progress.bytes_deleted.fetch_add(bytes, Ordering::Relaxed);
                    Ok::<_, StoreError>(())
                })
                .await?;
            if !self.settings.is_dry_run {
                self.store.remove_folder(&folder).await;
            }
        }
        Ok(())
    }

    /// Deletes what has come into a deleted root since: the work of a collector or a push that had slept.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let table = self.store.load_roots().await?;
        let gone = |generation: &u32| {
            table
                .get(*generation)
                .is_some_and(|root| root.state == RootState::Deleted)
        };
        for generation in self
            .store
            .generations_with_objects()
            .await?
            .iter()
            .filter(|one| gone(one))
        {
            self.remove_objects(*generation).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Removes an emptied folder of a local directory, and in it what dead writers left half-written: no listing shows
    /// that. What cannot be removed now is found by the next collection.
    async fn remove_folder(&self, folder: &Path) {
        let Some(directory) = self.directory() else {
            return;
        };
        let path = directory.join(folder.as_ref());
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
            _ => {}
        });
        if let Err(error) = removed.await {
            tracing::warn!(%folder, "the removal of a folder broke off: {error}");
        }
    }

    /// The generations that have objects, whatever their roots say.
    pub(super) async fn generations_with_objects(&self) -> Result<BTreeSet<u32>, StoreError> {
        let listings = futures::stream::iter(layout::TREES).then(|tree| async move {
            let tree = Path::from(tree);
            let list = || self.objects().list_with_delimiter(Some(&tree));
            let listed = self.retry().run(list).await;
            listed.map_err(|source| self.failed("list", &tree, source))
        });
        let listings: Vec<_> = listings.try_collect().await?;
        let folders = listings.iter().flat_map(|listed| &listed.common_prefixes);
        Ok(folders.filter_map(layout::folder_generation).collect())
    }
}
