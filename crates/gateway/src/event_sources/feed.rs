//! What all batches of a poller share.

use super::filter::Pattern;
use super::pace::{Pace, Verdict};
use super::room::Room;
use crate::messaging::QueueArn;
use control::EventSource;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(super) struct Feed {
    pub(super) source: EventSource,
    pub(super) queue: QueueArn,
    pub(super) patterns: Vec<Pattern>,
    /// How long a received message is out of sight.
    pub(super) visibility: Duration,
    pub(super) stops: Stops,
    pub(super) room: Room,
    pub(super) pace: SharedPace,
}

/// What ends a poller, and the waits of its batches. Functions that run are not stopped.
#[derive(Clone, Debug)]
pub(super) struct Stops {
    /// The server ends: nothing is waited for.
    pub(super) at_once: CancellationToken,
    /// The mapping has changed: the poll under way is still waited for.
    pub(super) after_a_poll: CancellationToken,
}

/// The pace of a poller, which its batches tell of how they went.
#[derive(Debug)]
pub(super) struct SharedPace(Mutex<Pace>);

impl Feed {
    /// A batch is tried again as long as this after its first message came: the other half of the time is the function's.
    pub(super) fn patience(&self) -> Duration {
        self.visibility / 2
    }
}

impl Stops {
    /// Until either is there.
    pub(super) async fn any(&self) {
        tokio::select! {
            () = self.at_once.cancelled() => {}
            () = self.after_a_poll.cancelled() => {}
        }
    }
}

impl SharedPace {
    pub(super) fn new(concurrency_max: Option<u32>) -> Self {
        Self(Mutex::new(Pace::new(concurrency_max)))
    }

    pub(super) fn apply(&self, verdict: Verdict) {
        self.lock().apply(verdict);
    }

    pub(super) fn limit(&self) -> usize {
        self.lock().limit()
    }

    pub(super) fn failures(&self) -> u32 {
        self.lock().failures()
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
