//! What becomes of an event that was tried: a pure function of the outcome, the function's settings and the past.
//!
//! Lambda's rules: a function that fails is tried again after 1 min and 2 min (twice by default); a throttle or an
//! error of the system is tried again for as long as the event may live (6 h by default), after 1 s and then twice as
//! long each time, up to 5 min. The record counts these tries, so that neither a long wait in the queue nor a new process
//! changes where the doubling stands.

use crate::GatewaySettings;
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
    /// It ran, or nobody can run it any more.
    Finish,
    /// It is due again after this wait, with so many tries behind it.
    Retry { wait: Duration, attempt: u32 },
}

/// How a try went.
#[derive(Debug)]
pub(super) enum Outcome {
    Success,
    FunctionError,
    /// No such function, version or alias.
    Gone,
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
            Fate::Finish
        } else {
            Fate::Retry { wait, attempt }
        }
    };
    match outcome {
        Outcome::Success | Outcome::Gone => Fate::Finish,
        Outcome::FunctionError if attempt >= limits.retries_max => Fate::Finish,
        Outcome::FunctionError => {
            let [first, later] = settings.retry_waits;
            retry(if attempt == 0 { first } else { later }, attempt + 1)
        }
        Outcome::System => retry(backoff(settings.backoff_first, settings.backoff_max, claims), attempt),
    }
}

/// The wait after so many failures in a row: the first, doubled by each further one, up to a limit.
pub(super) fn backoff(first: Duration, max: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: &Outcome, (attempt, claims): (u32, u32), age_s: u64, expected: Option<(u64, u32)>) {
        let limits = Limits::new(None);
        let tries = Tries {
            attempt,
            claims,
            age: Duration::from_secs(age_s),
        };
        let fate = fate(&GatewaySettings::default(), &limits, outcome, &tries);
        let expected = expected.map_or(Fate::Finish, |(wait_s, attempt)| Fate::Retry {
            wait: Duration::from_secs(wait_s),
            attempt,
        });
        assert_eq!(fate, expected, "{outcome:?} {tries:?}");
    }

    #[test]
    fn a_failed_function_is_tried_twice_more() {
        check(&Outcome::FunctionError, (0, 1), 1, Some((60, 1)));
        check(&Outcome::FunctionError, (1, 1), 62, Some((120, 2)));
        check(&Outcome::FunctionError, (2, 1), 183, None);
        check(&Outcome::FunctionError, (0, 9), 900, Some((60, 1)));
        check(&Outcome::Success, (0, 1), 1, None);
        check(&Outcome::Gone, (0, 1), 1, None);
    }

    #[test]
    fn throttles_are_tried_until_the_event_is_too_old() {
        check(&Outcome::System, (0, 1), 0, Some((1, 0)));
        check(&Outcome::System, (2, 4), 8, Some((8, 2)));
        check(&Outcome::System, (0, 10), 4000, Some((300, 0)));
        check(&Outcome::System, (0, 1), 6 * 3600 - 1, Some((1, 0)));
        check(&Outcome::System, (0, 10), 6 * 3600 - 100, None);
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
