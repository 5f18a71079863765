//! One node of the fleet: its connections, whether it is worth asking, and what came of it.
//!
//! Two connections to each node: questions of readers on the one, fragments to be kept on the other, so that no reader
//! waits behind 128 KiB that nobody waits for. Each is a task with a bounded queue; it connects when it is asked, again
//! after an error, and ends when the node is dropped.

use super::breaker::{Breaker, Event};
use super::connection::{Answer, Connection, ConnectionError, Request};
use super::fleet::Access;
use super::fragment::Fragment;
use super::protocol::{Command, Key, Reply};
use super::values::ValueName;
use crate::counters::Counter;
use crate::report::NodeReport;
use bytes::Bytes;
use chunk::ChunkId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for a connection. A node that is behind by more is passed over.
const QUEUE_MAX: usize = 128;

/// A memcached server.
#[derive(Debug)]
pub(crate) struct Node {
    reads: mpsc::Sender<Request>,
    writes: mpsc::Sender<Request>,
    state: Arc<NodeState>,
}

/// What is known of a node; its connections' tasks have a part in it.
#[derive(Debug)]
struct NodeState {
    name: String,
    access: Arc<Access>,
    breaker: Mutex<Breaker>,
    counters: NodeCounters,
}

#[derive(Debug, Default)]
struct NodeCounters {
    hits: Counter,
    hit_bytes: Counter,
    misses: Counter,
    rejected: Counter,
    failures: Counter,
    skipped: Counter,
    writes: Counter,
    writes_refused: Counter,
}

impl Node {
    /// Starts the node's tasks on the current runtime; nothing is connected yet.
    pub(crate) fn new(name: String, access: Arc<Access>) -> Self {
        let state = Arc::new(NodeState {
            name,
            access,
            breaker: Mutex::default(),
            counters: NodeCounters::default(),
        });
        let start = || {
            let (sender, requests) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(drive(Arc::clone(&state), requests));
            sender
        };
        Self {
            reads: start(),
            writes: start(),
            state,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.state.name
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.state.access
    }

    /// Asks for the chunk's fragment. `None` when the node is left alone; an answer that breaks off is a failure.
    pub(crate) fn get(&self, id: ChunkId, stored_bytes: u32) -> Option<oneshot::Receiver<Answer>> {
        let command = Command::Get { id, stored_bytes };
        self.ask(&self.reads, command)
    }

    /// Gives a fragment to keep.
    pub(crate) fn set(&self, fragment: Fragment) -> Option<oneshot::Receiver<Answer>> {
        self.ask(&self.writes, Command::Set { fragment })
    }

    /// Asks for a value.
    pub(crate) fn look(&self, name: ValueName) -> Option<oneshot::Receiver<Answer>> {
        self.ask(&self.reads, Command::Look { name })
    }

    /// Gives a value to keep for a while. Nobody waits for it, and a node that is left alone or behind does not get it.
    pub(crate) fn keep(&self, name: ValueName, value: Bytes, life_s: u32) {
        let command = Command::Keep { name, value, life_s };
        let request = Request { command, reply: None };
        if !self.state.admits() || self.writes.try_send(request).is_err() {
            self.state.counters.skipped.count();
        }
    }

    /// What the node gave under this key is bad: it is deleted, and the node left alone for a while.
    pub(crate) fn reject(&self, key: Key) {
        self.state.counters.rejected.count();
        self.state.apply(Event::Garbled);
        let command = Command::Delete { key };
        // The node is left alone by now, and nobody waits. A full queue leaves the fragment to the next who meets it.
        let _ = self.writes.try_send(Request { command, reply: None });
    }

    pub(crate) fn report(&self) -> NodeReport {
        let counters = &self.state.counters;
        NodeReport {
            name: self.state.name.clone(),
            state: self.state.breaker().name(),
            hits: counters.hits.get(),
            hit_bytes: counters.hit_bytes.get(),
            misses: counters.misses.get(),
            rejected: counters.rejected.get(),
            failures: counters.failures.get(),
            skipped: counters.skipped.get(),
            writes: counters.writes.get(),
            writes_refused: counters.writes_refused.get(),
        }
    }

    fn ask(&self, queue: &mpsc::Sender<Request>, command: Command) -> Option<oneshot::Receiver<Answer>> {
        let (sender, answer) = oneshot::channel();
        let reply = Some(sender);
        let asked = self.state.admits() && queue.try_send(Request { command, reply }).is_ok();
        if !asked {
            self.state.counters.skipped.count();
        }
        asked.then_some(answer)
    }
}

impl NodeState {
    fn breaker(&self) -> Breaker {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node may be asked; if so it counts as asked.
    fn admits(&self) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let admits = breaker.admits(now);
        if admits {
            *breaker = breaker.apply(Event::Asked, now);
        }
        admits
    }

    fn apply(&self, event: Event) -> (Breaker, Breaker) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *breaker;
        *breaker = before.apply(event, Instant::now());
        (before, *breaker)
    }

    fn failed(&self, error: &ConnectionError) {
        self.counters.failures.count();
        let (before, after) = self.apply(Event::Failed);
        // Once when it is left alone, not at every trial.
        if matches!((before, after), (Breaker::Closed { .. }, Breaker::Open { .. })) {
            tracing::warn!(
                node = self.name,
                "a node of the zone cache is left alone for a while: {error}"
            );
        }
    }

    fn settle(&self, command: &Command, reply: Reply) -> Answer {
        let counters = &self.counters;
        let answer = match (command, reply) {
            (Command::Get { id, stored_bytes }, Reply::Value(value)) => {
                match self.fragment((*id, *stored_bytes), &value) {
                    Some(fragment) => Answer::Fragment(fragment),
                    None => return Answer::Refused,
                }
            }
            (Command::Look { .. }, Reply::Value(value)) => {
                counters.hits.count();
                counters.hit_bytes.add(value.len() as u64);
                Answer::Value(value)
            }
            (Command::Get { .. } | Command::Look { .. }, Reply::Nothing) => {
                counters.misses.count();
                Answer::Nothing
            }
            (Command::Set { .. } | Command::Keep { .. }, Reply::Done) => {
                counters.writes.count();
                Answer::Done
            }
            (Command::Delete { .. }, _) => Answer::Done,
            (Command::Set { .. } | Command::Keep { .. }, _) => {
                counters.writes_refused.count();
                Answer::Refused
            }
            // Whoever asked rejects it, which is worse than a failure.
            (Command::Get { .. } | Command::Look { .. }, _) => return Answer::Refused,
        };
        self.answered();
        answer
    }

    fn fragment(&self, (id, stored_bytes): (ChunkId, u32), value: &Bytes) -> Option<Fragment> {
        let is_asked_for = |fragment: &Fragment| fragment.id == id && fragment.stored_bytes == stored_bytes;
        let fragment = Fragment::decode(value).ok().filter(is_asked_for)?;
        self.counters.hits.count();
        self.counters.hit_bytes.add(value.len() as u64);
        Some(fragment)
    }

    fn answered(&self) {
        let (before, _) = self.apply(Event::Answered);
        if matches!(before, Breaker::HalfOpen { .. }) {
            tracing::info!(node = self.name, "a node of the zone cache answers again");
        }
    }
}

/// Keeps a connection as long as there are questions, until the node is dropped.
async fn drive(state: Arc<NodeState>, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.recv().await {
        let served = match Connection::open(&state.name, &state.access).await {
            Ok(connection) => {
                let settle = |command: &Command, reply| state.settle(command, reply);
                connection.serve(first, &mut requests, settle).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            state.failed(&error);
            // They were asked of a node that was thought well; whoever waits turns to others at once.
            while requests.try_recv().is_ok() {}
        }
    }
}
