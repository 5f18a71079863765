//! Chunks on their way to the disk: one task, one write at a time, a short queue, and nobody who waits.

use super::tier::DiskFiles;
use crate::counters::Counter;
use chunk::CheckedChunk;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks that wait to be written. They share their bytes with the memory tier, so they cost memory of their own only
/// when that has evicted them meanwhile: 128 MiB of whole chunks at most. A burst of a start's prefetch fits; when the
/// disk is behind by more, further chunks are not written this time.
const QUEUE_MAX: usize = 256;

/// The background writer. It ends when it is closed, or when its owner is dropped, after what it has taken.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` once closed.
    running: Mutex<Option<Running>>,
    dropped: Counter,
}

#[derive(Debug)]
struct Running {
    sender: mpsc::Sender<CheckedChunk>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task on the current runtime.
    pub(crate) fn start(files: Arc<DiskFiles>) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(write_all(files, queue));
        Self {
            running: Mutex::new(Some(Running { sender, task })),
            dropped: Counter::default(),
        }
    }

    /// Takes a chunk if there is room for it.
    pub(crate) fn offer(&self, chunk: CheckedChunk) {
        let running = self.running();
        let sender = running.as_ref().map(|running| &running.sender);
        let taken = sender.is_some_and(|sender| sender.try_send(chunk).is_ok());
        if !taken {
            self.dropped.count();
        }
    }

    /// Chunks that were not taken.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Takes no more, and waits until what was taken is written.
    pub(crate) async fn close(&self) {
        let running = self.running().take();
        if let Some(Running { sender, task }) = running {
            drop(sender);
            // It ends early only with its runtime.
            let _ = task.await;
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_all(files: Arc<DiskFiles>, mut queue: mpsc::Receiver<CheckedChunk>) {
    while let Some(chunk) = queue.recv().await {
        let files = Arc::clone(&files);
        // One that panics has written nothing that a hash would not show.
        let _ = tokio::task::spawn_blocking(move || files.write(&chunk)).await;
    }
}
