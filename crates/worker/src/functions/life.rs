//! The life of an environment.
//!
//! ```text
//! Preparing ─> Initializing ─> Idle <─> Busy          any ─> Failed
//!     ^             │            │
//!     └─ once more ─┘            └─> Stopping ─> Gone
//! ```
//! One task owns an environment; what it waits for becomes an [`Event`], and [`Life::apply`] alone says what follows.

/// Where an environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its mounts and its sandbox are made.
    Preparing(Attempt),
    /// Its processes run; not all of them have asked for an event.
    Initializing(Attempt),
    /// It waits for an event.
    Idle(Motion),
    /// It has an event.
    Busy(Progress),
    /// Its extensions are told to end, then everything is killed.
    Stopping,
    /// Nothing is left of it.
    Gone,
    /// It is of no use any more; everything is killed.
    Failed,
}

/// Lambda initialises once more, under the function's timeout, when the first time fails or takes longer than 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Under the limit of the init phase.
    First,
    /// Under the function's timeout.
    Second,
}

/// Whether an idle environment's processes can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// For a moment after an invocation.
    Running,
    /// Until the next one.
    Frozen,
}

/// How far an invocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The runtime works on it.
    Running,
    /// It is answered; runtime or extensions have not asked for the next event yet.
    Answered,
}

/// What happens to an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its processes have been started.
    Prepared,
    /// Runtime and extensions have all asked for their first event.
    Initialized,
    /// The runtime or an extension reported an error, exited, or took too long before that.
    InitFailed,
    /// It was given an invocation.
    Assigned,
    /// The runtime answered.
    Answered,
    /// Runtime and extensions have all asked for the next event.
    Settled,
    /// No invocation came for a moment.
    Lingered,
    /// It could not be made, its runtime or an extension exited, or an invocation took too long.
    Broke,
    /// It is to end when it has no invocation.
    Stop,
    /// Everything in it has been killed.
    Ended,
}

impl Life {
    /// The state after an event. One that does not belong to a state changes nothing: it came too late.
    #[must_use]
    pub(crate) const fn apply(self, event: Event) -> Self {
        match (self, event) {
            (Self::Gone | Self::Failed, _) => self,
            (Self::Stopping, Event::Ended) => Self::Gone,
            (Self::Stopping, _) => self,
            (_, Event::Broke) => Self::Failed,
            (Self::Preparing(attempt), Event::Prepared) => Self::Initializing(attempt),
            (Self::Initializing(_), Event::Initialized) => Self::Idle(Motion::Running),
            (Self::Initializing(Attempt::First), Event::InitFailed) => Self::Preparing(Attempt::Second),
            (Self::Initializing(Attempt::Second), Event::InitFailed) => Self::Failed,
            (Self::Idle(_), Event::Assigned) => Self::Busy(Progress::Running),
            (Self::Idle(Motion::Running), Event::Lingered) => Self::Idle(Motion::Frozen),
            (Self::Busy(Progress::Running), Event::Answered) => Self::Busy(Progress::Answered),
            (Self::Busy(Progress::Answered), Event::Settled) => Self::Idle(Motion::Running),
            (Self::Preparing(_) | Self::Initializing(_) | Self::Idle(_), Event::Stop) => Self::Stopping,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt::*, Event::*, Life, Life::*, Motion::*, Progress};

    const STATES: [Life; 11] = [
        Preparing(First),
        Preparing(Second),
        Initializing(First),
        Initializing(Second),
        Idle(Running),
        Idle(Frozen),
        Busy(Progress::Running),
        Busy(Progress::Answered),
        Stopping,
        Gone,
        Failed,
    ];

    fn check(life: Life, expected: [Life; 10]) {
        let events = [
            Prepared,
            Initialized,
            InitFailed,
            Assigned,
            Answered,
            Settled,
            Lingered,
            Broke,
            Stop,
            Ended,
        ];
        for (event, expected) in events.into_iter().zip(expected) {
            assert_eq!(life.apply(event), expected, "{life:?} + {event:?}");
        }
    }

    #[test]
    fn every_event_in_every_state() {
        let [p1, p2, i1, i2, idle, frozen, busy, answered, stopping, gone, failed] = STATES;
        //              Prepared  Initialized InitFailed Assigned  Answered  Settled   Lingered  Broke     Stop      Ended
        check(p1, [i1, p1, p1, p1, p1, p1, p1, failed, stopping, p1]);
        check(p2, [i2, p2, p2, p2, p2, p2, p2, failed, stopping, p2]);
        check(i1, [i1, idle, p2, i1, i1, i1, i1, failed, stopping, i1]);
        check(i2, [i2, idle, failed, i2, i2, i2, i2, failed, stopping, i2]);
        check(
            idle,
            [idle, idle, idle, busy, idle, idle, frozen, failed, stopping, idle],
        );
        check(
            frozen,
            [
                frozen, frozen, frozen, busy, frozen, frozen, frozen, failed, stopping, frozen,
            ],
        );
        check(busy, [busy, busy, busy, busy, answered, busy, busy, failed, busy, busy]);
        check(
            answered,
            [
                answered, answered, answered, answered, answered, idle, answered, failed, answered, answered,
            ],
        );
        check(
            stopping,
            [
                stopping, stopping, stopping, stopping, stopping, stopping, stopping, stopping, stopping, gone,
            ],
        );
        check(gone, [gone; 10]);
        check(failed, [failed; 10]);
    }

    #[test]
    fn a_life_without_trouble() {
        let events = [
            Prepared,
            Initialized,
            Assigned,
            Answered,
            Settled,
            Lingered,
            Assigned,
            Answered,
            Settled,
            Stop,
            Ended,
        ];
        let last = events.into_iter().fold(Preparing(First), Life::apply);
        assert_eq!(last, Gone);
    }
}
