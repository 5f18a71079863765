//! One chunk from the origin: timed, checked, and asked for again where that can help.
//!
//! Two loops meet here and must not multiply. A store repeats what broke in transfer, for as long as its own budget
//! lasts; an error that comes out of it is final and is not asked for again. What a store cannot notice is repeated
//! here: an answer with another hash, which may be a bad transfer, and no answer at all, which may be a connection that
//! nobody listens to any more.
//!
//! An answer that is late, and no more than that, may be asked for a second time beside the first (see `hedge`): the
//! first good answer counts, and dropping the other ends its request.

use crate::counters::{Counter, TierCounters};
use crate::error::{ChunkCorrupt, FetchError, OriginSilent};
use crate::hedge::{HedgeCounters, Hedges};
use crate::permits::Permits;
use crate::{ChunkAddress, Origin, Settings, Urgency};
use chunk::{CheckedChunk, OpenError};
use futures::future::{Either, select};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

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
    /// None where a second question cannot help.
    hedges: Option<Hedges>,
    /// What second questions take theirs from.
    permits: Permits,
}

/// What is wanted of the origin.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) address: ChunkAddress,
    pub(crate) urgency: Urgency,
    pub(crate) deadline: Instant,
    pub(crate) counters: &'a TierCounters,
}

/// Why an attempt gave no chunk.
enum Attempt {
    Silent,
    Corrupt { found_bytes: usize },
    Final(FetchError),
}

impl Fetcher {
    pub(crate) fn new(origin: Arc<dyn Origin>, settings: &Settings, permits: Permits) -> Self {
        Self {
            hedges: origin.is_remote().then(|| Hedges::new(settings)).flatten(),
            permits,
            origin,
            budget: settings.fetch_budget,
            attempt_timeout: settings.attempt_timeout,
            jitter: RandomState::new(),
            retries: Counter::default(),
        }
    }

    /// What became of second questions; `None` where there are none.
    pub(crate) fn hedge_counters(&self) -> Option<&HedgeCounters> {
        self.hedges.as_ref().map(|hedges| &hedges.counters)
    }

    /// The chunk, or why not, before the deadline.
    pub(crate) async fn fetch(&self, question: Question<'_>) -> Result<CheckedChunk, FetchError> {
        let Question {
            address,
            deadline,
            counters,
            ..
        } = question;
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(question).await {
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

    async fn attempt(&self, question: Question<'_>) -> Result<CheckedChunk, Attempt> {
        let patience = question.deadline.min(Instant::now() + self.attempt_timeout);
        let answer = timeout_at(patience, self.ask_hedged(question)).await;
        answer.unwrap_or(Err(Attempt::Silent))
    }

    /// One question, and another one beside it if the answer is late and the budget allows it.
    async fn ask_hedged(&self, question: Question<'_>) -> Result<CheckedChunk, Attempt> {
        let Some(hedges) = &self.hedges else {
            return self.ask(question.address).await;
        };
        let begin = Instant::now();
        let mut first = pin!(self.ask(question.address));
        let answer = match hedges.first() {
            None => first.await,
            Some(delay) => match timeout(delay, &mut first).await {
                Ok(answer) => answer,
                Err(_) => self.ask_beside(first, question, hedges).await,
            },
        };
        if answer.is_ok() {
            hedges.answered(begin.elapsed());
        }
        answer
    }

    /// The first good answer, of a question that is late and a second one; if both are bad, the later word.
    async fn ask_beside(
        &self,
        first: impl Future<Output = Result<CheckedChunk, Attempt>> + Unpin,
        question: Question<'_>,
        hedges: &Hedges,
    ) -> Result<CheckedChunk, Attempt> {
        let permit = self
            .permits
            .try_acquire(question.urgency, question.address.stored_bytes.into());
        let Some(_permit) = permit.filter(|_| hedges.spend()) else {
            hedges.counters.spared.count();
            return first.await;
        };
        hedges.counters.asked.count();
        let second = pin!(self.ask(question.address));
        match select(first, second).await {
            Either::Left((Ok(chunk), _)) => Ok(chunk),
            Either::Right((Ok(chunk), _)) => {
                hedges.counters.won.count();
                Ok(chunk)
            }
            Either::Left((Err(bad), second)) => {
                self.judge(question.address, bad, 1, question.counters);
                second.await
            }
            Either::Right((Err(bad), first)) => {
                self.judge(question.address, bad, 1, question.counters);
                first.await
            }
        }
    }

    async fn ask(&self, address: ChunkAddress) -> Result<CheckedChunk, Attempt> {
        let answer = self.origin.fetch(address).await;
        let stored = answer.map_err(|error| Attempt::Final(FetchError::from_origin(address, error)))?;
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
