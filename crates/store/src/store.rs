//! The operations of a store. Each is complete or has not happened, and may be repeated.

use crate::backend::Backend;
use crate::chunk_writer::{ChunkWriter, WriteMode};
use crate::error::Sort;
use crate::put::{put_once, size};
use crate::record_name::unescape;
use crate::retry::Retry;
use crate::roots::KnownRoots;
use crate::surroundings::Surroundings;
use crate::{
    AwsOptions, CallFailed, ObjectCorrupt, ObjectMissing, ObjectTooLarge, OpenError, Put, Settings, StoreError,
    StoreLocation, layout,
};
use bytes::Bytes;
use chunk::{Account, ChunkId};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::SystemTime;

/// A store of chunks, manifests and records. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    retry: Retry,
    settings: Settings,
    roots: Arc<KnownRoots>,
    surroundings: Surroundings,
}

/// A line of [`Store::list_records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEntry {
    /// The image's name.
    pub name: String,
    /// Bytes of the record itself, not of the image.
    pub record_bytes: u64,
    /// When the record was last written, by the store's clock.
    pub modified: SystemTime,
}

impl Store {
    /// Opens a store; a directory is made when it is not there. Nothing is sent to a remote store yet.
    pub fn open(location: &StoreLocation, settings: Settings, aws: &AwsOptions) -> Result<Self, OpenError> {
        settings.check()?;
        let backend = Backend::open(location, &settings, aws)?;
        Ok(Self::over(backend, settings))
    }

    pub(crate) fn over(backend: Backend, settings: Settings) -> Self {
        Self {
            backend,
            retry: Retry::new(&settings),
            settings,
            roots: Arc::default(),
            surroundings: Surroundings::default(),
        }
    }

    /// The same objects, with a knowledge of roots that is its own.
    pub(crate) fn apart(&self) -> Self {
        Self {
            roots: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) const fn known_roots(&self) -> &Arc<KnownRoots> {
        &self.roots
    }

    pub(crate) const fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(crate) const fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.backend.objects
    }

    /// Where files are, on a local directory.
    pub(crate) const fn directory(&self) -> Option<&Arc<std::path::Path>> {
        self.backend.directory.as_ref()
    }

    pub(crate) fn place(&self) -> &str {
        &self.backend.place
    }

    /// Milliseconds after 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.surroundings.clock)()
    }

    /// Milliseconds since some moment, whatever happens to the clock.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        (self.surroundings.stopwatch)()
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        (self.surroundings.random)(bytes);
    }

    #[cfg(test)]
    pub(crate) fn with_surroundings(self, surroundings: Surroundings) -> Self {
        Self { surroundings, ..self }
    }

    /// Opens connections to a remote store ahead of need: opening one costs a round trip, with TLS two, which nobody who
    /// asks afterwards waits for. They stay open for as long as the client keeps idle ones. A directory needs none.
    ///
    /// Errors are left for those who have a question: they meet them, too.
    pub async fn open_connections(&self, count: usize) {
        drop(self.recent_roots());
        if self.backend.is_remote {
            // Any answer will do, also that there is none.
            let key = layout::root(1, 1);
            let asks = (0..count).map(|_| self.backend.objects.head(&key));
            futures::future::join_all(asks).await;
        }
    }

    /// Whether requests cross a network.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        self.backend.is_remote
    }

    /// Stores a sealed chunk, if it is not there.
    ///
    /// A chunk that is there with another length is torn (a copy of the directory that broke off, say) and is replaced:
    /// it cannot be another chunk, since its name is its hash. One with the right length and wrong bytes is not found
    /// here, but by whoever opens it.
    pub async fn put_chunk(&self, generation: u32, id: ChunkId, stored: Bytes) -> Result<Put, StoreError> {
        debug_assert_eq!(ChunkId::of(&stored), id, "a chunk is stored under its own hash");
        let key = layout::chunk(generation, id);
        check_size(Sort::Chunk, &id.to_string(), stored.len())?;
        self.put_if_absent(&key, stored).await
    }

    /// What [`Store::put_chunk`] would do with a chunk of this many bytes; writes nothing.
    pub async fn find_chunk(&self, generation: u32, id: ChunkId, stored_bytes: usize) -> Result<Put, StoreError> {
        let key = layout::chunk(generation, id);
        let found = self.retry.run(|| size(&self.backend.objects, &key)).await;
        let found = found.map_err(|source| self.failed("look for", &key, source))?;
        Ok(if found == Some(stored_bytes as u64) {
            Put::Present
        } else {
            Put::New
        })
    }

    /// The stored bytes of a chunk, not yet checked: [`chunk::CheckedChunk::check`] is the next step.
    pub async fn get_chunk(&self, generation: u32, id: ChunkId) -> Result<Bytes, StoreError> {
        self.read_placed((Sort::Chunk, id), generation, |root| layout::chunk(root, id))
            .await
    }

    /// A writer of many chunks.
    #[must_use]
    pub fn chunk_writer(&self, generation: u32, mode: WriteMode) -> ChunkWriter {
        ChunkWriter::new(self.clone(), generation, mode)
    }

    /// Stores a sealed manifest, if it is not there, and gives its id.
    pub async fn put_manifest(&self, generation: u32, sealed: Bytes) -> Result<ChunkId, StoreError> {
        let id = ChunkId::of(&sealed);
        let key = layout::manifest(generation, id);
        check_size(Sort::Manifest, &id.to_string(), sealed.len())?;
        self.put_if_absent(&key, sealed).await?;
        Ok(id)
    }

    /// The manifest with this id; its bytes hash to it.
    pub async fn get_manifest(&self, generation: u32, id: ChunkId) -> Result<Bytes, StoreError> {
        let bytes = self
            .read_placed((Sort::Manifest, id), generation, |root| layout::manifest(root, id))
            .await?;
        self.check_manifest(id, bytes)
    }

    pub(crate) fn check_manifest(&self, id: ChunkId, bytes: Bytes) -> Result<Bytes, StoreError> {
        if ChunkId::of(&bytes) == id {
            Ok(bytes)
        } else {
            let reason = format!("its {} bytes have another hash", bytes.len());
            Err(self.corrupt(Sort::Manifest, &id.to_string(), reason).into())
        }
    }

    /// Stores what starts of a manifest's device touch, replacing what was there; in two roots while it moves.
    pub async fn put_trace(&self, generation: u32, manifest: ChunkId, sealed: Bytes) -> Result<(), StoreError> {
        for root in self.homes(generation, manifest).await? {
            let (key, name) = (layout::trace(root, manifest), manifest.to_string());
            self.replace(Sort::Trace, &name, &key, sealed.clone()).await?;
        }
        Ok(())
    }

    /// What starts of a manifest's device touch, sealed; `None` when none was recorded.
    pub async fn get_trace(&self, generation: u32, manifest: ChunkId) -> Result<Option<Bytes>, StoreError> {
        self.read_placed_optional((Sort::Trace, manifest), generation, |root| {
            layout::trace(root, manifest)
        })
        .await
    }

    /// Stores the index of a manifest's start pack, replacing what was there, in the root that has its chunks: those
    /// are put before it.
    pub async fn put_start_pack(&self, generation: u32, manifest: ChunkId, sealed: Bytes) -> Result<(), StoreError> {
        let key = layout::start_pack(generation, manifest);
        self.replace(Sort::StartPack, &manifest.to_string(), &key, sealed).await
    }

    /// The sealed index of a manifest's start pack; `None` when none was built.
    pub async fn get_start_pack(&self, generation: u32, manifest: ChunkId) -> Result<Option<Bytes>, StoreError> {
        self.read_placed_optional((Sort::StartPack, manifest), generation, |root| {
            layout::start_pack(root, manifest)
        })
        .await
    }

    /// Makes an image visible, or replaces it: readers see the old record or the new one.
    ///
    /// Durable when it returns. Puts are durable one by one, so a record that is written after its chunks and its
    /// manifest never outlives them.
    pub async fn put_record(&self, account: &Account, name: &str, record: Bytes) -> Result<(), StoreError> {
        let key = layout::record(account, name)?;
        self.replace(Sort::Record, name, &key, record).await
    }

    /// The record of an image.
    pub async fn get_record(&self, account: &Account, name: &str) -> Result<Bytes, StoreError> {
        let key = layout::record(account, name)?;
        self.read(Sort::Record, name, &key).await
    }

    /// The images of an account, by name.
    pub async fn list_records(&self, account: &Account) -> Result<Vec<RecordEntry>, StoreError> {
        let folder = layout::records(account);
        let mut entries: Vec<_> = self
            .list(&folder)
            .await?
            .iter()
            .filter_map(|object| record_entry(&folder, object))
            .collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Removes an image from sight; its chunks and its manifest stay for garbage collection.
    ///
    /// Of two that remove the same image at the same moment both may succeed.
    pub async fn delete_record(&self, account: &Account, name: &str) -> Result<(), StoreError> {
        let key = layout::record(account, name)?;
        // S3 deletes what is not there without complaint.
        if !self.has(&key).await? {
            return Err(self.missing(Sort::Record, name).into());
        }
        self.delete(&key).await
    }

    /// The images of all accounts, in no order.
    pub async fn list_all_records(&self) -> Result<Vec<(Account, String)>, StoreError> {
        let folder = layout::all_records();
        let objects = self.list(&folder).await?;
        Ok(objects
            .iter()
            .filter_map(|object| any_record(&folder, object))
            .collect())
    }

    async fn put_if_absent(&self, key: &Path, bytes: Bytes) -> Result<Put, StoreError> {
        let objects = &self.backend.objects;
        let put = self.retry.run(|| put_once(objects, key, bytes.clone())).await;
        put.map_err(|source| self.failed("write", key, source).into())
    }

    pub(crate) async fn replace(&self, sort: Sort, name: &str, key: &Path, bytes: Bytes) -> Result<(), StoreError> {
        check_size(sort, name, bytes.len())?;
        self.write(key, bytes).await
    }

    pub(crate) async fn read_optional(&self, sort: Sort, name: &str, key: &Path) -> Result<Option<Bytes>, StoreError> {
        match self.read(sort, name, key).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object, whatever was there.
    pub(crate) async fn write(&self, key: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let put = || async { self.backend.objects.put(key, bytes.clone().into()).await };
        let put = self.retry.run(put).await;
        put.map_err(|source| self.failed("write", key, source))?;
        Ok(())
    }

    /// Deletes an object, which may be gone already.
    pub(crate) async fn delete(&self, key: &Path) -> Result<(), StoreError> {
        match self.retry.run(|| self.backend.objects.delete(key)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("delete", key, source).into()),
        }
    }

    /// Whether there is such an object.
    pub(crate) async fn has(&self, key: &Path) -> Result<bool, StoreError> {
        let found = self.retry.run(|| size(&self.backend.objects, key)).await;
        Ok(found.map_err(|source| self.failed("look for", key, source))?.is_some())
    }

    /// Reads an object whole; its size is checked before its bytes are fetched.
    pub(crate) async fn read(&self, sort: Sort, name: &str, key: &Path) -> Result<Bytes, StoreError> {
        let attempt = || async {
            let answer = self.backend.objects.get(key).await?;
            if answer.meta.size > sort.bytes_max() {
                return Ok(Err(answer.meta.size));
            }
            answer.bytes().await.map(Ok)
        };
        match self.retry.run(attempt).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(size)) => {
                let reason = format!("it has {size} bytes, at most {} are possible", sort.bytes_max());
                Err(self.corrupt(sort, name, reason).into())
            }
            Err(Error::NotFound { .. }) => Err(self.missing(sort, name).into()),
            Err(source) => Err(self.failed("read", key, source).into()),
        }
    }

    pub(crate) async fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>, StoreError> {
        let list = || self.backend.objects.list(Some(folder)).try_collect::<Vec<_>>();
        let objects = self.retry.run(list).await;
        objects.map_err(|source| self.failed("list", folder, source).into())
    }

    pub(crate) fn failed(&self, action: &'static str, key: &Path, source: Error) -> CallFailed {
        CallFailed::new(action, key, &self.backend.place, source)
    }

    pub(crate) fn missing(&self, sort: Sort, name: &str) -> ObjectMissing {
        ObjectMissing {
            sort,
            name: name.to_owned(),
            place: self.backend.place.to_string(),
        }
    }

    pub(crate) fn corrupt(&self, sort: Sort, name: &str, reason: String) -> ObjectCorrupt {
        ObjectCorrupt {
            sort,
            name: name.to_owned(),
            place: self.backend.place.to_string(),
            reason,
        }
    }
}

fn check_size(sort: Sort, name: &str, bytes: usize) -> Result<(), ObjectTooLarge> {
    if bytes as u64 <= sort.bytes_max() {
        Ok(())
    } else {
        Err(ObjectTooLarge {
            sort,
            name: name.to_owned(),
            bytes,
        })
    }
}

fn record_entry(folder: &Path, object: &ObjectMeta) -> Option<RecordEntry> {
    let escaped = object.location.as_ref().strip_prefix(folder.as_ref())?;
    let Some(name) = unescape(escaped.trim_start_matches('/')) else {
        tracing::warn!(key = %object.location, "passing over a file that is not an image's record");
        return None;
    };
    Some(RecordEntry {
        name,
        record_bytes: object.size,
        modified: object.last_modified.into(),
    })
}

fn any_record(folder: &Path, object: &ObjectMeta) -> Option<(Account, String)> {
    let rest = object.location.as_ref().strip_prefix(folder.as_ref())?;
    let (account, _) = rest.trim_start_matches('/').split_once('/')?;
    let account: Account = account.parse().ok()?;
    let entry = record_entry(&layout::records(&account), object)?;
    Some((account, entry.name))
}
