//! A manifest as a device.
//!
//! ```text
//! read(offset, bytes) ── for each chunk that it crosses
//!        ├── zero chunk ───────────────────────────────────────────> zeros
//!        ├── opened a moment ago ──────────────────────────────────> its plaintext
//!        ├── all in the start pack ──> chunks of the pack ──┐
//!        └── else ───────────────────> the chunk itself ────┴─ cache: memory, disk, origin ─ open ─> plaintext
//! ```
//! The start pack is an aid: when one of its chunks cannot be had, the image's own chunk is read instead. Answers are
//! slices of opened chunks, so a byte is copied once, by the kernel.
//!
//! Three things run ahead of readers: the metadata's chunks and the start pack's (or, without one, the chunks of the
//! trace), which are asked for as soon as the device exists; the neighbours of a stream (see `streams`); and, while a
//! program starts that no earlier start leads, what lies around each chunk that it wants (see `windows`). All of it is
//! asked for as prefetch, which every reader overtakes in the cache.

use crate::kernel::{Device, ReadFailed};
use crate::marks::Marks;
use crate::opened::OpenedChunks;
use crate::recorder::Recorder;
use crate::statistics::{DeviceReport, Statistics};
use crate::streams::Streams;
use crate::windows::Windows;
use bytes::Bytes;
use cache::{Cache, ChunkAddress, FetchError, Tier, Urgency};
use chunk::{
    BLOCK_BYTES, CHUNK_BYTES, CheckedChunk, ChunkEntry, ChunkId, ChunkKey, OpenError, Opener, StartPack, Touch, Trace,
    UnlockedManifest,
};
use futures::StreamExt;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Chunks that a device asks for ahead of demand at once. More than fill 1 Gb/s at 20 ms (2.5 MB, about a dozen
/// stored chunks); the cache's permits bound what all devices have on their way.
const PREFETCH_AT_ONCE: usize = 32;

/// What a zero chunk reads as.
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// What devices of one daemon share.
#[derive(Clone, Debug)]
pub struct SharedParts {
    /// Where chunks come from.
    pub cache: Cache,
    /// Plaintext of the chunks that were opened last.
    pub opened: Arc<OpenedChunks>,
    /// Where fetches do their waiting.
    pub runtime: Handle,
}

/// What makes a device.
#[derive(Debug)]
pub struct ImageParts {
    /// The image's name, for logs.
    pub name: String,
    /// The manifest's own id.
    pub manifest_id: ChunkId,
    /// The chunks.
    pub manifest: UnlockedManifest,
    /// How many of them, at the front, hold file-system metadata.
    pub metadata_chunks: u32,
    /// The root that holds them.
    pub generation: u32,
    /// The start pack, if there is one.
    pub pack: Option<StartPack>,
    /// What to do with reads while the program starts.
    pub recorder: Recorder,
}

/// A read-only device whose bytes are an image's.
#[derive(Debug)]
pub struct ImageDevice {
    me: Weak<Self>,
    image: ImageParts,
    shared: SharedParts,
    /// Every read fails: the account's key was refused, and there are no chunk keys any more.
    is_closed: bool,
    /// Shared with the device that this one takes the place of.
    statistics: Arc<Statistics>,
    streams: Mutex<Streams>,
    /// Only for a start that nothing leads.
    windows: OnceLock<Windows>,
    chunk_marks: Marks,
    pack_marks: Marks,
    /// Prefetches under way; dropping the device ends them.
    ahead: Mutex<JoinSet<()>>,
}

/// One of the device's own chunks, or one of its start pack's.
#[derive(Clone, Copy, Debug)]
enum Place {
    Image(u32),
    Pack(u32),
}

/// Why a chunk could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

thread_local! {
    /// Buffers of the thread that opens; threads live as long as the daemon.
    static OPENER: RefCell<Opener> = RefCell::default();
}

impl Device for ImageDevice {
    fn bytes(&self) -> u64 {
        self.image.manifest.chunks().len() as u64 * CHUNK_BYTES as u64
    }

    fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
        if self.is_closed {
            self.statistics.read(bytes, false);
            tracing::error!(image = %self.image.name, offset, bytes, "read failed: the account's key was refused");
            return Err(ReadFailed);
        }
        let metadata_bytes = u64::from(self.image.metadata_chunks) * CHUNK_BYTES as u64;
        if offset >= metadata_bytes {
            self.image.recorder.touch(offset, bytes);
        }
        let outcome = split(offset, bytes).try_for_each(|(number, range)| self.read_part(number, range, pieces));
        self.statistics.read(bytes, outcome.is_ok());
        outcome.map_err(|(place, error)| {
            tracing::error!(image = %self.image.name, ?place, offset, bytes, "read failed: {error}");
            ReadFailed
        })
    }
}

impl ImageDevice {
    /// Makes the device. Nothing is fetched yet.
    #[must_use]
    pub fn new(image: ImageParts, shared: SharedParts) -> Arc<Self> {
        Self::make(image, shared, Arc::default(), false)
    }

    /// A device of this many chunks that fails every read.
    #[must_use]
    pub fn closed(name: String, manifest_id: ChunkId, chunks: usize, shared: SharedParts) -> Arc<Self> {
        let image = ImageParts {
            name,
            manifest_id,
            manifest: UnlockedManifest::zeros(chunks),
            metadata_chunks: 0,
            generation: 0,
            pack: None,
            recorder: Recorder::stopped(),
        };
        Self::make(image, shared, Arc::default(), true)
    }

    /// What takes this device's place when its key is refused: it has no keys, fails every read, and counts on.
    #[must_use]
    pub fn without_keys(&self) -> Arc<Self> {
        let image = ImageParts {
            name: self.image.name.clone(),
            manifest_id: self.image.manifest_id,
            manifest: UnlockedManifest::zeros(self.image.manifest.chunks().len()),
            metadata_chunks: self.image.metadata_chunks,
            generation: self.image.generation,
            pack: None,
            recorder: Recorder::stopped(),
        };
        Self::make(image, self.shared.clone(), Arc::clone(&self.statistics), true)
    }

    /// Whether every read fails.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn make(image: ImageParts, shared: SharedParts, statistics: Arc<Statistics>, is_closed: bool) -> Arc<Self> {
        let packed_chunks = image.pack.as_ref().map_or(0, |pack| pack.manifest().chunks().len());
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            chunk_marks: Marks::new(image.manifest.chunks().len()),
            pack_marks: Marks::new(packed_chunks),
            image,
            shared,
            is_closed,
            statistics,
            streams: Mutex::default(),
            windows: OnceLock::new(),
            ahead: Mutex::default(),
        })
    }

    /// Asks for what a start needs, in order: metadata, then the start pack, or else the trace's chunks. Where there is
    /// neither, what lies around each chunk that is wanted will be fetched.
    pub fn prefetch_start(&self, trace: &Trace) {
        if self.image.pack.is_none() && trace.runs.is_empty() {
            let chunks = self.image.manifest.chunks().len() as u32;
            self.windows.get_or_init(|| Windows::new(chunks));
        }
        let metadata = (0..self.image.metadata_chunks).map(Place::Image);
        let rest: Vec<Place> = match &self.image.pack {
            Some(pack) => (0..pack.manifest().chunks().len() as u32).map(Place::Pack).collect(),
            None => self.traced_chunks(trace).into_iter().map(Place::Image).collect(),
        };
        self.prefetch(metadata.chain(rest).collect());
    }

    /// Counts a chunk that was fetched for this device before it was made.
    pub fn count_ahead(&self, tier: Tier, stored_bytes: usize) {
        self.statistics.chunk(tier, stored_bytes, false);
    }

    /// Ends the record of what this start touched, and gives it; `None` when it was given before.
    pub fn finish_recording(&self) -> Option<Vec<Touch>> {
        self.image.recorder.finish()
    }

    /// Whether reads are still recorded, and for how long they have been.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.image.recorder
    }

    /// What was read, and from where.
    #[must_use]
    pub fn report(&self) -> DeviceReport {
        let bytes = |entry: &ChunkEntry| match entry {
            ChunkEntry::Zero => 0,
            ChunkEntry::Data { stored_bytes, .. } => u64::from(*stored_bytes),
        };
        let mut prefetch = self
            .chunk_marks
            .counts(|number| bytes(&self.image.manifest.chunks()[number].0));
        if let Some(pack) = &self.image.pack {
            prefetch += self
                .pack_marks
                .counts(|number| bytes(&pack.manifest().chunks()[number].0));
        }
        self.statistics.report(self.bytes(), prefetch)
    }

    /// The image's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.image.name
    }

    /// The manifest's id.
    #[must_use]
    pub const fn manifest_id(&self) -> ChunkId {
        self.image.manifest_id
    }

    /// The start pack, if there is one.
    #[must_use]
    pub const fn pack(&self) -> Option<&StartPack> {
        self.image.pack.as_ref()
    }

    /// Bytes at the front that hold file-system metadata.
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        u64::from(self.image.metadata_chunks) * CHUNK_BYTES as u64
    }

    fn read_part(&self, number: u32, range: Range<usize>, pieces: &mut Vec<Bytes>) -> Result<(), (Place, ReadError)> {
        let id = match &self.image.manifest.chunks()[number as usize].0 {
            ChunkEntry::Zero => {
                pieces.push(Bytes::from_static(&ZEROS[range]));
                return Ok(());
            }
            ChunkEntry::Data { id, .. } => id,
        };
        let plaintext = match self.shared.opened.get(id) {
            Some(plaintext) => plaintext,
            None if self.read_packed(number, &range, pieces) => return Ok(()),
            None => self
                .demand(Place::Image(number))
                .map_err(|error| (Place::Image(number), error))?,
        };
        self.follow(number, range.len());
        pieces.push(plaintext.slice(range));
        Ok(())
    }

    /// Answers a part of a chunk from the start pack, if it has all of it and can be read.
    fn read_packed(&self, number: u32, range: &Range<usize>, pieces: &mut Vec<Bytes>) -> bool {
        let offset = u64::from(number) * CHUNK_BYTES as u64 + range.start as u64;
        let located = self
            .image
            .pack
            .as_ref()
            .and_then(|pack| pack.locate(offset, range.len()));
        let Some(located) = located else { return false };
        let before = pieces.len();
        let parts = located.iter().flat_map(|(offset, bytes)| split(*offset, *bytes));
        for (packed, range) in parts {
            match self.demand(Place::Pack(packed)) {
                Ok(plaintext) => pieces.push(plaintext.slice(range)),
                Err(error) => {
                    tracing::warn!(image = %self.image.name, packed, "start pack passed over: {error}");
                    pieces.truncate(before);
                    return false;
                }
            }
        }
        true
    }

    /// The plaintext of a chunk that a reader waits for.
    fn demand(&self, place: Place) -> Result<Bytes, ReadError> {
        self.marks(place).wanted(place.number());
        let Some((address, entry, key)) = self.find(place) else {
            return Ok(Bytes::from_static(&ZEROS));
        };
        self.shared.opened.get_or_open(&address.id, || {
            let (checked, tier) = match self.shared.cache.memory(&address) {
                Some(checked) => (checked, Tier::Memory),
                None => {
                    self.fetch_around(place, &address);
                    self.shared
                        .runtime
                        .block_on(self.shared.cache.get(address, Urgency::Demand))?
                }
            };
            self.count(place, tier, &checked);
            let mut plaintext = Vec::with_capacity(CHUNK_BYTES);
            OPENER.with_borrow_mut(|opener| opener.open(entry, key, &checked, &mut plaintext))?;
            Ok(plaintext)
        })
    }

    /// Fetches what lies around a chunk that a first start waits for. The metadata is fetched whole anyway.
    fn fetch_around(&self, place: Place, address: &ChunkAddress) {
        let (Some(windows), Place::Image(number)) = (self.windows.get(), place) else {
            return;
        };
        let is_start = number >= self.image.metadata_chunks && self.image.recorder.is_recording();
        if is_start && !self.shared.cache.holds(address) {
            self.prefetch(windows.wanted(number).map(Place::Image).collect());
        }
    }

    /// Fetches the neighbours of a stream ahead of it. Metadata is fetched whole by every mount, and what follows it
    /// in the device has nothing to do with it.
    fn follow(&self, number: u32, bytes: usize) {
        if number < self.image.metadata_chunks {
            return;
        }
        let ahead = self
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wanted(number, bytes);
        if !ahead.is_empty() {
            let end = ahead.end.min(self.image.manifest.chunks().len() as u32);
            self.prefetch((ahead.start..end).map(Place::Image).collect());
        }
    }

    /// Asks for chunks ahead of demand. One that fails is of no interest: the reader will ask, and get what then holds.
    fn prefetch(&self, places: Vec<Place>) {
        if places.is_empty() {
            return;
        }
        // The task must not keep the device alive, which ends it when it is dropped.
        let device = self.me.clone();
        let cache = self.shared.cache.clone();
        self.spawn(async move {
            futures::stream::iter(places)
                .for_each_concurrent(PREFETCH_AT_ONCE, async |place| {
                    let Some(address) = device.upgrade().and_then(|device| device.begin_prefetch(place)) else {
                        return;
                    };
                    let fetched = cache.get(address, Urgency::Prefetch).await;
                    if let (Ok((checked, tier)), Some(device)) = (fetched, device.upgrade()) {
                        device.count(place, tier, &checked);
                        device.marks(place).arrived(place.number());
                    }
                })
                .await;
        });
    }

    /// The address to fetch ahead, unless there is nothing to fetch.
    fn begin_prefetch(&self, place: Place) -> Option<ChunkAddress> {
        let (address, _, _) = self.find(place)?;
        self.marks(place).begin(place.number()).then_some(address)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        while ahead.try_join_next().is_some() {}
        ahead.spawn_on(task, &self.shared.runtime);
    }

    fn find(&self, place: Place) -> Option<(ChunkAddress, &ChunkEntry, &ChunkKey)> {
        let (manifest, generation) = match place {
            Place::Image(_) => (&self.image.manifest, self.image.generation),
            Place::Pack(_) => {
                let pack = self.image.pack.as_ref()?;
                (pack.manifest(), pack.generation())
            }
        };
        match &manifest.chunks()[place.number() as usize] {
            (entry @ ChunkEntry::Data { id, stored_bytes, .. }, Some(key)) => {
                let (id, stored_bytes) = (*id, *stored_bytes);
                let address = ChunkAddress {
                    generation,
                    id,
                    stored_bytes,
                };
                Some((address, entry, key))
            }
            _ => None,
        }
    }

    fn count(&self, place: Place, tier: Tier, checked: &CheckedChunk) {
        let is_packed = matches!(place, Place::Pack(_));
        self.statistics.chunk(tier, checked.stored().len(), is_packed);
    }

    const fn marks(&self, place: Place) -> &Marks {
        match place {
            Place::Image(_) => &self.chunk_marks,
            Place::Pack(_) => &self.pack_marks,
        }
    }

    /// The chunks of a trace in order of first use, each once.
    fn traced_chunks(&self, trace: &Trace) -> Vec<u32> {
        let chunks = self.image.manifest.chunks().len() as u32;
        let blocks = (CHUNK_BYTES / BLOCK_BYTES) as u32;
        let mut seen = HashSet::new();
        let touched = trace.runs.iter().flat_map(|traced| {
            let run = traced.run;
            run.block / blocks..=(run.block + u32::from(run.blocks) - 1) / blocks
        });
        touched
            .filter(|number| *number < chunks && seen.insert(*number))
            .collect()
    }
}

impl Place {
    const fn number(self) -> u32 {
        match self {
            Self::Image(number) | Self::Pack(number) => number,
        }
    }
}

/// The parts of a byte range by chunk: each chunk's number, and the range inside it.
fn split(offset: u64, bytes: usize) -> impl Iterator<Item = (u32, Range<usize>)> {
    let end = offset + bytes as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (number, start) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
        let length = ((end - at) as usize).min(CHUNK_BYTES - start);
        at += length as u64;
        Some((number as u32, start..start + length))
    })
}
