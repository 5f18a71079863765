//! The same question twice at once: one answer, shared; a failure is not.
//!
//! The first to ask leads: it does the work inside its own future. Others wait. When the leader succeeds all have its
//! answer; when it fails or is dropped, the one that has waited longest leads with work of its own. Nothing outlives
//! its callers: no task is spawned, so a chunk that nobody waits for any more is not fetched.
//!
//! The price is that a leader must be polled or dropped; one that is kept and not polled holds up those who wait for
//! it, until their budgets end.

use chunk::ChunkId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

type Table<T> = HashMap<ChunkId, Arc<OnceCell<T>>>;

/// The questions under way.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    table: Mutex<Table<T>>,
}

/// Whose work an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Led,
    Joined,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::new(HashMap::new()),
        }
    }

    /// The answer for `id`: another's that is under way, or that of `work`, which is not begun before its turn.
    pub(crate) async fn run<E>(&self, id: ChunkId, work: impl Future<Output = Result<T, E>>) -> Result<(T, Part), E> {
        let seat = self.board(id);
        let mut part = Part::Joined;
        let lead = || {
            part = Part::Led;
            work
        };
        let answer = seat.cell.get_or_try_init(lead).await?.clone();
        Ok((answer, part))
    }

    fn board(&self, id: ChunkId) -> Seat<'_, T> {
        let cell = Arc::clone(self.lock().entry(id).or_default());
        Seat {
            flights: self,
            id,
            cell,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // A map whose entries are whole at any moment.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a flight; the last one to leave takes the flight out of the table.
struct Seat<'a, T: Clone> {
    flights: &'a Flights<T>,
    id: ChunkId,
    cell: Arc<OnceCell<T>>,
}

impl<T: Clone> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        // Cells are cloned and dropped under this lock only: two are the table's own and ours.
        if Arc::strong_count(&self.cell) == 2 {
            table.remove(&self.id);
        }
        // Still under the lock, so that of two last ones the second sees that it is the last.
        self.cell = Arc::default();
    }
}

#[cfg(test)]
mod tests;
