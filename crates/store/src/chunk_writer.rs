//! Many chunks on their way at once.
//!
//! Each submitted chunk waits for permits (its bytes, and one request), then is put by a task of its own; the permits
//! return when the task ends. The tasks belong to the writer: [`ChunkWriter::finish`] awaits all of them, dropping the
//! writer aborts them. What an aborted push has stored is harmless, see `layout`.
//!
//! The first failure stops the writer: waiting submitters wake up with [`WriterStopped`], and `finish` says what failed.

use crate::{Put, Store, StoreError};
use bytes::Bytes;
use chunk::ChunkId;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

/// Whether chunks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Store what is absent.
    Store,
    /// Only count what is absent.
    DryRun,
}

/// What a writer did, each distinct chunk counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Chunks that the store did not have.
    pub chunks_new: u64,
    /// Chunks that it had.
    pub chunks_present: u64,
    /// Stored bytes of the new chunks.
    pub bytes_new: u64,
}

/// The same, readable by a progress bar while the writer works.
#[derive(Debug, Default)]
pub struct Progress {
    chunks_new: AtomicU64,
    chunks_present: AtomicU64,
    bytes_new: AtomicU64,
}

impl Progress {
    /// What is done so far. The three numbers may be from different moments while chunks arrive.
    #[must_use]
    pub fn written(&self) -> Written {
        Written {
            chunks_new: self.chunks_new.load(Ordering::Relaxed),
            chunks_present: self.chunks_present.load(Ordering::Relaxed),
            bytes_new: self.bytes_new.load(Ordering::Relaxed),
        }
    }

    fn count(&self, put: Put, bytes: u64) {
        match put {
            Put::New => {
                self.chunks_new.fetch_add(1, Ordering::Relaxed);
                self.bytes_new.fetch_add(bytes, Ordering::Relaxed);
            }
            Put::Present => {
                self.chunks_present.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The writer takes no more chunks, because one of them failed.
#[derive(Debug, thiserror::Error)]
#[error("no more chunks are taken, since storing an earlier one failed")]
pub struct WriterStopped;

/// Puts many chunks of one generation. Shared by reference among the threads that seal; on plain threads, wait with
/// [`tokio::runtime::Handle::block_on`].
#[derive(Debug)]
pub struct ChunkWriter {
    sink: Sink,
    bytes: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

/// What a task needs to put one chunk.
#[derive(Clone, Debug)]
struct Sink {
    store: Store,
    generation: u32,
    mode: WriteMode,
}

#[derive(Debug, Default)]
struct State {
    tasks: JoinSet<Result<(), StoreError>>,
    submitted: HashSet<ChunkId>,
    failure: Option<StoreError>,
}

impl ChunkWriter {
    pub(crate) fn new(store: Store, generation: u32, mode: WriteMode) -> Self {
        let settings = store.settings();
        // A semaphore counts to 2^61; more bytes than that are no limit.
        let bytes = settings.in_flight_bytes.min(Semaphore::MAX_PERMITS);
        let requests = settings.in_flight_requests.min(Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            requests: Arc::new(Semaphore::new(requests)),
            progress: Arc::default(),
            state: Mutex::default(),
            sink: Sink {
                store,
                generation,
                mode,
            },
        }
    }

    /// The counters of this writer.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Takes a sealed chunk and begins to store it; waits while too much is on its way.
    ///
    /// A chunk that was submitted before is dropped at once. Cancelling leaves the writer as it was, but for the id
    /// counting as submitted: a push that cancels must not finish.
    pub async fn submit(&self, id: ChunkId, stored: Vec<u8>) -> Result<(), StoreError> {
        self.reap();
        if !self.state().submitted.insert(id) {
            return Ok(());
        }
        // A chunk that is larger than any may be fails in its task, with a name; here it must only fit.
        let bytes = u32::try_from(stored.len().min(chunk::CHUNK_BYTES)).expect("a chunk has fewer than 2^32 bytes");
        let request = Arc::clone(&self.requests).acquire_owned().await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        let (Ok(request), Ok(bytes)) = (request, bytes) else {
            return Err(WriterStopped.into());
        };
        let (sink, progress) = (self.sink.clone(), Arc::clone(&self.progress));
        let (all_bytes, all_requests) = (Arc::clone(&self.bytes), Arc::clone(&self.requests));
        self.state().tasks.spawn(async move {
            let _permits = (request, bytes);
            let length = stored.len() as u64;
            let put = sink.put(id, stored.into()).await;
            if put.is_err() {
                all_bytes.close();
                all_requests.close();
            }
            put.map(|put| progress.count(put, length))
        });
        Ok(())
    }

    /// Waits until every submitted chunk is stored.
    ///
    /// # Panics
    /// When a task of the writer panicked.
    pub async fn finish(self) -> Result<Written, StoreError> {
        self.reap();
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut tasks, mut first) = (state.tasks, state.failure);
        while first.is_none()
            && let Some(ended) = tasks.join_next().await
        {
            first = failure(ended);
        }
        tasks.shutdown().await;
        first.map_or_else(|| Ok(self.progress.written()), Err)
    }

    /// Forgets the tasks that have ended, so that a push of any length holds no more than those on their way.
    fn reap(&self) {
        let mut state = self.state();
        while let Some(ended) = state.tasks.try_join_next() {
            let failure = failure(ended);
            if state.failure.is_none() {
                state.failure = failure;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    async fn put(&self, id: ChunkId, stored: Bytes) -> Result<Put, StoreError> {
        match self.mode {
            WriteMode::Store => self.store.put_chunk(self.generation, id, stored).await,
            WriteMode::DryRun => self.store.find_chunk(self.generation, id, stored.len()).await,
        }
    }
}

fn failure(ended: Result<Result<(), StoreError>, JoinError>) -> Option<StoreError> {
    match ended {
        Ok(outcome) => outcome.err(),
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // Tasks are cancelled by `finish` and by dropping the writer, and nobody joins them then.
        Err(_) => None,
    }
}
