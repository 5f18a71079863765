//! Whether a node is worth asking: one enum, changed by events.
//!
//! ```text
//!            3 failures in a row, or garbage            pause over, somebody asks
//!  Closed ─────────────────────────────────────> Open ───────────────────────────> HalfOpen
//!    ^                                             ^      one question goes out        │
//!    └───────────── an answer ────────────────     └── failure: twice the pause ───────┤
//!    └─────────────────────────────────────────────────────────── an answer ──────────-┘
//! ```
//! A node that is not asked costs nothing: no wait, no connection. One that comes back is found by an ordinary
//! question, for a fragment that four others have as well.

use std::time::{Duration, Instant};

/// Failures in a row after which a node is left alone: one may be its restart, and a dead one fails all.
const FAILURES_MAX: u32 = 3;

/// How long a node is left alone at first.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// How long at most: what an operator waits for who has just repaired the node.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A probe that has no end after so long is taken for lost, and another goes out.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Asked like any other.
    Closed { failures: u32 },
    /// Not asked.
    Open { until: Instant, pause: Duration },
    /// Asked once, to see.
    HalfOpen { since: Instant, pause: Duration },
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody who was admitted asks it.
    Asked,
    /// It answered, be it that it has nothing.
    Answered,
    /// It could not be reached, refused, or did not answer in time.
    Failed,
    /// It answered with what nobody has stored there.
    Garbled,
}

impl Breaker {
    /// Whether it may be asked now.
    pub(crate) fn admits(self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } => now >= until,
            Self::HalfOpen { since, .. } => now >= since + PROBE_MAX,
        }
    }

    /// What is known after an event.
    pub(crate) fn apply(self, event: Event, now: Instant) -> Self {
        match (event, self) {
            (Event::Asked, Self::Closed { .. }) => self,
            (Event::Asked, Self::Open { pause, .. } | Self::HalfOpen { pause, .. }) => {
                Self::HalfOpen { since: now, pause }
            }
            // An answer to what was asked before it was left alone: late, and no reason to ask again.
            (Event::Answered, Self::Open { .. }) => self,
            (Event::Answered, _) => Self::default(),
            (Event::Failed, Self::Closed { failures }) if failures + 1 < FAILURES_MAX => {
                let failures = failures + 1;
                Self::Closed { failures }
            }
            (Event::Failed | Event::Garbled, Self::Closed { .. }) => Self::open(PAUSE_FIRST, now),
            (Event::Failed | Event::Garbled, Self::HalfOpen { pause, .. }) => {
                Self::open((pause * 2).min(PAUSE_MAX), now)
            }
            (Event::Failed | Event::Garbled, Self::Open { .. }) => self,
        }
    }

    /// `asked`, `left alone`, `on trial`: as in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed { .. } => "asked",
            Self::Open { .. } => "left alone",
            Self::HalfOpen { .. } => "on trial",
        }
    }

    fn open(pause: Duration, now: Instant) -> Self {
        let until = now + pause;
        Self::Open { until, pause }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::{Answered, Asked, Failed, Garbled};
    use super::*;

    /// Events with the milliseconds at which they come; whether the node may be asked a moment later, and its state.
    fn check(events: &[(u64, Event)], at_ms: u64, admits: bool, state: &str) {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let breaker = events.iter().fold(Breaker::default(), |breaker, (ms, event)| {
            breaker.apply(*event, at(*ms))
        });
        assert_eq!(
            (breaker.admits(at(at_ms)), breaker.name()),
            (admits, state),
            "{events:?}"
        );
    }

    #[test]
    fn a_node_that_fails_is_left_alone_and_tried_again() {
        let dead = [(0, Failed), (0, Failed), (0, Failed)];
        check(&[], 0, true, "asked");
        check(&dead[..2], 0, true, "asked");
        check(
            &[(0, Failed), (0, Failed), (1, Answered), (2, Failed)],
            2,
            true,
            "asked",
        );
        check(&dead, 499, false, "left alone");
        check(&dead, 500, true, "left alone");
        let tried = [&dead[..], &[(600, Asked)]].concat();
        check(&tried, 601, false, "on trial");
        check(&tried, 2600, true, "on trial");
        check(&[&tried[..], &[(700, Answered)]].concat(), 700, true, "asked");
        let failed = [&tried[..], &[(700, Failed)]].concat();
        check(&failed, 1699, false, "left alone");
        check(&failed, 1700, true, "left alone");
    }

    #[test]
    fn garbage_is_enough_and_late_answers_are_not() {
        check(&[(0, Garbled)], 10, false, "left alone");
        check(&[(0, Garbled), (5, Answered), (6, Failed)], 10, false, "left alone");
    }

    #[test]
    fn the_pause_grows_to_its_limit() {
        let mut breaker = Breaker::default().apply(Garbled, Instant::now());
        for _ in 0..20 {
            breaker = breaker.apply(Asked, Instant::now()).apply(Failed, Instant::now());
        }
        assert!(matches!(breaker, Breaker::Open { pause: PAUSE_MAX, .. }), "{breaker:?}");
    }
}
