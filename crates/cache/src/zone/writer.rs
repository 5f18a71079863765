//! Chunks on their way to the nodes: off the path of readers, bounded, and nobody waits.

use super::connection::Answer;
use super::fragment::{Cut, Fragment, cut_chunk};
use super::node::Node;
use crate::counters::Counter;
use chunk::CheckedChunk;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks that wait to be written. They share their bytes with the memory tier, so they cost memory of their own only
/// when that has evicted them meanwhile: 128 MiB of whole chunks at most. Those beyond are not written this time.
const QUEUE_MAX: usize = 256;

/// Chunks that are written at once. At a millisecond each way four are 2,000 chunks a second, more than the 32 fetches
/// at once from an origin of 20 ms can bring; more would only take the network from readers.
const WRITES_MAX: usize = 4;

/// Fragments of a chunk, and who is to have them.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) chunk: CheckedChunk,
    pub(super) cut: Cut,
    /// Nodes, each with the number of its fragment.
    pub(super) to: Vec<(Arc<Node>, usize)>,
}

/// The background writer. It ends when it is closed, or when its owner is dropped, after what it has taken.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once closed.
    running: Mutex<Option<Running>>,
    counters: Arc<WriterCounters>,
}

#[derive(Debug)]
struct Running {
    sender: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

/// What became of chunks.
#[derive(Debug, Default)]
pub(super) struct WriterCounters {
    /// Fragments that are kept now.
    pub(super) written: Counter,
    /// Fragments whose node was left alone, failed or refused.
    pub(super) failed: Counter,
    /// Chunks that were not taken.
    pub(super) dropped: Counter,
}

impl Writer {
    /// Starts the task on the current runtime.
    pub(super) fn start() -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let counters = Arc::new(WriterCounters::default());
        let task = tokio::spawn(write_all(Arc::clone(&counters), queue));
        Self {
            running: Mutex::new(Some(Running { sender, task })),
            counters,
        }
    }

    /// Takes a job if there is room for it.
    pub(super) fn offer(&self, job: Job) {
        let running = self.running();
        let sender = running.as_ref().map(|running| &running.sender);
        let taken = sender.is_some_and(|sender| sender.try_send(job).is_ok());
        if !taken {
            self.counters.dropped.count();
        }
    }

    pub(super) fn counters(&self) -> &WriterCounters {
        &self.counters
    }

    /// Takes no more, and waits until what was taken is written.
    pub(super) async fn close(&self) {
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

async fn write_all(counters: Arc<WriterCounters>, mut queue: mpsc::Receiver<Job>) {
    let jobs = poll_fn(|context| queue.poll_recv(context));
    jobs.for_each_concurrent(WRITES_MAX, |job| write(&counters, job)).await;
}

async fn write(counters: &WriterCounters, job: Job) {
    let fragments = cut_chunk(job.chunk.id(), job.chunk.stored(), job.cut);
    let fragment = |index: usize| fragments.get(index).cloned();
    let writes = job
        .to
        .iter()
        .filter_map(|(node, index)| Some(write_one(node, fragment(*index)?)));
    for is_kept in join_all(writes).await {
        let counter = if is_kept { &counters.written } else { &counters.failed };
        counter.count();
    }
}

async fn write_one(node: &Node, fragment: Fragment) -> bool {
    match node.set(fragment) {
        Some(answer) => matches!(answer.await, Ok(Answer::Done)),
        None => false,
    }
}
