//! One chunk from the origin: timed, checked, and asked for again where that can help.
//!
//! Two loops meet here and must not multiply. A store repeats what broke in transfer, for as long as its own budget
//! lasts; an error that comes out of it is final and is not asked for again. What a store cannot notice is repeated
//! here: an answer with another hash, which may be a bad transfer, and no answer at all, which may be a connection that
//! nobody listens to any more.

use crate::counters::{Counter, TierCounters};
use crate::error::{ChunkCorrupt, FetchError, OriginSilent};
use crate::{ChunkAddress, Origin, Settings};
use chunk::{CheckedChunk, OpenError};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Answers with the wrong hash after which the origin's copy counts as bad. A transfer that goes wrong three times is
/// not bad luck: TCP and TLS have checked it too.
const ATTEMPTS_MAX: u32 = 3;

/// The first pause is at most this long; each next one at most twice as long as the one before. Short, since a reader
/// waits; ATTEMPTS_MAX keeps the sum under 150 ms.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The origin, with patience.
#[derive(Debug)]
pub(crate) struct Fetcher {
    origin: Arc<dyn Origin>,
    budget: Duration,
    attempt_timeout: Duration,
    jitter: RandomState,
    pub(crate) retries: Counter,
}

/// Why an attempt gave no chunk.
enum Attempt {
    Silent,
    Corrupt { found_bytes: usize },
    Final(FetchError),
}

impl Fetcher {
    pub(crate) fn new(origin: Arc<dyn Origin>, settings: &Settings) -> Self {
        Self {
            origin,
            budget: settings.fetch_budget,
            attempt_timeout: settings.attempt_timeout,
            jitter: RandomState::new(),
            retries: Counter::default(),
        }
    }

    /// The chunk, or why not, before `deadline`.
    pub(crate) async fn fetch(
        &self,
        address: ChunkAddress,
        deadline: Instant,
        counters: &TierCounters,
    ) -> Result<CheckedChunk, FetchError> {
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(address, deadline).await {
                Ok(checked) => {
                    counters.hit(checked.stored().len(), begin.elapsed());
                    return Ok(checked);
                }
                Err(attempt) => self.judge(address, attempt, attempts, counters),
            };
            let pause = self.pause(address, attempts);
            let final_error = matches!(error, FetchError::Missing(_) | FetchError::Failed(_));
            if final_error || attempts == ATTEMPTS_MAX || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(chunk = %address.id, %error, ?pause, "asking the origin again");
            self.retries.count();
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, address: ChunkAddress, deadline: Instant) -> Result<CheckedChunk, Attempt> {
        let patience = deadline.min(Instant::now() + self.attempt_timeout);
        let answer = timeout_at(patience, self.origin.fetch(address)).await;
        let stored = answer
            .map_err(|_| Attempt::Silent)?
            .map_err(|error| Attempt::Final(FetchError::from_origin(address, error)))?;
        CheckedChunk::check(address.id, stored).map_err(|error| match error {
            OpenError::Corrupt { bytes, .. } => Attempt::Corrupt { found_bytes: bytes },
            OpenError::Undecodable { .. } => unreachable!("checking does not decode"),
        })
    }

    /// Counts a failed attempt and gives the error that it would be if it were the last.
    fn judge(&self, address: ChunkAddress, attempt: Attempt, attempts: u32, counters: &TierCounters) -> FetchError {
        match attempt {
            Attempt::Corrupt { found_bytes } => {
                counters.corrupt.count();
                tracing::error!(chunk = %address.id, tier = "origin", found_bytes, attempts, "corrupt copy of a chunk");
                let id = address.id;
                ChunkCorrupt {
                    id,
                    address,
                    attempts,
                    found_bytes,
                }
                .into()
            }
            Attempt::Silent => {
                counters.errors.count();
                OriginSilent::new(address, self.budget).into()
            }
            Attempt::Final(error) => {
                match error {
                    FetchError::Missing(_) => counters.misses.count(),
                    _ => counters.errors.count(),
                }
                error
            }
        }
    }

    /// Between half and all of the longest pause, so that many who failed together do not come back together.
    fn pause(&self, address: ChunkAddress, attempts: u32) -> Duration {
        let longest = PAUSE_FIRST * 2_u32.saturating_pow(attempts - 1);
        let sixteenths = (self.jitter.hash_one((address, attempts)) % 8) as u32 + 8;
        longest * sixteenths / 16
    }
}
