//! When the origin is asked a second time beside the first, and how often that may be.
//!
//! A store of many machines answers most questions alike and a few of them late, because a disk, a queue or a connection
//! somewhere had a bad moment. Whoever asks again once an answer is later than 95 of 100 have been mostly meets another
//! machine, and pays for it with one question in twenty at most (Dean and Barroso, "The Tail at Scale", 2013). Three
//! things keep that from becoming a load of its own:
//!
//! - **A budget.** Every first question earns [`Settings::hedge_percent`] hundredths of a second one, so that at any
//!   moment there have been no more of them than that share; an origin that is slow as a whole is not asked twice as much.
//! - **Permits.** A second question takes one of those that bound the origin, if one is free that very moment and nobody
//!   waits for it. When all are out the origin has enough to do.
//! - **A floor.** An answer that is late by a millisecond is not worth a question.
//!
//! Nothing is asked twice before [`KNOWN_MIN`] answers are known, nor of an origin that is on this machine.

use crate::Settings;
use crate::counters::Counter;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Answers that "recent" means: at 50 answers a second some three seconds, at a start's 1,000 the last few hundred ms.
const RECENT: usize = 128;

/// Answers without which no delay is known. With fewer, the 95th of 100 is the slowest but by chance.
const KNOWN_MIN: usize = 20;

/// How often the delay is computed anew: at each eighth answer, since sorting 128 numbers at each would be for nothing.
const RECOMPUTE_AFTER: usize = 8;

/// The share that is not late.
const QUANTILE_PERCENT: usize = 95;

/// What one second question costs, in what [`Settings::hedge_percent`] is counted in.
const COST: u64 = 100;

/// Second questions that may have been saved up: an origin that was well for an hour is not asked twice as much in the
/// minute in which it is not.
const SAVED_MAX: u64 = 16 * COST;

/// How late is late, and what may be spent on it.
#[derive(Debug)]
pub(crate) struct Hedges {
    percent: u64,
    delay_min: Duration,
    state: Mutex<State>,
    pub(crate) counters: HedgeCounters,
}

/// What became of second questions.
#[derive(Debug, Default)]
pub(crate) struct HedgeCounters {
    /// Asked.
    pub(crate) asked: Counter,
    /// Of them, those whose answer came first and was good.
    pub(crate) won: Counter,
    /// Not asked, for want of budget or of a permit.
    pub(crate) spared: Counter,
}

#[derive(Debug, Default)]
struct State {
    /// The last answers' times, in microseconds; a ring.
    times_us: Vec<u32>,
    next: usize,
    /// How many answers the delay does not know of yet.
    unseen: usize,
    delay: Option<Duration>,
    saved: u64,
}

impl Hedges {
    /// `None` when the settings want none.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        (settings.hedge_percent > 0).then(|| Self {
            percent: settings.hedge_percent.into(),
            delay_min: settings.hedge_after,
            state: Mutex::default(),
            counters: HedgeCounters::default(),
        })
    }

    /// A first question goes out: after how long a second one may; `None` while nothing is known.
    pub(crate) fn first(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.saved = (state.saved + self.percent).min(SAVED_MAX);
        Some(state.delay?.max(self.delay_min))
    }

    /// Whether there is budget for a second question; if so it is spent.
    pub(crate) fn spend(&self) -> bool {
        let mut state = self.lock();
        let left = state.saved.checked_sub(COST);
        state.saved = left.unwrap_or(state.saved);
        left.is_some()
    }

    /// A good answer came so long after the first question, whichever question it was an answer to: the delay itself
    /// passes before a second one, so second questions do not make what counts as late ever shorter.
    pub(crate) fn answered(&self, took: Duration) {
        let took_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.lock().note(took_us);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changed in steps that each leave it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, took_us: u32) {
        if self.times_us.len() < RECENT {
            self.times_us.push(took_us);
        } else {
            self.times_us[self.next] = took_us;
            self.next = (self.next + 1) % RECENT;
        }
        self.unseen += 1;
        if self.times_us.len() >= KNOWN_MIN && self.unseen >= RECOMPUTE_AFTER {
            self.unseen = 0;
            self.delay = Some(quantile(&mut self.times_us.clone()));
        }
    }
}

/// The time that 95 of 100 do not exceed. Changes the order.
fn quantile(times_us: &mut [u32]) -> Duration {
    let last = times_us.len() * QUANTILE_PERCENT / 100;
    let (_, time_us, _) = times_us.select_nth_unstable(last.min(times_us.len() - 1));
    Duration::from_micros((*time_us).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hedges(percent: u32) -> Hedges {
        let settings = Settings {
            hedge_percent: percent,
            hedge_after: Duration::from_millis(1),
            ..Settings::default()
        };
        Hedges::new(&settings).unwrap()
    }

    #[test]
    fn late_is_what_95_of_the_last_answers_were_not_and_never_less_than_the_floor() {
        let hedges = hedges(5);
        assert_eq!(hedges.first(), None, "nothing is known");
        (1..=100).for_each(|ms| hedges.answered(Duration::from_millis(ms)));
        assert_eq!(hedges.first(), Some(Duration::from_millis(96)));
        (0..RECENT).for_each(|_| hedges.answered(Duration::from_micros(10)));
        assert_eq!(hedges.first(), Some(Duration::from_millis(1)), "old ones are forgotten");
    }

    #[test]
    fn none_are_wanted_where_the_share_is_nothing() {
        let settings = Settings {
            hedge_percent: 0,
            ..Settings::default()
        };
        assert!(Hedges::new(&settings).is_none());
    }

    proptest! {
        #[test]
        fn second_questions_are_never_more_than_their_share(
            percent in 1_u32..=100,
            wishes in prop::collection::vec(any::<bool>(), 1..2000),
        ) {
            let hedges = hedges(percent);
            let (mut first, mut second) = (0_u64, 0_u64);
            for wish in wishes {
                hedges.first();
                first += 1;
                second += u64::from(wish && hedges.spend());
                prop_assert!(second * 100 <= first * u64::from(percent), "{second} of {first}");
            }
        }
    }
}
