//! What the keeper remembers of a target, and what follows from it.

use super::tracking::{CALM_PERIODS, Situation, Tracking, desired};
use control::{ScalingPlan, ScalingPolicy};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is remembered of a target.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Of this period.
    sum: f64,
    samples: u32,
    /// Averages of the last periods.
    in_flight: VecDeque<f64>,
    pub(super) added: Option<Instant>,
    pub(super) removed: Option<Instant>,
    /// What is not said again and again.
    pub(super) failure: Option<String>,
}

impl Memory {
    /// Takes down what runs at this moment.
    pub(super) fn sample(&mut self, in_flight: u32) {
        self.sum += f64::from(in_flight);
        self.samples += 1;
    }

    pub(super) fn end_period(&mut self) {
        if self.samples > 0 {
            self.in_flight.push_back(self.sum / f64::from(self.samples));
        }
        (self.sum, self.samples) = (0.0, 0);
        if self.in_flight.len() > CALM_PERIODS {
            self.in_flight.pop_front();
        }
    }

    /// The policy that wants most, if one wants more; else, if all want less, the one that wants most.
    pub(super) fn decide<'a>(&mut self, plan: &'a ScalingPlan, capacity: u32) -> Option<(&'a ScalingPolicy, u32)> {
        let situation = Situation {
            capacity,
            in_flight: self.in_flight.make_contiguous(),
        };
        let (added, removed, suspended) = (self.added, self.removed, plan.target.suspended);
        let wanted: Vec<(&ScalingPolicy, u32)> = plan
            .policies
            .iter()
            .filter_map(|policy| {
                let tracking = Tracking {
                    target: policy.target,
                    may_add: !suspended.scale_out && is_over(added, policy.scale_out_cooldown_s),
                    may_remove: !suspended.scale_in
                        && policy.disable_scale_in != Some(true)
                        && is_over(removed, policy.scale_in_cooldown_s),
                };
                Some((policy, desired(&tracking, &situation)?))
            })
            .collect();
        let most = wanted.iter().copied().max_by_key(|(_, wanted)| *wanted)?;
        (most.1 > capacity || wanted.len() == plan.policies.len()).then_some(most)
    }
}

/// Whether a cooldown is over; for Lambda's provisioned concurrency there is none unless a policy says so.
fn is_over(last: Option<Instant>, cooldown_s: Option<u32>) -> bool {
    let cooldown = Duration::from_secs(u64::from(cooldown_s.unwrap_or(0)));
    last.is_none_or(|last| last.elapsed() >= cooldown)
}
