//! One computation for requests that are equal and come at the same time.

use super::Asked;
use super::key::Key;
use super::shelf::Kept;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Waiting = Vec<oneshot::Sender<Arc<Kept>>>;

/// Keys that are being computed, and who waits for each: at most two for each open connection, as those that have gone
/// are thrown out before the list grows.
#[derive(Debug, Default)]
pub(super) struct Flights {
    waiting: Mutex<HashMap<Key, Waiting>>,
}

/// The right, and the duty, to compute a key. Dropped without an answer, it tells those who wait that none comes.
#[derive(Debug)]
pub(crate) struct Flight {
    key: Key,
    flights: Arc<Flights>,
    is_over: bool,
}

impl Flights {
    /// Joins the computation of a key, or begins it. `find` looks once more whether it has just ended.
    pub(super) fn board(self: &Arc<Self>, key: Key, find: impl FnOnce() -> Option<Arc<Kept>>) -> Asked {
        let mut waiting = self.lock();
        match waiting.entry(key) {
            Entry::Occupied(mut entry) => {
                let (sender, receiver) = oneshot::channel();
                let waiting = entry.get_mut();
                if waiting.len() == waiting.capacity() {
                    waiting.retain(|sender| !sender.is_closed());
                }
                waiting.push(sender);
                Asked::Wait(receiver)
            }
            Entry::Vacant(entry) => match find() {
                Some(kept) => Asked::Kept(kept),
                None => {
                    entry.insert(Vec::new());
                    Asked::Compute(Flight {
                        key,
                        flights: Arc::clone(self),
                        is_over: false,
                    })
                }
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn land(mut self, kept: &Arc<Kept>) {
        for caller in self.end() {
            // One that has gone does not want to know.
            let _ = caller.send(Arc::clone(kept));
        }
    }

    /// Those who wait; nobody the second time, when the key may be somebody else's.
    fn end(&mut self) -> Waiting {
        if std::mem::replace(&mut self.is_over, true) {
            return Vec::new();
        }
        self.flights.lock().remove(&self.key).unwrap_or_default()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        drop(self.end());
    }
}
