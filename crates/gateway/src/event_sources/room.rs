//! Room in memory for batches, of all mappings together.
//!
//! A poller that has received a batch takes room for it, or waits. A throttled batch does nothing but keep its room, maybe
//! for hours: when somebody waits, it gives up, and its messages come again by themselves. What pollers have received and
//! have no room for is not counted: some 16 MiB for each at most, since none of them polls on.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Bytes of batches under way. Eighty of the largest events (6 MiB), or some thousands of ordinary batches.
const ROOM_BYTES: usize = 512 * 1024 * 1024;
/// The room is counted in these units, as a semaphore counts in 32 bits. A batch takes one at least.
const UNIT_BYTES: usize = 1024;

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    units_max: usize,
    /// Pollers that wait.
    waiting: watch::Sender<usize>,
}

/// One poller that waits, until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Default for Room {
    fn default() -> Self {
        Self::new(ROOM_BYTES)
    }
}

impl Room {
    fn new(bytes: usize) -> Self {
        let units_max = bytes / UNIT_BYTES;
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
            waiting: watch::Sender::new(0),
        }
    }

    /// Takes so many bytes, for as long as what it gives is kept. More than there is at all is all of it.
    pub(super) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.units_max);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        if let Ok(taken) = Arc::clone(&self.units).try_acquire_many_owned(units) {
            return taken;
        }
        let _waiting = Waiting::new(&self.waiting);
        let taken = Arc::clone(&self.units).acquire_many_owned(units).await;
        taken.expect("nobody closes the semaphore")
    }

    /// Until somebody waits for room.
    pub(super) async fn wanted(&self) {
        let waiting = self
            .waiting
            .subscribe()
            .wait_for(|waiting| *waiting > 0)
            .await
            .map(drop);
        waiting.expect("the sender is this room's own");
    }
}

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|waiting| *waiting += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn who_waits_is_known_and_served() {
        let room = Room::new(4 * UNIT_BYTES);
        let first = room.take(3 * UNIT_BYTES).now_or_never().unwrap();
        let small = room.take(1).now_or_never().unwrap();
        assert!(room.wanted().now_or_never().is_none());
        let mut second = Box::pin(room.take(2 * UNIT_BYTES));
        assert!(second.as_mut().now_or_never().is_none());
        room.wanted().await;
        drop(first);
        let second = second.await;
        assert!(room.wanted().now_or_never().is_none());
        assert!(room.take(2 * UNIT_BYTES).now_or_never().is_none());
        // Who gave up waiting is not waiting.
        assert!(room.wanted().now_or_never().is_none());
        drop((small, second));
        // A batch larger than all room would otherwise wait for ever.
        assert!(room.take(100 * UNIT_BYTES).now_or_never().is_some());
    }
}
