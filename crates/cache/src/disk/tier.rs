//! One disk tier: opening, reading, writing, giving up.

use super::READS_MAX;
use super::index::{self, IndexError, SlotRecord, decode_index};
use super::slot_file::{FILE_MODE, SlotFile};
use super::slots::{Place, Slots};
use super::writer::Writer;
use crate::counters::{Counter, TierCounters};
use crate::permits::{Amount, Permit, Permits};
use crate::report::{DiskReport, HeldReport};
use crate::{DiskSettings, Tier, Urgency};
use bytes::Bytes;
use chunk::{CHUNK_BYTES, CheckedChunk, ChunkId};
use rustix::fs::{FlockOperation, OFlags};
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The owner's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// Failed writes in a row after which no more are tried: one may be bad luck, and a full disk fails all.
const WRITE_ERRORS_MAX: u32 = 3;

/// The disk tier as the cache sees it.
#[derive(Debug)]
pub(crate) struct DiskTier {
    files: Arc<DiskFiles>,
    reads: Permits,
    writer: Writer,
}

/// The two files and what is known of them; all its functions may block.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    chunks: SlotFile,
    /// Locked as long as it is open: one cache has the directory.
    index: File,
    slots: Mutex<Slots<ChunkId>>,
    writing: AtomicBool,
    write_errors_in_row: AtomicU32,
    writes: Counter,
    write_errors: Counter,
    counters: Arc<TierCounters>,
}

impl DiskTier {
    /// Opens the tier, or says in the log why not.
    pub(crate) fn open(settings: &DiskSettings, counters: Arc<TierCounters>) -> Option<Self> {
        match DiskFiles::open(settings, counters) {
            Ok(files) => {
                let files = Arc::new(files);
                Some(Self {
                    writer: Writer::start(Arc::clone(&files)),
                    reads: Permits::new(Amount {
                        requests: READS_MAX,
                        bytes: (READS_MAX * CHUNK_BYTES) as u64,
                    }),
                    files,
                })
            }
            Err(error) => {
                let directory = settings.directory.display();
                tracing::warn!(%directory, %error, "no disk cache: chunks come from memory and the origin only");
                None
            }
        }
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.files.lock().contains(id)
    }

    /// Waits for permission to read one chunk.
    pub(crate) async fn permit(&self, urgency: Urgency) -> Permit {
        self.reads.acquire(urgency, CHUNK_BYTES as u64).await
    }

    /// The chunk, if there is a good copy. Bad copies and errors are counted; none is anybody's problem.
    pub(crate) async fn read(&self, id: ChunkId, permit: Permit) -> Option<CheckedChunk> {
        let files = Arc::clone(&self.files);
        let read = move || {
            // Goes back when the read ends, also when nobody waits for it any more.
            let _permit = permit;
            files.read(id)
        };
        // A read that panics, or a runtime that ends, is a miss.
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Takes a chunk to be written when there is time; nobody waits for it.
    pub(crate) fn offer(&self, chunk: &CheckedChunk) {
        if self.files.writing() && !self.contains(&chunk.id()) {
            self.writer.offer(chunk.clone());
        }
    }

    /// Takes no more writes and returns when those it took are done.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
    }

    pub(crate) fn report(&self) -> DiskReport {
        let slots = self.files.lock();
        let held = HeldReport {
            chunks: slots.chunks_held() as u64,
            bytes: slots.chunks_held() as u64 * CHUNK_BYTES as u64,
            bytes_limit: slots.slots() as u64 * CHUNK_BYTES as u64,
            evictions: slots.evictions(),
        };
        DiskReport {
            held,
            writes: self.files.writes.get(),
            writes_dropped: self.writer.dropped(),
            write_errors: self.files.write_errors.get(),
            writing: self.files.writing(),
            direct: self.files.chunks.direct(),
        }
    }
}

impl DiskFiles {
    fn open(settings: &DiskSettings, counters: Arc<TierCounters>) -> io::Result<Self> {
        let directory = &settings.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
        let index = open_index(&directory.join("index"))?;
        let chunks = SlotFile::open(&directory.join("chunks"))?;
        let slots_max = u32::try_from(settings.bytes / CHUNK_BYTES as u64).unwrap_or(u32::MAX);
        let records = read_index(&index, slots_max, directory)?;
        chunks.truncate(records.len())?;
        Ok(Self {
            chunks,
            index,
            slots: Mutex::new(restore(slots_max, &records)),
            writing: AtomicBool::new(true),
            write_errors_in_row: AtomicU32::new(0),
            writes: Counter::default(),
            write_errors: Counter::default(),
            counters,
        })
    }

    pub(crate) fn writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    fn read(&self, id: ChunkId) -> Option<CheckedChunk> {
        let begin = Instant::now();
        let place = self.lock().find(&id)?;
        let read = self.chunks.read(place.slot, place.stored_bytes as usize);
        match read.map(|stored| CheckedChunk::check(id, stored)) {
            Ok(Ok(chunk)) => {
                self.counters.hit(chunk.stored().len(), begin.elapsed());
                return Some(chunk);
            }
            Ok(Err(error)) if self.drop_copy(id, place) => {
                self.counters.corrupt.count();
                tracing::error!(chunk = %id, tier = %Tier::Disk, %error, "a copy is corrupt and was dropped");
            }
            Err(error) if self.drop_copy(id, place) => {
                self.counters.errors.count();
                tracing::warn!(chunk = %id, tier = %Tier::Disk, %error, "a copy cannot be read and was dropped");
            }
            // Evicted and overwritten while it was read: a miss.
            Ok(Err(_)) | Err(_) => {}
        }
        None
    }

    /// False when the copy is no longer the one at `place`.
    fn drop_copy(&self, id: ChunkId, place: Place) -> bool {
        if !self.lock().drop_copy(&id, place) {
            return false;
        }
        self.clear(place.slot);
        true
    }

    /// Empties a slot that was taken.
    fn clear(&self, slot: u32) {
        // Should the record stay, the next start finds the bad copy again.
        let _ = self.write_record(slot, None);
        self.lock().free(slot);
    }

    /// Writes a chunk, unless it is here or writing has been given up.
    pub(crate) fn write(&self, chunk: &CheckedChunk) {
        if !self.writing() || self.lock().contains(&chunk.id()) {
            return;
        }
        let Some(slot) = self.lock().take() else {
            return;
        };
        match self.write_slot(slot, chunk) {
            Ok(stored_bytes) => {
                self.lock().hold(slot, chunk.id(), stored_bytes);
                self.writes.count();
                self.write_errors_in_row.store(0, Ordering::Relaxed);
            }
            Err(error) => {
                self.clear(slot);
                self.write_failed(&error);
            }
        }
    }

    /// In this order, so that a process killed in between leaves no record for other bytes.
    fn write_slot(&self, slot: u32, chunk: &CheckedChunk) -> io::Result<u32> {
        let stored: &Bytes = chunk.stored();
        if stored.is_empty() || stored.len() > CHUNK_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let stored_bytes = stored.len() as u32;
        self.write_record(slot, None)?;
        self.chunks.write(slot, stored)?;
        let id = chunk.id();
        self.write_record(slot, Some(SlotRecord { id, stored_bytes }))?;
        Ok(stored_bytes)
    }

    fn write_record(&self, slot: u32, record: Option<SlotRecord>) -> io::Result<()> {
        self.index
            .write_all_at(&index::encode_record(record), index::record_offset(slot))
    }

    fn write_failed(&self, error: &io::Error) {
        self.write_errors.count();
        let in_row = self.write_errors_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_row == WRITE_ERRORS_MAX {
            self.writing.store(false, Ordering::Relaxed);
            tracing::warn!(%error, in_row, "the disk cache is written no more until the next start; it is still read");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots<ChunkId>> {
        // A panic in the middle of a change leaves at worst a slot that nobody uses.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DiskFiles {
    /// Closing alone would leave the lock with a child that was forked meanwhile, until it runs its program.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.index, FlockOperation::Unlock);
    }
}

fn open_index(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let index = File::from(rustix::fs::open(path, flags, FILE_MODE)?);
    match rustix::fs::flock(&index, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(index),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The records of the first `slots_max` slots; the file holds no others afterwards. A file that is not an index of ours
/// becomes an empty one.
fn read_index(index: &File, slots_max: u32, directory: &Path) -> io::Result<Vec<Option<SlotRecord>>> {
    let bytes_max = index::record_offset(slots_max);
    let mut bytes = Vec::new();
    (&mut &*index).take(bytes_max).read_to_end(&mut bytes)?;
    let records = decode_index(&bytes);
    if let Err(reason) = &records {
        start_afresh(index, &bytes, reason, directory)?;
    } else if index.metadata()?.len() > bytes_max {
        index.set_len(bytes_max)?;
    }
    Ok(records.unwrap_or_default())
}

fn start_afresh(index: &File, bytes: &[u8], reason: &IndexError, directory: &Path) -> io::Result<()> {
    if !bytes.is_empty() {
        tracing::warn!(directory = %directory.display(), %reason, "the disk cache starts afresh");
    }
    index.set_len(0)?;
    index.write_all_at(&index::encode_header(), 0)
}

fn restore(slots_max: u32, records: &[Option<SlotRecord>]) -> Slots<ChunkId> {
    let mut slots = Slots::new(slots_max, records.len() as u32);
    for (slot, record) in (0..).zip(records) {
        let held = record.is_some_and(|record| slots.restore(slot, record.id, record.stored_bytes));
        if !held {
            slots.free(slot);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that another thread has forked holds every open file until it runs its program; a duplicate stands for
    /// it here.
    #[test]
    fn a_child_forked_meanwhile_does_not_keep_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let settings = DiskSettings {
            directory: directory.path().to_owned(),
            bytes: 1 << 20,
        };
        let files = DiskFiles::open(&settings, Arc::default()).unwrap();
        let of_the_child = files.index.try_clone().unwrap();
        assert_eq!(
            DiskFiles::open(&settings, Arc::default()).unwrap_err().kind(),
            io::ErrorKind::ResourceBusy
        );
        drop(files);
        assert!(DiskFiles::open(&settings, Arc::default()).is_ok());
        drop(of_the_child);
    }
}
