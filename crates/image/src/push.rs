//! From a source to a stored image.
//!
//! ```text
//! layers ── unpack ── merge ── [ read chunk ── seal ── submit ] × threads ──┬── manifest ── record
//!    └─────────────── verify digests, on a thread beside them ─────────────┘
//! ```
//! Chunks are taken by number from a counter, so any number of threads makes the same image. Chunks go to the store
//! while digests are still being verified: a chunk without a manifest is invisible and harmless. Only when every
//! digest has proved right are the manifest and then the record written; the record is what makes the image exist.

use crate::device::{Device, DeviceReadError, FlattenError, FlattenSettings, flatten};
use crate::images::Images;
use crate::placement::PlacementSizes;
use crate::read_at::FileRange;
use crate::record::{Record, RecordDetails, RecordSummary};
use crate::source::error::SourceError;
use crate::source::plain::{self, PlainLayer, UnpackOptions, plain_layers};
use crate::source::{ImageSource, Limits};
use crate::tree::TreeLimits;
use chunk::{
    CHUNK_BYTES, ChunkEntry, ChunkKey, Compression, Manifest, ManifestDraft, NONCE_BYTES, Salt, SaltScope, SealedChunk,
    seal_chunk,
};
use keys::KeyError;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use store::{ChunkWriter, StoreError, WriteMode, Written};

/// What metadata chunks are compressed with, whatever is chosen for data: 3.0 MiB of them
/// became 95.5 KiB on the corpus, and every start
/// reads all of them.
const METADATA_COMPRESSION: Compression = Compression::Zstd;

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
    /// Chunks and bytes that this push stored.
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
    /// Fetching and unpacking layers.
    pub unpack: Duration,
    /// Reading headers, merging, laying out and writing metadata.
    pub merge: Duration,
    /// Reading, sealing and storing chunks, and verifying digests beside that.
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
    /// Makes the image's file system and stores it under a name, replacing what had the name.
    pub fn push(
        &self,
        image: &ImageSource,
        settings: &PushSettings,
        progress: &PushProgress,
    ) -> Result<PushReport, PushError> {
        let mut clock = Clock::start();
        let mut seconds = PushSeconds::default();
        let layers = plain_layers(image, &unpack_options(settings), &progress.unpack)?;
        seconds.unpack = clock.lap();
        let device = match merge(image, &layers, settings) {
            Ok(device) => device,
            // A damaged layer that was not verified yet often fails here first, as a strange tar stream. Its digest
            // is the better explanation.
            Err(error) => {
                return Err(verify(&layers, &AtomicBool::new(false))
                    .err()
                    .map_or(error, PushError::from));
            }
        };
        seconds.merge = clock.lap();
        let (draft, written) = self.seal(image, &device, &layers, settings, progress)?;
        seconds.seal = clock.lap();
        let mut summary = summary(image, &device, &draft, &settings.name);
        let mut manifest_bytes = 0;
        if settings.mode == WriteMode::Store {
            let plain_bytes: Vec<u64> = layers.iter().map(|layer| layer.bytes).collect();
            manifest_bytes = self.commit(&draft, &mut summary, &RecordDetails::of(image, &plain_bytes))?;
        }
        seconds.commit = clock.lap();
        let warnings = device.warnings().iter().map(ToString::to_string).collect();
        let metadata_chunks = device.metadata_chunks();
        Ok(PushReport {
            summary,
            written,
            metadata_chunks,
            manifest_bytes,
            warnings,
            seconds,
        })
    }

    fn seal(
        &self,
        image: &ImageSource,
        device: &Device,
        layers: &[PlainLayer],
        settings: &PushSettings,
        progress: &PushProgress,
    ) -> Result<(ManifestDraft, Written), PushError> {
        let root = self.runtime.block_on(self.store.active_root())?;
        let writer = self
            .runtime
            .block_on(async { self.store.chunk_writer(root.generation, settings.mode) });
        // Progress is only looked at, so one that was used before keeps what it has.
        let _ = progress.device_bytes.set(device.bytes());
        let _ = progress.written.set(writer.progress());
        let sealing = Sealing {
            images: self,
            device,
            salt: Salt::derive(&root.salt, &settings.scope),
            compression: settings.compression,
            writer: &writer,
            progress,
            next: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            chunks: Mutex::new(vec![None; device.chunks() as usize]),
        };
        let outcome = std::thread::scope(|scope| {
            let verifier = scope.spawn(|| sealing.guard(|| verify(layers, &sealing.stop).map_err(PushError::from)));
            let sealers: Vec<_> = (0..settings.threads.max(1))
                .map(|_| scope.spawn(|| sealing.guard(|| sealing.run(image))))
                .collect();
            let sealed = sealers.into_iter().map(join).collect::<Result<Vec<()>, _>>();
            // A wrong digest explains whatever else went wrong, so it is reported first.
            join(verifier).and(sealed)
        });
        let chunks = sealing.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        // When storing failed, the writer says what it was; a sealer knows only that it was stopped.
        let written = match outcome {
            Ok(_) => self.runtime.block_on(writer.finish())?,
            Err(PushError::Store(stopped)) => {
                return Err(self.runtime.block_on(writer.finish()).err().unwrap_or(stopped).into());
            }
            Err(error) => return Err(error),
        };
        let chunks = chunks
            .into_iter()
            .map(|chunk| chunk.expect("every chunk was sealed, or an error was returned"));
        let draft = ManifestDraft {
            chunks: chunks.collect(),
            metadata_chunks: device.metadata_chunks(),
            generation: root.generation,
        };
        Ok((draft, written))
    }

    /// Writes the manifest, and then the record that makes the image exist; gives the manifest's bytes.
    fn commit(
        &self,
        draft: &ManifestDraft,
        summary: &mut RecordSummary,
        details: &RecordDetails,
    ) -> Result<u64, PushError> {
        self.runtime.block_on(async {
            let data_key = self.keys.generate(&self.account).await?;
            let manifest = Manifest::seal(draft, &data_key.key, &data_key.wrapped, nonce());
            let manifest_bytes = manifest.len() as u64;
            summary.manifest = self
                .store
                .put_manifest(draft.generation, manifest.into())
                .await?
                .to_string();
            let record = Record::seal(summary.clone(), details, &data_key.key, nonce());
            self.store
                .put_record(&self.account, &summary.name, record.encode().into())
                .await?;
            Ok(manifest_bytes)
        })
    }
}

/// A chunk of the draft: its entry, and its key unless it is zero.
type DraftChunk = (ChunkEntry, Option<ChunkKey>);

/// The threads' shared work.
struct Sealing<'a> {
    images: &'a Images,
    device: &'a Device,
    salt: Salt,
    compression: Compression,
    writer: &'a ChunkWriter,
    progress: &'a PushProgress,
    next: AtomicU32,
    stop: AtomicBool,
    /// By number; `None` until sealed.
    chunks: Mutex<Vec<Option<DraftChunk>>>,
}

impl Sealing<'_> {
    /// Runs one thread's work, and stops the others when it fails.
    fn guard(&self, work: impl FnOnce() -> Result<(), PushError>) -> Result<(), PushError> {
        let result = work();
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn run(&self, image: &ImageSource) -> Result<(), PushError> {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.device.chunks() {
                break;
            }
            // The buffer becomes the ciphertext and is handed to the store, so each chunk needs one of its own.
            let mut plaintext = Vec::with_capacity(CHUNK_BYTES);
            let read = self.device.read_chunk(number, &mut plaintext);
            read.map_err(|source| PushError::Read {
                image: image.reference.clone(),
                source,
            })?;
            let sealed = seal_chunk(&self.salt, plaintext, self.compression_of(number));
            let chunk = match sealed {
                SealedChunk::Zero => (ChunkEntry::Zero, None),
                SealedChunk::Data { entry, key, ciphertext } => {
                    if let ChunkEntry::Data { id, .. } = entry {
                        self.images.runtime.block_on(self.writer.submit(id, ciphertext))?;
                    }
                    (entry, Some(key))
                }
            };
            self.chunks.lock().unwrap_or_else(PoisonError::into_inner)[number as usize] = Some(chunk);
            self.progress
                .sealed_bytes
                .fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn compression_of(&self, number: u32) -> Compression {
        match self.compression {
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
    let ranges = layers.iter().map(|layer| FileRange {
        file: layer.file.clone(),
        start: layer.start,
        bytes: layer.bytes,
    });
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
    }
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
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
