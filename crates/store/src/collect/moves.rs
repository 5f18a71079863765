//! Bringing what lives into the active root.

use super::inventory::Inventory;
use super::pace::Pace;
use super::{GcProgress, LiveManifest};
use crate::error::Sort;
use crate::roots::RootTable;
use crate::{Root, RootState, Store, StoreError, layout};
use bytes::Bytes;
use chunk::{ChunkEntry, ChunkId, Manifest, StartPack};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Faults that a report names: enough to see what happened; `image verify` names more.
const FAULTS_MAX: usize = 20;

/// Copies manifests with all that belongs to them, and knows what is where.
pub(super) struct Mover<'a> {
    store: &'a Store,
    pace: &'a Pace,
    progress: &'a GcProgress,
    is_dry_run: bool,
    /// Whether to look into what lies in the target already: an alarm has told that not all of it is right.
    is_thorough: bool,
    /// As it was when the roots were listed.
    table: Arc<RootTable>,
    /// The active root.
    target: Inventory,
    /// All other roots that can be read, from the oldest, each with whether it may hold what lives.
    sources: Vec<(Inventory, RootState)>,
    faults: Vec<String>,
}

impl<'a> Mover<'a> {
    /// Lists all roots that can be read. In a dry run (`Some`) nothing is copied, and the target is empty if a new root
    /// would be made.
    pub(super) async fn new(
        store: &'a Store,
        pace: &'a Pace,
        progress: &'a GcProgress,
        dry_run: Option<bool>,
    ) -> Result<Self, StoreError> {
        let table = store.load_roots().await?;
        let will_rotate = dry_run == Some(true);
        let active = table.active().map(|root| root.generation).filter(|_| !will_rotate);
        let (mut target, mut sources) = (Inventory::default(), Vec::new());
        for root in table.iter().filter(|root| root.state < RootState::Deleting) {
            let inventory = Inventory::of(store, root.generation).await?;
            if Some(root.generation) == active {
                target = inventory;
            } else {
                sources.push((inventory, root.state));
            }
        }
        let has_alarms = |root: &Root| root.state == RootState::Retired && root.alarms > 0;
        let is_thorough = table.iter().any(has_alarms);
        Ok(Self {
            store,
            pace,
            progress,
            is_dry_run: dry_run.is_some(),
            is_thorough,
            table,
            target,
            sources,
            faults: Vec::new(),
        })
    }

    /// What was missing. Another collector that has moved roots on meanwhile explains all of it: then nothing is said.
    pub(super) async fn into_faults(self) -> Result<Vec<String>, StoreError> {
        if self.faults.is_empty() || self.store.load_roots().await? != self.table {
            return Ok(Vec::new());
        }
        self.faults.iter().for_each(|fault| tracing::error!("{fault}"));
        Ok(self.faults)
    }

    /// Makes sure that a manifest lies in the target with its chunks; the manifest itself is copied last.
    pub(super) async fn bring(&mut self, live: &LiveManifest) -> Result<(), StoreError> {
        let id = live.manifest;
        if self.target.manifests.contains_key(&id) && (!self.is_thorough || self.mend(live).await?) {
            return Ok(());
        }
        let Some(from) = self.source_of(|source| source.manifests.contains_key(&id)) else {
            self.fault(format!("{}: no root has its manifest {id}", live.name));
            return Ok(());
        };
        let Some(chunks) = self.chunks_of(&live.name, (from, id)).await? else {
            return Ok(());
        };
        for (id, _) in self.bring_chunks(&chunks).await? {
            self.fault(format!("{}: no root has its chunk {id}", live.name));
        }
        self.bring_start(id).await?;
        if !self.is_dry_run {
            let (from, to) = (layout::manifest(from, id), layout::manifest(self.target.generation, id));
            self.copy(&from, &to).await?;
        }
        self.target.manifests.insert(id, 0);
        self.progress.manifests_moved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Brings again what is cut short or gone of an image that was brought before. Whether its manifest is whole: if not,
    /// all of it is to be brought again.
    async fn mend(&mut self, live: &LiveManifest) -> Result<bool, StoreError> {
        let at = (self.target.generation, live.manifest);
        let chunks = match self.read_chunks(at).await? {
            Ok(chunks) => chunks,
            Err(reason) => {
                tracing::warn!("{}: manifest {} in root {}: {reason}", live.name, at.1, at.0);
                return Ok(false);
            }
        };
        for (id, _) in self.bring_chunks(&chunks).await? {
            self.fault(format!("{}: no root has its chunk {id}", live.name));
        }
        Ok(true)
    }

    /// What live manifests need of a root, and no younger root has that is active or retired, in words. Reads every live
    /// manifest anew: this is the last look before a root is deleted.
    pub(super) async fn still_needed(
        mut self,
        generation: u32,
        mut live: Vec<LiveManifest>,
    ) -> Result<Vec<String>, StoreError> {
        live.sort_unstable();
        live.dedup_by_key(|one| one.manifest);
        let is_safe =
            |inventory: &Inventory, state: RootState| inventory.generation > generation && state < RootState::Expired;
        let (safe, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition(|(inventory, state)| is_safe(inventory, *state));
        let safe: Vec<Inventory> = safe
            .into_iter()
            .map(|source| source.0)
            .chain([std::mem::take(&mut self.target)])
            .collect();
        let mut needed = Vec::new();
        for one in &live {
            let id = one.manifest;
            let Some(home) = safe.iter().find(|root| root.manifests.contains_key(&id)) else {
                if others.iter().any(|root| root.0.manifests.contains_key(&id)) {
                    needed.push(format!("{} needs manifest {id}", one.name));
                }
                continue;
            };
            let chunks = match self.read_chunks((home.generation, id)).await? {
                Ok(chunks) => chunks,
                Err(reason) => {
                    if others.iter().any(|root| root.0.manifests.contains_key(&id)) {
                        let home = home.generation;
                        needed.push(format!("{} needs manifest {id}: in root {home} {reason}", one.name));
                    }
                    continue;
                }
            };
            let lost = chunks.iter().filter(|chunk| {
                !safe.iter().any(|root| root.has_chunk(**chunk)) && others.iter().any(|root| root.0.has_chunk(**chunk))
            });
            needed.extend(lost.map(|(chunk, _)| format!("{} needs chunk {chunk}", one.name)));
        }
        Ok(needed)
    }

    /// The chunks of a manifest as it lies in a root; a damaged one is a fault, and moves nowhere.
    async fn chunks_of(
        &mut self,
        name: &str,
        (root, id): (u32, ChunkId),
    ) -> Result<Option<Vec<(ChunkId, u32)>>, StoreError> {
        Ok(match self.read_chunks((root, id)).await? {
            Ok(chunks) => Some(chunks),
            Err(reason) => {
                self.fault(format!("{name}: manifest {id} in root {root}: {reason}"));
                None
            }
        })
    }

    /// The same, or what is wrong with it.
    async fn read_chunks(&self, (root, id): (u32, ChunkId)) -> Result<Result<Vec<(ChunkId, u32)>, String>, StoreError> {
        let bytes = self
            .store
            .read(Sort::Manifest, &id.to_string(), &layout::manifest(root, id))
            .await?;
        let checked = self.store.check_manifest(id, bytes).map_err(|error| error.to_string());
        let decoded = checked.and_then(|bytes| Manifest::decode(&bytes).map_err(|error| error.to_string()));
        Ok(decoded.map(|manifest| stored_chunks(&manifest)))
    }

    /// Copies chunks that the target lacks; gives those that nobody has.
    async fn bring_chunks(&mut self, chunks: &[(ChunkId, u32)]) -> Result<Vec<(ChunkId, u32)>, StoreError> {
        let (mut wanted, mut lost) = (Vec::new(), Vec::new());
        for chunk in chunks.iter().filter(|chunk| !self.target.has_chunk(**chunk)) {
            match self.source_of(|source| source.has_chunk(*chunk)) {
                Some(from) => wanted.push((*chunk, from)),
                None => lost.push(*chunk),
            }
        }
        let this = &*self;
        futures::stream::iter(wanted.iter().copied().map(Ok))
            .try_for_each_concurrent(
                self.store.settings().in_flight_requests,
                |((id, bytes), from)| async move {
                    if !this.is_dry_run {
                        this.pace.wait().await;
                        let to = layout::chunk(this.target.generation, id);
                        this.copy(&layout::chunk(from, id), &to).await?;
                    }
                    this.progress.chunks_moved.fetch_add(1, Ordering::Relaxed);
                    this.progress.bytes_moved.fetch_add(u64::from(bytes), Ordering::Relaxed);
                    Ok::<_, StoreError>(())
                },
            )
            .await?;
        self.target.chunks.extend(wanted.into_iter().map(|(chunk, _)| chunk));
        Ok(lost)
    }

    /// Copies what starts of a manifest's device left: the pack by value, since a start may replace it meanwhile, and
    /// what was read names the chunks that were copied.
    async fn bring_start(&mut self, manifest: ChunkId) -> Result<(), StoreError> {
        if !self.target.traces.contains(&manifest)
            && let Some(from) = self.source_of(|source| source.traces.contains(&manifest))
            && let Some(trace) = self
                .read_start(Sort::Trace, manifest, &layout::trace(from, manifest))
                .await?
        {
            self.put(&layout::trace(self.target.generation, manifest), trace)
                .await?;
        }
        if !self.target.packs.contains(&manifest)
            && let Some(from) = self.source_of(|source| source.packs.contains(&manifest))
            && let Some(pack) = self
                .read_start(Sort::StartPack, manifest, &layout::start_pack(from, manifest))
                .await?
        {
            self.bring_pack(manifest, pack).await?;
        }
        Ok(())
    }

    async fn bring_pack(&mut self, manifest: ChunkId, pack: Bytes) -> Result<(), StoreError> {
        let chunks = match StartPack::packed_device(&pack) {
            Ok(device) => stored_chunks(&device),
            Err(error) => {
                tracing::warn!(%manifest, "a start pack stays behind: {error}");
                return Ok(());
            }
        };
        let lost = self.bring_chunks(&chunks).await?;
        if lost.is_empty() {
            self.put(&layout::start_pack(self.target.generation, manifest), pack)
                .await?;
        } else {
            tracing::warn!(%manifest, lost = lost.len(), "a start pack stays behind: chunks of it are missing");
        }
        Ok(())
    }

    async fn read_start(&self, sort: Sort, manifest: ChunkId, key: &Path) -> Result<Option<Bytes>, StoreError> {
        self.store.read_optional(sort, &manifest.to_string(), key).await
    }

    async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), StoreError> {
        if self.is_dry_run {
            return Ok(());
        }
        self.store.write(key, bytes).await
    }

    /// On a local directory a second name for the same file; in S3 a copy that the server makes.
    async fn copy(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let copy = || self.store.objects().copy(from, to);
        let copied = self.store.retry().run(copy).await;
        Ok(copied.map_err(|source| self.store.failed("copy", from, source))?)
    }

    /// The oldest root that has it.
    fn source_of(&self, has: impl Fn(&Inventory) -> bool) -> Option<u32> {
        let mut sources = self.sources.iter();
        sources.find(|source| has(&source.0)).map(|source| source.0.generation)
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

/// A manifest's distinct chunks in order of their ids.
pub(super) fn stored_chunks(manifest: &Manifest) -> Vec<(ChunkId, u32)> {
    let stored = manifest.entries().iter().filter_map(|entry| match entry {
        ChunkEntry::Data { id, stored_bytes, .. } => Some((*id, *stored_bytes)),
        ChunkEntry::Zero => None,
    });
    stored.collect::<BTreeMap<_, _>>().into_iter().collect()
}
