//! So many in a second, and no more.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Gives each act a moment of its own. Time that nobody used is gone: there are no bursts.
#[derive(Debug)]
pub(super) struct Pace {
    apart: Option<Duration>,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            apart: per_second.map(|rate| Duration::from_secs(1) / rate.get()),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the next free moment.
    pub(super) async fn wait(&self) {
        let Some(apart) = self.apart else {
            return;
        };
        let moment = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let moment = Instant::now().max(*next);
            *next = moment + apart;
            moment
        };
        tokio::time::sleep_until(moment).await;
    }
}
