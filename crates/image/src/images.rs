//! One account's images in a store: listing, inspecting, comparing, checking, exporting, removing.

mod find;
mod rewrap;

pub use find::FoundImage;
pub use rewrap::{Rewrapped, WrappingKeyUse};

use crate::ext4::BLOCK_BYTES;
use crate::file_map::FileMapError;
use crate::record::{Record, RecordDetails, RecordError, RecordSummary};
use chunk::{
    Account, CHUNK_BYTES, CheckedChunk, ChunkEntry, ChunkId, ChunkKey, Manifest, ManifestError, OpenError, Opener,
    StartPack, Trace, TraceError, UnlockedManifest,
};
use keys::{KeyError, KeyProvider};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use store::{Store, StoreError};
use tokio::runtime::Handle;

/// Threads that fetch chunks when a whole image is read: each waits for the store most of the time. 16 chunks on their
/// way hide 60 ms of latency at 1 Gb/s.
const READERS: usize = 16;

/// Damaged chunks that a verification names; more are only counted.
const FAULTS_NAMED_MAX: usize = 20;

/// The images of one account. Its functions block, and must not be called from a task of the runtime.
#[derive(Debug)]
pub struct Images {
    /// Where chunks, manifests and records are.
    pub store: Store,
    /// Who wraps data keys.
    pub keys: KeyProvider,
    /// Whose images they are.
    pub account: Account,
    /// Where store and keys do their waiting.
    pub runtime: Handle,
}

/// A line of the list of images.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// The record's open fields.
    pub summary: RecordSummary,
    /// When the image was pushed, by the store's clock.
    pub pushed: SystemTime,
}

/// What is to be known of an image without reading a chunk.
#[derive(Clone, Debug)]
pub struct InspectedImage {
    /// The record's open fields.
    pub summary: RecordSummary,
    /// The record's sealed fields.
    pub details: RecordDetails,
    /// Chunks at the front that hold metadata.
    pub metadata_chunks: u32,
    /// Bytes of its manifest.
    pub manifest_bytes: u64,
    /// Stored bytes of the chunks that no other image of the account has.
    pub unique_bytes: u64,
}

/// What two images share, in stored bytes and distinct chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In both.
    pub shared: ChunkSum,
    /// In the first alone.
    pub only_first: ChunkSum,
    /// In the second alone.
    pub only_second: ChunkSum,
}

/// A number of distinct chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkSum {
    /// How many.
    pub chunks: u64,
    /// Their bytes as stored.
    pub stored_bytes: u64,
}

/// What a verification found, over distinct chunks.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Chunks that were read.
    pub chunks: u64,
    /// Bytes that were read.
    pub stored_bytes: u64,
    /// Chunks that are missing or damaged.
    pub faults: u64,
    /// What is wrong with the first of them.
    pub named: Vec<String>,
}

/// Why something could not be done with a stored image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store failed, or has no such image.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data key could not be unwrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The record is damaged.
    #[error("image {name}: {source}")]
    Record {
        /// The image.
        name: String,
        /// What is wrong.
        source: RecordError,
    },
    /// The manifest is damaged.
    #[error("image {name}, manifest {manifest}: {source}")]
    Manifest {
        /// The image.
        name: String,
        /// The manifest's id.
        manifest: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A chunk is damaged.
    #[error("image {name}, chunk number {number}: {source}")]
    Chunk {
        /// The image.
        name: String,
        /// The chunk's place in the device.
        number: usize,
        /// What is wrong.
        source: OpenError,
    },
    /// What was recorded of its starts is damaged.
    #[error("image {name}: {source}; the next start that is recorded replaces it")]
    Trace {
        /// The image.
        name: String,
        /// What is wrong.
        source: TraceError,
    },
    /// The file system is not one of ours.
    #[error("image {name}: {source}")]
    FileSystem {
        /// The image.
        name: String,
        /// What is wrong.
        source: FileMapError,
    },
    /// The file to export to could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A trace, and the file system's metadata to read it by.
pub(crate) struct StoredTrace {
    pub(crate) trace: Trace,
    pub(crate) pack_bytes: Option<u64>,
    pub(crate) chunks: u32,
    pub(crate) metadata: Vec<u8>,
}

/// An image whose manifest has been read.
struct Loaded {
    record: Record,
    manifest: Manifest,
    manifest_bytes: u64,
}

impl Images {
    /// The account's images by name.
    pub fn list(&self) -> Result<Vec<ListedImage>, ImageError> {
        let entries = self.runtime.block_on(self.store.list_records(&self.account))?;
        let listed = entries.into_iter().map(|entry| {
            Ok(ListedImage {
                summary: self.record(&entry.name)?.summary,
                pushed: entry.modified,
            })
        });
        listed.collect()
    }

    /// An image's layers, configuration and sizes.
    pub fn inspect(&self, name: &str) -> Result<InspectedImage, ImageError> {
        let loaded = self.load(name)?;
        let data_key = self.data_key(&loaded)?;
        let details = loaded.record.open(&data_key).map_err(|source| ImageError::Record {
            name: name.to_owned(),
            source,
        })?;
        let mut own = stored_chunks(&loaded.manifest);
        for other in self.list()?.iter().filter(|other| other.summary.name != name) {
            for id in stored_chunks(&self.load(&other.summary.name)?.manifest).keys() {
                own.remove(id);
            }
        }
        Ok(InspectedImage {
            metadata_chunks: loaded.manifest.metadata_chunks(),
            manifest_bytes: loaded.manifest_bytes,
            unique_bytes: own.values().map(|bytes| u64::from(*bytes)).sum(),
            summary: loaded.record.summary,
            details,
        })
    }

    /// What two images share. Needs no key.
    pub fn compare(&self, first: &str, second: &str) -> Result<Comparison, ImageError> {
        let first = stored_chunks(&self.load(first)?.manifest);
        let second = stored_chunks(&self.load(second)?.manifest);
        let mut comparison = Comparison::default();
        for (id, bytes) in &first {
            let sum = if second.contains_key(id) {
                &mut comparison.shared
            } else {
                &mut comparison.only_first
            };
            sum.add(*bytes);
        }
        let only_second = second.iter().filter(|(id, _)| !first.contains_key(*id));
        only_second.for_each(|(_, bytes)| comparison.only_second.add(*bytes));
        Ok(comparison)
    }

    /// Removes an image's name; its chunks stay until garbage collection.
    pub fn remove(&self, name: &str) -> Result<(), ImageError> {
        Ok(self.runtime.block_on(self.store.delete_record(&self.account, name))?)
    }

    /// Reads every chunk from the store and checks it; `bytes_done` counts device bytes. A chunk that the image holds
    /// several times is read as often and counted once.
    pub fn verify(&self, name: &str, bytes_done: &AtomicU64) -> Result<Verification, ImageError> {
        let (loaded, unlocked) = self.unlock(name)?;
        let found = Mutex::new((Verification::default(), HashSet::new()));
        self.read_all(&loaded, &unlocked, |number, chunk| {
            let mut guard = found.lock().unwrap_or_else(PoisonError::into_inner);
            let (found, seen) = &mut *guard;
            match unlocked.chunks()[number].0 {
                ChunkEntry::Data { id, .. } if seen.insert(id) => found.add(&chunk),
                _ => {}
            }
            bytes_done.fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Writes the ext4 image to a file, with holes where it is zero. The file appears when it is complete.
    pub fn export(&self, name: &str, path: &Path, bytes_done: &AtomicU64) -> Result<u64, ImageError> {
        let failed = |source| ImageError::Export {
            path: path.to_owned(),
            source,
        };
        let (loaded, unlocked) = self.unlock(name)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        let bytes = loaded.manifest.device_bytes();
        file.as_file().set_len(bytes).map_err(failed)?;
        self.read_all(&loaded, &unlocked, |number, chunk| {
            if chunk.stored_bytes > 0 {
                write_chunk(file.as_file(), number, &chunk.plaintext?).map_err(failed)?;
            }
            bytes_done.fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
            Ok(())
        })?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(bytes)
    }

    /// What is stored about an image's starts, with the metadata of its file system.
    pub(crate) fn stored_trace(&self, name: &str) -> Result<Option<StoredTrace>, ImageError> {
        let (loaded, unlocked) = self.unlock(name)?;
        let summary = &loaded.record.summary;
        let (generation, id) = (summary.generation, self.manifest_id(&loaded.record)?);
        let failed = |source| ImageError::Trace {
            name: name.to_owned(),
            source,
        };
        let Some(sealed) = self.runtime.block_on(self.store.get_trace(generation, id))? else {
            return Ok(None);
        };
        let data_key = self.data_key(&loaded)?;
        let trace = Trace::open(&sealed, &data_key, id).map_err(failed)?;
        let pack = self.runtime.block_on(self.store.get_start_pack(generation, id))?;
        // A pack that does not open is passed over by starts, too.
        let pack = pack.and_then(|sealed| StartPack::open(&sealed, &data_key, id).ok());
        let mut metadata = Vec::new();
        let front = unlocked
            .chunks()
            .iter()
            .take(loaded.manifest.metadata_chunks() as usize);
        for (number, (entry, key)) in front.enumerate() {
            let plaintext = self.read_chunk(summary, number, entry, key.as_ref()).plaintext?;
            metadata.extend_from_slice(&plaintext);
            metadata.resize((number + 1) * CHUNK_BYTES, 0);
        }
        Ok(Some(StoredTrace {
            trace,
            pack_bytes: pack.map(|pack| pack.bytes()),
            chunks: unlocked.chunks().len() as u32,
            metadata,
        }))
    }

    fn manifest_id(&self, record: &Record) -> Result<ChunkId, ImageError> {
        record.summary.manifest_id().map_err(|source| ImageError::Record {
            name: record.summary.name.clone(),
            source,
        })
    }

    fn record(&self, name: &str) -> Result<Record, ImageError> {
        let bytes = self.runtime.block_on(self.store.get_record(&self.account, name))?;
        Record::decode(name, &bytes).map_err(|source| ImageError::Record {
            name: name.to_owned(),
            source,
        })
    }

    fn load(&self, name: &str) -> Result<Loaded, ImageError> {
        let record = self.record(name)?;
        let id = self.manifest_id(&record)?;
        let bytes = self
            .runtime
            .block_on(self.store.get_manifest(record.summary.generation, id))?;
        let manifest = Manifest::decode(&bytes).map_err(|source| manifest_error(&record, source))?;
        Ok(Loaded {
            record,
            manifest,
            manifest_bytes: bytes.len() as u64,
        })
    }

    fn unlock(&self, name: &str) -> Result<(Loaded, UnlockedManifest), ImageError> {
        let loaded = self.load(name)?;
        let data_key = self.data_key(&loaded)?;
        let unlocked = loaded
            .manifest
            .clone()
            .unlock(&data_key)
            .map_err(|source| manifest_error(&loaded.record, source))?;
        Ok((loaded, unlocked))
    }

    /// Reads and opens all chunks with [`READERS`] threads; `take` gets each with its number, in no order. The first
    /// error that `take` returns ends it.
    fn read_all(
        &self,
        loaded: &Loaded,
        unlocked: &UnlockedManifest,
        take: impl Fn(usize, ReadChunk) -> Result<(), ImageError> + Sync,
    ) -> Result<(), ImageError> {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((entry, key)) = unlocked.chunks().get(number) else {
                    return Ok(());
                };
                let chunk = self.read_chunk(&loaded.record.summary, number, entry, key.as_ref());
                if let Err(error) = take(number, chunk) {
                    next.store(unlocked.chunks().len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        };
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(work)).collect();
            let results = readers.into_iter().map(|reader| match reader.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            results.collect()
        })
    }

    fn read_chunk(
        &self,
        summary: &RecordSummary,
        number: usize,
        entry: &ChunkEntry,
        key: Option<&ChunkKey>,
    ) -> ReadChunk {
        let (ChunkEntry::Data { id, stored_bytes, .. }, Some(key)) = (entry, key) else {
            return ReadChunk {
                stored_bytes: 0,
                plaintext: Ok(Vec::new()),
            };
        };
        let open = || {
            let stored = self.runtime.block_on(self.store.get_chunk(summary.generation, *id))?;
            let mut plaintext = Vec::with_capacity(CHUNK_BYTES);
            let failed = |source| ImageError::Chunk {
                name: summary.name.clone(),
                number,
                source,
            };
            let checked = CheckedChunk::check(*id, stored).map_err(failed)?;
            Opener::default()
                .open(entry, key, &checked, &mut plaintext)
                .map_err(failed)?;
            Ok(plaintext)
        };
        ReadChunk {
            stored_bytes: *stored_bytes,
            plaintext: open(),
        }
    }
}

/// One chunk of an image as it was read.
struct ReadChunk {
    /// 0 for a zero chunk.
    stored_bytes: u32,
    /// Empty for a zero chunk.
    plaintext: Result<Vec<u8>, ImageError>,
}

impl Verification {
    fn add(&mut self, chunk: &ReadChunk) {
        self.chunks += 1;
        self.stored_bytes += u64::from(chunk.stored_bytes);
        if let Err(error) = &chunk.plaintext {
            self.faults += 1;
            if self.named.len() < FAULTS_NAMED_MAX {
                self.named.push(error.to_string());
            }
        }
    }
}

impl ChunkSum {
    fn add(&mut self, stored_bytes: u32) {
        self.chunks += 1;
        self.stored_bytes += u64::from(stored_bytes);
    }
}

/// Writes a chunk to its place, less its zero tail: between files that is where the holes are.
fn write_chunk(file: &File, number: usize, plaintext: &[u8]) -> io::Result<()> {
    let blocks = plaintext.chunks(BLOCK_BYTES);
    let zeros = blocks
        .rev()
        .take_while(|block| block.iter().all(|byte| *byte == 0))
        .count();
    let data = &plaintext[..plaintext.len() - zeros * BLOCK_BYTES];
    file.write_all_at(data, number as u64 * CHUNK_BYTES as u64)
}

fn stored_chunks(manifest: &Manifest) -> HashMap<ChunkId, u32> {
    let stored = manifest.entries().iter().filter_map(|entry| match entry {
        ChunkEntry::Data { id, stored_bytes, .. } => Some((*id, *stored_bytes)),
        ChunkEntry::Zero => None,
    });
    stored.collect()
}

fn manifest_error(record: &Record, source: ManifestError) -> ImageError {
    ImageError::Manifest {
        name: record.summary.name.clone(),
        manifest: record.summary.manifest.clone(),
        source,
    }
}
