//! Work that the record holds until it is due: events, what is to be told of them, and queues that are to be followed.
//!
//! Each kind has a bell that rings for new work, a start that claims what is due while there is room, and the same
//! patience with a record that fails.

use control::ControlError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Longest sleep between two looks at the record, should a bell be missed.
pub(crate) const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Wait after the record failed; it doubles with each failure, up to [`RECORD_WAIT_MAX`].
const RECORD_WAIT: Duration = Duration::from_secs(1);
/// Longest wait after the record failed. What waits must not wait much longer than the record was away.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Calls `start_due` whenever something may be due, until told to stop. It starts all that there is room for and gives
/// how long nothing else will be due. `what` is what cannot be done while the record fails.
pub(crate) async fn keep_starting<F>(
    what: &str,
    bell: &Notify,
    stop: &CancellationToken,
    mut start_due: impl FnMut() -> F,
) where
    F: Future<Output = Result<Duration, ControlError>>,
{
    let mut patience = Patience::default();
    while !stop.is_cancelled() {
        let started = tokio::select! {
            () = stop.cancelled() => return,
            started = start_due() => started,
        };
        let wait = patience.wait(what, started);
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How often in a row the record failed.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// How long to wait after a look at the record: what it said, or longer with each failure.
    pub(crate) fn wait(&mut self, what: &str, looked: Result<Duration, ControlError>) -> Duration {
        match looked {
            Ok(wait) => {
                self.failures = 0;
                wait.min(SLEEP_MAX)
            }
            Err(error) => {
                self.failures += 1;
                let wait = backoff(RECORD_WAIT, RECORD_WAIT_MAX, self.failures);
                warn!("cannot {what}, trying again after {wait:?}: {error}");
                wait
            }
        }
    }
}

/// Waits for one permit, and takes what else is free, `max` in all.
pub(crate) async fn take_room(room: &Arc<Semaphore>, max: usize) -> Vec<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    let mut permits: Vec<_> = Arc::clone(room).acquire_owned().await.into_iter().collect();
    while permits.len() < max
        && let Ok(permit) = Arc::clone(room).try_acquire_owned()
    {
        permits.push(permit);
    }
    permits
}

/// Until a time of the record's, milliseconds since 1970; the longest sleep where there is none.
pub(crate) fn until(due_ms: Option<u64>, now_ms: u64) -> Duration {
    due_ms.map_or(SLEEP_MAX, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)))
}

/// The wait after so many failures in a row: the first, doubled by each further one, up to a limit.
pub(crate) fn backoff(first: Duration, max: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}
