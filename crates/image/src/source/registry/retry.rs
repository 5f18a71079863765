//! Trying again, with growing pauses.

use super::fault::RegistryFault;
use super::{OciDistributionError, RegistryError};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Tries for one request, and for one blob without a new byte.
pub(super) const TRIES: u32 = 5;

/// Tries for the first contact. Fewer, because a name that leads nowhere waits [`super::CONNECT_TIMEOUT`] each time.
pub(super) const CONTACT_TRIES: u32 = 3;

/// Before the second try, doubled for each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// A registry that limits rates counts in minutes; longer pauses would look like a hang.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A count of failures since the last success.
pub(super) struct Retry {
    tries: u32,
    failures: u32,
}

impl Retry {
    pub(super) const fn new(tries: u32) -> Self {
        Self { tries, failures: 0 }
    }

    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try, or hands the fault back when there is none.
    pub(super) async fn failed(&mut self, fault: RegistryFault) -> Result<(), RegistryFault> {
        self.failures += 1;
        if !fault.is_transient() || self.failures >= self.tries {
            return Err(fault);
        }
        tracing::warn!(
            failures = self.failures,
            tries = self.tries,
            "registry: {fault}; trying again"
        );
        tokio::time::sleep(self.pause()).await;
        Ok(())
    }

    pub(super) async fn run<T>(
        &mut self,
        attempt: impl AsyncFn() -> Result<T, OciDistributionError>,
    ) -> Result<T, RegistryFault> {
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => self.failed(RegistryFault::of(&error)).await?,
            }
        }
    }

    /// Between half and all of the doubled pause, so that many clients of one restarted registry spread out.
    fn pause(&self) -> Duration {
        let whole = PAUSE
            .saturating_mul(1 << self.failures.min(16).saturating_sub(1))
            .min(PAUSE_MAX);
        // The standard library's only source of randomness: every RandomState has other keys.
        let random = (RandomState::new().hash_one(0_u8) % 1024) as u32;
        whole / 2 + whole / 2 * random / 1024
    }
}

/// So that a `RegistryError` can pass through `std::io::Read`.
impl From<RegistryError> for std::io::Error {
    fn from(error: RegistryError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_maximum() {
        for failures in 1..40 {
            let pause = Retry { tries: 50, failures }.pause();
            let whole = PAUSE.saturating_mul(1 << (failures.min(16) - 1)).min(PAUSE_MAX);
            assert!(pause >= whole / 2 && pause <= whole, "{failures}: {pause:?}");
        }
    }
}
