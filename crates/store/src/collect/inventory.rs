//! What a root holds, by listing it.
//!
//! Some 50 bytes of memory for a chunk: 10 million chunks, 5 TB of images before they are shared, need 500 MB.

use crate::{Store, StoreError, layout};
use chunk::ChunkId;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// A root's objects. Looked up, and never walked where the order would show.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) generation: u32,
    /// With their stored bytes.
    pub(super) chunks: HashMap<ChunkId, u32>,
    /// With their bytes.
    pub(super) manifests: HashMap<ChunkId, u64>,
    /// Manifests of which a trace is there.
    pub(super) traces: HashSet<ChunkId>,
    /// Manifests of which a start pack is there.
    pub(super) packs: HashSet<ChunkId>,
}

impl Inventory {
    /// Lists a root.
    pub(super) async fn of(store: &Store, generation: u32) -> Result<Self, StoreError> {
        let mut inventory = Self {
            generation,
            ..Self::default()
        };
        // Manifests last would be wrong: one that appears meanwhile must find its chunks in the list.
        store
            .list_each(&layout::manifests(generation), |object| {
                if let Some(id) = layout::id(&object.location) {
                    inventory.manifests.insert(id, object.size);
                }
            })
            .await?;
        store
            .list_each(&layout::starts(generation), |object| inventory.add_start(object))
            .await?;
        store
            .list_each(&layout::chunks(generation), |object| {
                if let (Some(id), Ok(bytes)) = (layout::id(&object.location), object.size.try_into()) {
                    inventory.chunks.insert(id, bytes);
                }
            })
            .await?;
        Ok(inventory)
    }

    /// Whether a chunk is there with all its bytes.
    pub(super) fn has_chunk(&self, (id, bytes): (ChunkId, u32)) -> bool {
        self.chunks.get(&id) == Some(&bytes)
    }

    fn add_start(&mut self, object: &ObjectMeta) {
        let mut parts = object.location.as_ref().rsplit('/');
        let (name, manifest) = (parts.next(), parts.next().and_then(|part| part.parse().ok()));
        match (name, manifest) {
            (Some("trace"), Some(manifest)) => self.traces.insert(manifest),
            (Some("pack"), Some(manifest)) => self.packs.insert(manifest),
            _ => false,
        };
    }
}

impl Store {
    /// Calls `take` for each object below a folder, some of them twice when the listing had to begin anew.
    pub(super) async fn list_each(
        &self,
        folder: &Path,
        take: impl FnMut(&ObjectMeta) + Send,
    ) -> Result<(), StoreError> {
        let take = Mutex::new(take);
        let attempt = || {
            self.objects().list(Some(folder)).try_for_each(|object| {
                (take.lock().unwrap_or_else(PoisonError::into_inner))(&object);
                std::future::ready(Ok(()))
            })
        };
        let listed = self.retry().run(attempt).await;
        Ok(listed.map_err(|source| self.failed("list", folder, source))?)
    }
}
