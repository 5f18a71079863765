//! From a source to a stored image.
//!
//! ```text
//! layers ── unpack ──┬── merge ── [ read chunk ── seal ── submit ] × threads ──┬── manifest ── record
//!              │     └── verify digests of layers read in place, beside them ──┤
//!              └── [ seal ── submit ] × threads: large files (`early_seal`) ───┘
//! ```
//! Chunks are taken by number from a counter, so any number of threads makes the same image. Chunks go to the store
//! while digests are still being verified: a chunk without a manifest is invisible and harmless. Only when every
//! digest has proved right are the manifest and then the record written; the record is what makes the image exist.

use crate::device::{Device, DeviceReadError, FlattenError, FlattenSettings, flatten};
use crate::early_seal::{EarlyChunks, unpack_and_seal};
use crate::images::Images;
use crate::placement::PlacementSizes;
use crate::record::{METADATA_CHUNKS_MAX, Record, RecordChunk, RecordDetails, RecordSummary};
use crate::sealer::{ChunkSealer, DraftChunk};
use crate::source::error::SourceError;
use crate::source::plain::{self, PlainLayer, UnpackOptions};
use crate::source::{ImageSource, Limits};
use crate::tree::TreeLimits;
use chunk::{CHUNK_BYTES, ChunkEntry, Compression, Manifest, ManifestDraft, NONCE_BYTES, Salt, SaltScope};
use keys::KeyError;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use store::{PolicyScope, PopularChunks, Push, Root, StoreError, WriteMode, Written};

/// What metadata chunks are compressed with, whatever is chosen for data: 3.0 MiB of them
/// became 95.5 KiB on the corpus, and every start
/// reads all of them.
const METADATA_COMPRESSION: Compression = Compression::Zstd;

/// Attempts of a push whose root is collected while it runs. Roots live for days, so a second one is as good as sure.
const PUSH_ATTEMPTS: usize = 3;

/// How an image is pushed.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The image's name in the store.
    pub name: String,
    /// What data chunks are compressed with.
    pub compression: Compression,
    /// With whom chunks are shared.
    pub scope: SaltScope,
    /// Threads that read and seal.
    pub threads: usize,
    /// Plain bytes of all layers, and bytes of all files.
    pub unpacked_bytes_max: u64,
    /// Entries of all layers.
    pub entries_max: u64,
    /// Holds unlinked files with unpacked layers and metadata.
    pub scratch_dir: PathBuf,
    /// Whether to store, or only to count.
    pub mode: WriteMode,
}

/// How far a push is; another thread may read it at any time.
#[derive(Debug, Default)]
pub struct PushProgress {
    /// Layers being unpacked.
    pub unpack: plain::Progress,
    /// Bytes of the device, once known.
    pub device_bytes: OnceLock<u64>,
    /// Bytes of the device that have been sealed.
    pub sealed_bytes: AtomicU64,
    /// What the store had and what it got, once that begins.
    pub written: OnceLock<Arc<store::Progress>>,
}

/// What a push did.
#[derive(Clone, Debug)]
pub struct PushReport {
    /// The open fields of the image's record.
    pub summary: RecordSummary,
    /// Chunks and bytes that this push stored; of a large file that a later layer hides, too.
    pub written: Written,
    /// Chunks at the front that hold metadata.
    pub metadata_chunks: u32,
    /// Bytes of the sealed manifest; 0 in a dry run.
    pub manifest_bytes: u64,
    /// What was left out of the image.
    pub warnings: Vec<String>,
    /// Time by stage.
    pub seconds: PushSeconds,
}

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushSeconds {
    /// Fetching and unpacking layers, and sealing their large files beside that.
    pub unpack: Duration,
    /// Reading headers, merging, laying out and writing metadata.
    pub merge: Duration,
    /// Reading, sealing and storing the other chunks, and verifying digests beside that.
    pub seal: Duration,
    /// Key, manifest and record.
    pub commit: Duration,
}

impl PushSeconds {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.unpack + self.merge + self.seal + self.commit
    }
}

/// Why an image was not pushed. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The source could not be read, or is not what its digests say.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The layers do not make a file system.
    #[error("{image}: {source}")]
    Flatten {
        /// The image.
        image: String,
        /// What is wrong.
        source: FlattenError,
    },
    /// A layer could not be read a second time.
    #[error("{image}: {source}")]
    Read {
        /// The image.
        image: String,
        /// What is wrong.
        source: DeviceReadError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No data key was to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No scratch file could be made.
    #[error("cannot make a scratch file in {directory}: {source}")]
    Scratch {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Images {
    /// Makes the image's file system and stores it under a name, replacing what had the name. A push that took longer
    /// than its root lived begins anew in the next one, where chunks have another salt.
    pub fn push(
        &self,
        image: &ImageSource,
        settings: &PushSettings,
        progress: &PushProgress,
    ) -> Result<PushReport, PushError> {
        for _ in 1..PUSH_ATTEMPTS {
            match self.push_once(image, settings, progress) {
                Err(PushError::Store(StoreError::Revoked(revoked))) => {
                    tracing::warn!(image = image.reference, "{revoked}; it begins anew");
                }
                result => return result,
            }
        }
        self.push_once(image, settings, progress)
    }

    fn push_once(
        &self,
        image: &ImageSource,
        settings: &PushSettings,
        progress: &PushProgress,
    ) -> Result<PushReport, PushError> {
        let mut clock = Clock::start();
        let (root, push) = match settings.mode {
            WriteMode::Store => {
                let push = self.runtime.block_on(self.store.begin_push())?;
                (push.root().clone(), Some(push))
            }
            WriteMode::DryRun => (self.runtime.block_on(self.store.active_root())?, None),
        };
        let sealed = self.seal_and_store(image, (settings, &root), progress, &mut clock);
        let (sealed, written) = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                if let Some(push) = push {
                    self.runtime.block_on(push.give_up());
                }
                return Err(error);
            }
        };
        clock.lap(|seconds| &mut seconds.seal);
        let metadata_chunks = sealed.device.metadata_chunks();
        let draft = ManifestDraft {
            chunks: sealed.chunks,
            metadata_chunks,
            generation: root.generation,
        };
        let mut summary = summary(image, &sealed.device, &draft, &settings.name);
        let mut manifest_bytes = 0;
        if let Some(push) = push {
            let details = RecordDetails::of(image, &sealed.plain_bytes);
            manifest_bytes = self.commit(push, &draft, &mut summary, &details)?;
        }
        clock.lap(|seconds| &mut seconds.commit);
        Ok(PushReport {
            summary,
            written,
            metadata_chunks,
            manifest_bytes,
            warnings: sealed.device.warnings().iter().map(ToString::to_string).collect(),
            seconds: clock.seconds,
        })
    }

    /// Everything but manifest and record.
    fn seal_and_store(
        &self,
        image: &ImageSource,
        (settings, root): (&PushSettings, &Root),
        progress: &PushProgress,
        clock: &mut Clock,
    ) -> Result<(SealedImage, Written), PushError> {
        let scope = self.scope(&settings.scope)?;
        let writer = self
            .runtime
            .block_on(async { self.store.chunk_writer(root.generation, settings.mode) });
        // Progress is only looked at, so one that was used before keeps what it has.
        let _ = progress.written.set(writer.progress());
        let salt = Salt::derive(&root.salt, &scope);
        let sealer = ChunkSealer {
            runtime: &self.runtime,
            writer: &writer,
            popular: self.popular(root, (&salt, &settings.name)),
            salt,
            compression: settings.compression,
        };
        match seal_image(image, settings, progress, &sealer, clock) {
            Ok(sealed) => Ok((sealed, self.runtime.block_on(writer.finish())?)),
            // When storing failed, the writer says what it was; a sealer knows only that it was stopped.
            Err(PushError::Store(stopped)) => {
                Err(self.runtime.block_on(writer.finish()).err().unwrap_or(stopped).into())
            }
            Err(error) => Err(error),
        }
    }

    /// What very many images of the root share, and the salt that an image of this name has for it. Without the list the
    /// push shares more than it should, which harms nobody today.
    fn popular(&self, root: &Root, (salt, name): (&Salt, &str)) -> (PopularChunks, Salt) {
        let read = self.runtime.block_on(self.store.popular_chunks(root.generation));
        let popular = read.unwrap_or_else(|error| {
            tracing::warn!("popular chunks are shared by all: {error}");
            PopularChunks::default()
        });
        let lane = salt.lane(popular.lane(&self.account, name));
        (popular, lane)
    }

    /// Whom chunks are shared with: what the push wants, unless its account's policy is to share with nobody.
    fn scope(&self, wanted: &SaltScope) -> Result<SaltScope, StoreError> {
        let policy = self.runtime.block_on(self.store.account_policy(&self.account))?;
        Ok(match policy.salt_scope {
            PolicyScope::Shared => wanted.clone(),
            PolicyScope::Account => SaltScope::Account(self.account.clone()),
        })
    }

    /// Writes the manifest, and then the record that makes the image exist; gives the manifest's bytes.
    fn commit(
        &self,
        push: Push,
        draft: &ManifestDraft,
        summary: &mut RecordSummary,
        details: &RecordDetails,
    ) -> Result<u64, PushError> {
        self.runtime.block_on(async {
            let data_key = self.keys.generate(&self.account).await?;
            let manifest = Manifest::seal(draft, &data_key.key, &data_key.wrapped, nonce());
            let manifest_bytes = manifest.len() as u64;
            let id = self.store.put_manifest(draft.generation, manifest.into()).await?;
            summary.manifest = id.to_string();
            let record = Record::seal(summary.clone(), details, &data_key.key, nonce());
            push.commit((&self.account, &summary.name), id, record.encode().into())
                .await?;
            Ok(manifest_bytes)
        })
    }
}

/// An image all of whose chunks are sealed and submitted.
struct SealedImage {
    device: Device,
    chunks: Vec<DraftChunk>,
    /// Of each layer.
    plain_bytes: Vec<u64>,
}

fn seal_image(
    image: &ImageSource,
    settings: &PushSettings,
    progress: &PushProgress,
    sealer: &ChunkSealer<'_>,
    clock: &mut Clock,
) -> Result<SealedImage, PushError> {
    let (layers, early) = unpack_and_seal(image, &unpack_options(settings), &progress.unpack, sealer)?;
    clock.lap(|seconds| &mut seconds.unpack);
    let stop = AtomicBool::new(false);
    let (verified, sealed) = std::thread::scope(|scope| {
        let verifier = scope.spawn(|| guard(&stop, || verify(&layers, &stop).map_err(PushError::from)));
        let sealed = merge(image, &layers, settings).and_then(|device| {
            clock.lap(|seconds| &mut seconds.merge);
            let _ = progress.device_bytes.set(device.bytes());
            let sealing = Sealing {
                device: &device,
                sealer,
                early: &early,
                progress,
                next: AtomicU32::new(0),
                stop: &stop,
                chunks: Mutex::new(vec![None; device.chunks() as usize]),
            };
            sealing.run(image, settings.threads)?;
            let chunks = sealing.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok((device, chunks))
        });
        (join(verifier), sealed)
    });
    // A wrong digest explains whatever else went wrong, a strange tar stream most of all, so it is reported first.
    verified?;
    let (device, chunks) = sealed?;
    let chunks = chunks
        .into_iter()
        .map(|chunk| chunk.expect("every chunk was sealed, or an error was returned"));
    Ok(SealedImage {
        device,
        chunks: chunks.collect(),
        plain_bytes: layers.iter().map(|layer| layer.bytes).collect(),
    })
}

/// Runs one thread's work, and stops the others when it fails.
fn guard(stop: &AtomicBool, work: impl FnOnce() -> Result<(), PushError>) -> Result<(), PushError> {
    let result = work();
    if result.is_err() {
        stop.store(true, Ordering::Relaxed);
    }
    result
}

/// The threads' shared work.
struct Sealing<'a> {
    device: &'a Device,
    sealer: &'a ChunkSealer<'a>,
    early: &'a EarlyChunks,
    progress: &'a PushProgress,
    next: AtomicU32,
    stop: &'a AtomicBool,
    /// By number; `None` until sealed.
    chunks: Mutex<Vec<Option<DraftChunk>>>,
}

impl Sealing<'_> {
    fn run(&self, image: &ImageSource, threads: usize) -> Result<(), PushError> {
        let work = || guard(self.stop, || self.seal_chunks(image));
        std::thread::scope(|scope| {
            let sealers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            sealers.into_iter().try_for_each(join)
        })
    }

    /// Takes chunks until there are none.
    fn seal_chunks(&self, image: &ImageSource) -> Result<(), PushError> {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.device.chunks() {
                break;
            }
            let early = self.device.source_of(number).and_then(|source| self.early.get(&source));
            let chunk = match early {
                Some(chunk) => chunk.clone(),
                None => self.seal_chunk(number, image)?,
            };
            self.chunks.lock().unwrap_or_else(PoisonError::into_inner)[number as usize] = Some(chunk);
            self.progress
                .sealed_bytes
                .fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn seal_chunk(&self, number: u32, image: &ImageSource) -> Result<DraftChunk, PushError> {
        // The buffer becomes the ciphertext and is handed to the store, so each chunk needs one of its own.
        let mut plaintext = Vec::with_capacity(CHUNK_BYTES);
        let read = self.device.read_chunk(number, &mut plaintext);
        read.map_err(|source| PushError::Read {
            image: image.reference.clone(),
            source,
        })?;
        Ok(self.sealer.seal(plaintext, self.compression_of(number))?)
    }

    fn compression_of(&self, number: u32) -> Compression {
        match self.sealer.compression {
            Compression::None => Compression::None,
            _ if number < self.device.metadata_chunks() => METADATA_COMPRESSION,
            chosen => chosen,
        }
    }
}

fn verify(layers: &[PlainLayer], stop: &AtomicBool) -> Result<(), SourceError> {
    let mut layers = layers.iter().take_while(|_| !stop.load(Ordering::Relaxed));
    layers.try_for_each(PlainLayer::verify)
}

fn merge(image: &ImageSource, layers: &[PlainLayer], settings: &PushSettings) -> Result<Device, PushError> {
    let directory = &settings.scratch_dir;
    let scratch = tempfile::tempfile_in(directory).map_err(|source| PushError::Scratch {
        directory: directory.clone(),
        source,
    })?;
    let ranges = layers.iter().map(PlainLayer::range);
    let limits = TreeLimits {
        unpacked_bytes_max: settings.unpacked_bytes_max,
        entries_max: settings.entries_max,
    };
    let settings = FlattenSettings {
        limits,
        sizes: PlacementSizes::default(),
    };
    let device = flatten(ranges.collect(), &settings, scratch);
    device.map_err(|source| PushError::Flatten {
        image: image.reference.clone(),
        source,
    })
}

fn unpack_options(settings: &PushSettings) -> UnpackOptions {
    UnpackOptions {
        scratch_dir: settings.scratch_dir.clone(),
        threads: settings.threads.max(1),
        limits: Limits {
            unpacked_bytes_max: settings.unpacked_bytes_max,
        },
    }
}

fn summary(image: &ImageSource, device: &Device, draft: &ManifestDraft, name: &str) -> RecordSummary {
    let entries = || draft.chunks.iter().map(|(entry, _)| entry);
    RecordSummary {
        version: RecordSummary::VERSION,
        name: name.to_owned(),
        source: image.reference.clone(),
        platform: image.platform.to_string(),
        manifest: String::new(),
        generation: draft.generation,
        image_bytes: device.bytes(),
        chunks: device.chunks().into(),
        chunks_zero: entries().filter(|entry| **entry == ChunkEntry::Zero).count() as u64,
        stored_bytes: distinct_bytes(entries()),
        files: device.files(),
        metadata: metadata(draft),
    }
}

/// The stored chunks at the front, as many as a record lists.
fn metadata(draft: &ManifestDraft) -> Vec<RecordChunk> {
    let front = draft.chunks.iter().take(draft.metadata_chunks as usize);
    let stored = front.filter_map(|(entry, _)| match entry {
        ChunkEntry::Zero => None,
        ChunkEntry::Data { id, stored_bytes, .. } => Some(RecordChunk {
            id: id.to_string(),
            stored_bytes: *stored_bytes,
        }),
    });
    stored.take(METADATA_CHUNKS_MAX).collect()
}

/// Stored bytes of the distinct chunks among `entries`.
pub(crate) fn distinct_bytes<'a>(entries: impl Iterator<Item = &'a ChunkEntry>) -> u64 {
    let mut seen = HashSet::new();
    entries
        .filter_map(|entry| match entry {
            ChunkEntry::Data { id, stored_bytes, .. } if seen.insert(*id) => Some(u64::from(*stored_bytes)),
            _ => None,
        })
        .sum()
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system's random generator works");
    nonce
}

fn join<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Measures one stage after the other.
struct Clock {
    since: Instant,
    seconds: PushSeconds,
}

impl Clock {
    fn start() -> Self {
        Self {
            since: Instant::now(),
            seconds: PushSeconds::default(),
        }
    }

    /// The stage that ends now took the time since the one before.
    fn lap(&mut self, stage: impl FnOnce(&mut PushSeconds) -> &mut Duration) {
        let now = Instant::now();
        *stage(&mut self.seconds) = now.duration_since(std::mem::replace(&mut self.since, now));
    }
}
