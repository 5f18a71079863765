//! A provider that has just let somebody wait in vain.
//!
//! Many may want the same key one after the other: mounts of one image wait for each other, and when the first one fails
//! the next tries for itself. Before a provider that takes questions and never answers, each of them would wait for as
//! long as the first, and the last of a hundred for half an hour. So who asks a moment after a long wait is told at once
//! what came of it, and only who asks later waits again.
//!
//! What fails quickly is not noted: a refused connection, a throttle, a no. Asking again costs nobody anything.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Waits below this are not long. Three seconds: a hundred times what a provider takes, and less than any time-out.
const LONG: Duration = Duration::from_secs(3);

/// How long others are told. Two seconds: enough for all who were waiting, and soon over for a provider that is back.
const MOMENT: Duration = Duration::from_secs(2);

/// The last wait in vain, if it was just now.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Option<Waited>>);

#[derive(Clone, Debug)]
struct Waited {
    ended: Instant,
    reason: String,
}

impl Silence {
    /// What to tell somebody who would ask now; `None` when it is worth a try.
    pub(crate) fn recent(&self) -> Option<String> {
        let waited = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (waited.ended.elapsed() < MOMENT).then_some(waited.reason)
    }

    /// Notes that a question which began at `began` has had no answer.
    pub(crate) fn note(&self, began: Instant, reason: &str) {
        let waited = began.elapsed();
        if waited < LONG {
            return;
        }
        let reason = format!("a moment ago it gave no answer for {} s: {reason}", waited.as_secs());
        let ended = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Waited { ended, reason });
    }
}
