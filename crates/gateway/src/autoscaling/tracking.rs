//! How many environments a target is to have, by what ran: target tracking, as a function of samples.
//!
//! The metric is LambdaProvisionedConcurrencyUtilization: invocations in flight as a part of the environments that are
//! provisioned. AWS counts only those invocations that provisioned environments serve, so it sees 100 % at most and has
//! to feel its way up; here those that spilled over count as well, and one step leads to what is needed.

/// Periods of low use, one after the other, before environments are taken away. Application Auto Scaling waits for
/// fifteen minutes.
pub(super) const CALM_PERIODS: usize = 15;

/// Use below this part of the target is low. Application Auto Scaling's alarm is 10 % below.
const CALM_PART: f64 = 0.9;

/// What a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tracking {
    /// Part of environments that serve, above 0 and at most 1.
    pub(super) target: f64,
    pub(super) may_add: bool,
    pub(super) may_remove: bool,
}

/// What is now, and was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    /// Environments that are asked for.
    pub(super) capacity: u32,
    /// Invocations in flight, averaged over periods; the last one at the end.
    pub(super) in_flight: &'a [f64],
}

/// How many environments there are to be, if that is another number. Bounds are the caller's.
pub(super) fn desired(tracking: &Tracking, situation: &Situation<'_>) -> Option<u32> {
    let last = *situation.in_flight.last()?;
    let capacity = f64::from(situation.capacity);
    let needed = needed(last, tracking.target);
    if needed > situation.capacity {
        return tracking.may_add.then_some(needed);
    }
    let calm = situation.in_flight.rchunks(CALM_PERIODS).next()?;
    let most = calm.iter().copied().fold(0.0, f64::max);
    if calm.len() < CALM_PERIODS || most >= capacity * tracking.target * CALM_PART {
        return None;
    }
    let enough = self::needed(most, tracking.target);
    (tracking.may_remove && enough < situation.capacity).then_some(enough)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and beyond any limit of an account the number does not matter"
)]
fn needed(in_flight: f64, target: f64) -> u32 {
    // Sums of samples are a little off: 0.7 of 10 is to need 10 environments, not 11.
    (in_flight / target - 1e-9).ceil().max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use super::{CALM_PERIODS, Situation, Tracking, desired};

    const HALF: Tracking = Tracking {
        target: 0.5,
        may_add: true,
        may_remove: true,
    };

    fn check(tracking: Tracking, capacity: u32, in_flight: &[f64], expected: Option<u32>) {
        let situation = Situation { capacity, in_flight };
        assert_eq!(desired(&tracking, &situation), expected, "{capacity} at {in_flight:?}");
    }

    #[test]
    fn a_step_is_followed_in_one() {
        check(HALF, 1, &[], None);
        check(HALF, 2, &[1.0], None);
        check(HALF, 2, &[1.0, 40.0], Some(80));
        check(HALF, 80, &[1.0, 40.0, 40.0], None);
        let most = Tracking { target: 0.7, ..HALF };
        check(most, 1, &[40.0], Some(58));
        check(most, 10, &[7.0], None);
        check(most, 9, &[0.7 * 10.0], Some(10));
    }

    #[test]
    fn within_a_cooldown_nothing_is_added_or_removed() {
        check(Tracking { may_add: false, ..HALF }, 2, &[40.0], None);
        let calm = [1.0; CALM_PERIODS];
        check(
            Tracking {
                may_remove: false,
                ..HALF
            },
            80,
            &calm,
            None,
        );
    }

    #[test]
    fn environments_go_after_a_calm_time_only() {
        let mut calm = vec![1.0; CALM_PERIODS - 1];
        check(HALF, 80, &calm, None);
        calm.push(1.0);
        check(HALF, 80, &calm, Some(2));
        calm.push(30.0);
        check(HALF, 80, &calm, Some(60));
        calm.push(36.0);
        check(HALF, 80, &calm, None);
        check(HALF, 80, &[0.0; CALM_PERIODS], Some(0));
    }
}
