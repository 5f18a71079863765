//! Answers of functions that ask for it by the tag `lambent:response-cache`, kept in memory and, where the operator wants
//! it, in memcached.
//!
//! ```text
//! request ─> key ─> shelf of its function: an answer that is young enough?  ── hit ──> caller
//!                        │ none
//!                        └─> flight of the key: is it being computed?  ── yes: wait ── shared ──> caller
//!                                 │ no: this request is the first
//!                                 ├─> memcached, where there is one ── hit ──> caller, shelf, those who wait
//!                                 └─> the function ── miss ──> caller, shelf, those who wait, memcached
//! ```
//! A key is a hash of the lease's revision (so another code or configuration never meets an older answer, and accounts
//! never meet each other's), of the event in a form that equal events share (`key`), and of the client context. Only a
//! success that was answered whole is kept. A failure is not shared: those who waited for it run by themselves.
//!
//! What lies in memcached is sealed (`shared`), and bounded by its servers alone.
//!
//! A shelf holds what its function may keep, all of them together what the operator gives; then the fullest lets go of
//! what its table deems worth least.

mod flights;
mod key;
mod shared;
mod shelf;

pub(crate) use flights::Flight;
pub(crate) use key::{Key, Request, key};
pub use shared::SharedAnswers;
pub(crate) use shared::Sought;
pub(crate) use shelf::Kept;

use control::ResponseCaching;
use flights::Flights;
use shelf::Shelf;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often answers that are too old, and shelves of functions that are gone, are thrown away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What the fullest shelf gives up at once when all together hold too much: a 32nd of the whole, so that not every
/// answer that is kept looks for the fullest shelf again.
const RELIEF_PART: u64 = 32;

/// The answers of all functions.
#[derive(Debug)]
pub(crate) struct ResponseCache {
    bytes_max: u64,
    /// By the function's ARN without a qualifier.
    shelves: RwLock<HashMap<Box<str>, Arc<Shelf>>>,
    flights: Arc<Flights>,
    swept: Mutex<Instant>,
    /// Where they are kept beside.
    shared: Option<SharedAnswers>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It was answered before.
    Kept(Arc<Kept>),
    /// It is being answered to somebody else. Nothing comes if that fails.
    Wait(oneshot::Receiver<Arc<Kept>>),
    /// Whoever asked is the one who has it computed.
    Compute(Flight),
}

impl ResponseCache {
    /// Holds at most so many bytes, with what the tables need beside each answer.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            shelves: RwLock::default(),
            flights: Arc::default(),
            swept: Mutex::new(Instant::now()),
            shared: None,
        }
    }

    /// The same, with a second place for answers.
    pub(crate) fn with_shared(self, shared: Option<SharedAnswers>) -> Self {
        Self { shared, ..self }
    }

    /// Looks for the answer that a flight is to bring where other gateways keep theirs, and lands with it. Gives the
    /// flight back if there is none.
    pub(crate) async fn find_shared(
        &self,
        flight: Flight,
        arn: &str,
        (caching, now_ms): (&ResponseCaching, u64),
    ) -> Result<Arc<Kept>, Flight> {
        let Some(shared) = &self.shared else {
            return Err(flight);
        };
        let key = *flight.key();
        let sought = Sought { arn, key: &key };
        match shared.find(sought, caching.ttl, now_ms).await {
            Some(kept) => Ok(self.keep(flight, arn, caching, kept)),
            None => Err(flight),
        }
    }

    /// Looks for the answer to a request of a function.
    pub(crate) fn ask(&self, arn: &str, key: Key, caching: &ResponseCaching, now: Instant) -> Asked {
        let find = || self.shelf(arn)?.get(&key, caching.ttl, now);
        match find() {
            Some(kept) => Asked::Kept(kept),
            None => self.flights.board(key, find),
        }
    }

    /// Keeps an answer that was computed now, here and where others find it, and gives it to those who wait for it.
    pub(crate) fn land(&self, flight: Flight, arn: &str, (caching, now_ms): (&ResponseCaching, u64), kept: Kept) {
        let key = *flight.key();
        let kept = self.keep(flight, arn, caching, kept);
        // Last: sealing takes time, and nobody is to wait for it.
        if let Some(shared) = &self.shared {
            shared.offer(Sought { arn, key: &key }, &kept, (caching.ttl, now_ms));
        }
    }

    fn keep(&self, flight: Flight, arn: &str, caching: &ResponseCaching, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        let bytes_max = caching.bytes_max.min(self.bytes_max);
        self.shelf_or_new(arn, bytes_max)
            .put(*flight.key(), Arc::clone(&kept), bytes_max, caching.ttl);
        self.relieve();
        // After it can be found: whoever asks now does not compute it again.
        flight.land(&kept);
        kept
    }

    /// Throws away what is too old, now and then. Gives the bytes that are held.
    pub(crate) fn sweep(&self, now: Instant) -> u64 {
        let is_due = {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = now.saturating_duration_since(*swept) >= SWEEP_EVERY;
            if is_due {
                *swept = now;
            }
            is_due
        };
        if is_due {
            for shelf in self.all() {
                shelf.drop_old(now);
            }
            let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
            shelves.retain(|_, shelf| shelf.bytes() > 0);
        }
        self.bytes()
    }

    fn bytes(&self) -> u64 {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        shelves.values().map(|shelf| shelf.bytes()).sum()
    }

    /// Makes the fullest shelf give way while there is too much.
    fn relieve(&self) {
        while let Some(surplus) = self.bytes().checked_sub(self.bytes_max).filter(|surplus| *surplus > 0) {
            let fullest = self.all().into_iter().max_by_key(|shelf| shelf.bytes());
            let Some(fullest) = fullest.filter(|shelf| shelf.bytes() > 0) else {
                return;
            };
            fullest.give_up(surplus + self.bytes_max / RELIEF_PART);
        }
    }

    fn all(&self) -> Vec<Arc<Shelf>> {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        shelves.values().cloned().collect()
    }

    fn shelf(&self, arn: &str) -> Option<Arc<Shelf>> {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        shelves.get(arn).cloned()
    }

    fn shelf_or_new(&self, arn: &str, bytes_max: u64) -> Arc<Shelf> {
        if let Some(shelf) = self.shelf(arn) {
            return shelf;
        }
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves
            .entry(arn.into())
            .or_insert_with(|| Arc::new(Shelf::new(bytes_max)));
        Arc::clone(shelf)
    }
}

#[cfg(test)]
mod tests;
