//! Trying again.
//!
//! Two loops, one budget. `object_store` repeats what it knows to be safe: requests that never reached S3, and answers
//! of 429 and 5xx. It does not repeat a conditional put whose answer was lost, because it cannot know what a second
//! one means, nor a request on a connection that was closed a moment before ("connection was not ready"). We may: equal
//! keys have equal bytes here, so every operation of this crate may be repeated. [`Retry::run`] adds those, over every
//! backend alike. Once the budget is spent neither loop begins another attempt.

use crate::Settings;
use crate::fault::Fault;
use object_store::{BackoffConfig, RetryConfig};
use std::time::{Duration, Instant};

/// The first pause is at most this long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// No pause is longer than this, so that a recovered store is noticed well within the budget.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long to go on trying.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    budget: Duration,
}

impl Retry {
    pub(crate) const fn new(settings: &Settings) -> Self {
        Self {
            budget: settings.retry_budget,
        }
    }

    /// The same policy in `object_store`'s terms; its limit is the time, not the count.
    pub(crate) fn for_object_store(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: PAUSE_FIRST,
                max_backoff: PAUSE_MAX,
                base: 2.0,
            },
            max_retries: usize::MAX,
            retry_timeout: self.budget,
        }
    }

    /// Calls `attempt` until it succeeds, fails for good, or the budget is spent; then gives its last answer.
    pub(crate) async fn run<T, F>(&self, mut attempt: impl FnMut() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let start = Instant::now();
        let mut pause_max = PAUSE_FIRST;
        loop {
            let error = match attempt().await {
                Err(error) if Fault::of(&error) == Fault::Unreachable => error,
                answer => return answer,
            };
            let pause = pause_max.mul_f64(random_fraction());
            if start.elapsed() + pause >= self.budget {
                return Err(error);
            }
            tracing::debug!(%error, ?pause, "the object store did not answer; trying again");
            tokio::time::sleep(pause).await;
            pause_max = (pause_max * 2).min(PAUSE_MAX);
        }
    }
}

/// From 0 to 1: writers that failed together must not come back together ("full jitter").
/// Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
fn random_fraction() -> f64 {
    let mut byte = [0; 1];
    match aws_lc_rs::rand::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 1.0,
    }
}
