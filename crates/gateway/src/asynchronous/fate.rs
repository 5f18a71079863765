//! What becomes of an event that was tried: a pure function of the outcome, the function's settings and the past.
//!
//! Lambda's rules: a function that fails is tried again after 1 min and 2 min (twice by default); a throttle or an
//! error of the system is tried again for as long as the event may live (6 h by default), after 1 s and then twice as
//! long each time, up to 5 min. The record counts these tries, so that neither a long wait in the queue nor a new process
//! changes where the doubling stands.

use crate::GatewaySettings;
use crate::due::backoff;
use control::EventInvokeConfig;
use std::time::Duration;

/// Longest life of an event without a setting of its own, s: 6 h. Source: AWS Lambda Developer Guide, "Asynchronous
/// invocation".
const AGE_MAX_S: u64 = 6 * 3600;
/// Tries after the first without a setting of its own. Same source.
const RETRIES_MAX: u32 = 2;

/// What becomes of an event that was tried.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has ended so.
    Finish(Condition),
    /// There is no such function any more, and so nobody to tell.
    Forget,
    /// It is due again after this wait, with so many tries behind it.
    Retry { wait: Duration, attempt: u32 },
}

/// How an event ends, as its record says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    /// The function has reserved no concurrency at all.
    ZeroReservedConcurrency,
    /// It was stopped before it went round once more. Lambda publishes no word of its own for it.
    Loop,
}

impl Condition {
    /// Value of `condition`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted | Self::Loop => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
        }
    }

    /// For a dead letter without a function's own words.
    pub(super) const fn explanation(self) -> &'static str {
        match self {
            Self::Success => "The function succeeded.",
            Self::RetriesExhausted => "The function failed as often as it may be tried.",
            Self::EventAgeExceeded => "The event became older than it may without a try that succeeded.",
            Self::ZeroReservedConcurrency => "The function's reserved concurrency is 0, so it never runs.",
            Self::Loop => "The function was invoked in a recursive loop and stopped.",
        }
    }
}

/// How a try went.
#[derive(Debug)]
pub(super) enum Outcome {
    Success,
    FunctionError,
    /// No such function, version or alias.
    Gone,
    /// The function has reserved no concurrency at all.
    Forbidden,
    /// The event has come round too often.
    Loop,
    /// A throttle, or the platform's own failure.
    System,
}

/// What a function's settings allow.
#[derive(Debug)]
pub(super) struct Limits {
    retries_max: u32,
    /// Longest life of an event.
    pub(super) age_max: Duration,
}

impl Limits {
    pub(super) fn new(config: Option<&EventInvokeConfig>) -> Self {
        let retries = config.and_then(|config| config.retries_max);
        let age = config.and_then(|config| config.age_max_s).unwrap_or(AGE_MAX_S);
        Self {
            retries_max: retries.map_or(RETRIES_MAX, |retries| u32::try_from(retries).unwrap_or(RETRIES_MAX)),
            age_max: Duration::from_secs(age),
        }
    }
}

/// What lies behind an event that was tried.
#[derive(Debug)]
pub(super) struct Tries {
    /// Tries that the function failed, without this one.
    pub(super) attempt: u32,
    /// Claims since it came or since the function last failed it, with this one.
    pub(super) claims: u32,
    pub(super) age: Duration,
}

/// Decides.
pub(super) fn fate(settings: &GatewaySettings, limits: &Limits, outcome: &Outcome, tries: &Tries) -> Fate {
    let Tries { attempt, claims, age } = *tries;
    let retry = |wait: Duration, attempt: u32| {
        if age + wait > limits.age_max {
            Fate::Finish(Condition::EventAgeExceeded)
        } else {
            Fate::Retry { wait, attempt }
        }
    };
    match outcome {
        Outcome::Success => Fate::Finish(Condition::Success),
        Outcome::Gone => Fate::Forget,
        Outcome::Forbidden => Fate::Finish(Condition::ZeroReservedConcurrency),
        Outcome::Loop => Fate::Finish(Condition::Loop),
        Outcome::FunctionError if attempt >= limits.retries_max => Fate::Finish(Condition::RetriesExhausted),
        Outcome::FunctionError => {
            let [first, later] = settings.retry_waits;
            retry(if attempt == 0 { first } else { later }, attempt + 1)
        }
        Outcome::System => retry(backoff(settings.backoff_first, settings.backoff_max, claims), attempt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: &Outcome, (attempt, claims): (u32, u32), age_s: u64, expected: &Fate) {
        let limits = Limits::new(None);
        let tries = Tries {
            attempt,
            claims,
            age: Duration::from_secs(age_s),
        };
        let fate = fate(&GatewaySettings::default(), &limits, outcome, &tries);
        assert_eq!(fate, *expected, "{outcome:?} {tries:?}");
    }

    const fn retry(wait_s: u64, attempt: u32) -> Fate {
        let wait = Duration::from_secs(wait_s);
        Fate::Retry { wait, attempt }
    }

    #[test]
    fn a_failed_function_is_tried_twice_more() {
        check(&Outcome::FunctionError, (0, 1), 1, &retry(60, 1));
        check(&Outcome::FunctionError, (1, 1), 62, &retry(120, 2));
        check(
            &Outcome::FunctionError,
            (2, 1),
            183,
            &Fate::Finish(Condition::RetriesExhausted),
        );
        check(&Outcome::FunctionError, (0, 9), 900, &retry(60, 1));
        check(
            &Outcome::FunctionError,
            (0, 1),
            6 * 3600 - 59,
            &Fate::Finish(Condition::EventAgeExceeded),
        );
        check(&Outcome::Success, (0, 1), 1, &Fate::Finish(Condition::Success));
        check(&Outcome::Gone, (0, 1), 1, &Fate::Forget);
    }

    #[test]
    fn what_can_never_run_is_not_tried_again() {
        check(
            &Outcome::Forbidden,
            (0, 1),
            1,
            &Fate::Finish(Condition::ZeroReservedConcurrency),
        );
        check(&Outcome::Loop, (0, 1), 1, &Fate::Finish(Condition::Loop));
    }

    #[test]
    fn throttles_are_tried_until_the_event_is_too_old() {
        check(&Outcome::System, (0, 1), 0, &retry(1, 0));
        check(&Outcome::System, (2, 4), 8, &retry(8, 2));
        check(&Outcome::System, (0, 10), 4000, &retry(300, 0));
        check(&Outcome::System, (0, 1), 6 * 3600 - 1, &retry(1, 0));
        check(
            &Outcome::System,
            (0, 10),
            6 * 3600 - 100,
            &Fate::Finish(Condition::EventAgeExceeded),
        );
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_five_minutes() {
        let settings = GatewaySettings::default();
        let waits = (1..=11).map(|claims| backoff(settings.backoff_first, settings.backoff_max, claims).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(
            backoff(settings.backoff_first, settings.backoff_max, u32::MAX),
            settings.backoff_max
        );
    }
}
