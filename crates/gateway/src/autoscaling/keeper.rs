//! Keeps scalable targets: runs scheduled actions that are due, samples what is in flight, and decides once a period.
//!
//! What it must not forget is in the record: which actions have run. What it may forget, the samples and the cooldowns,
//! is in memory: after a restart it waits a period before it adds, and as long as ever before it takes away.

use super::operations::parts_of;
use super::schedule::Timetable;
use super::tracking::{CALM_PERIODS, Situation, Tracking, desired};
use crate::Gateway;
use control::{ControlError, ScalableResource, ScalingActivity, ScalingPlan, ScalingPolicy};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Samples in a period, each of which is a moment: often enough that an average says what ran.
const SAMPLES: u32 = 60;

/// Longest time between two looks while there are targets, and after the record failed: schedules name seconds.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Longest sleep while there is none, should a bell be missed.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Keeps all targets until told to stop.
pub(crate) async fn keep(gateway: &Gateway, stop: &CancellationToken) {
    let bell = gateway.control.scaling_changed();
    let mut keeper = Keeper::new(gateway.clone());
    loop {
        let stepped = tokio::select! {
            () = stop.cancelled() => return,
            stepped = keeper.step() => stepped,
        };
        let wait = stepped.unwrap_or_else(|error| {
            warn!("cannot keep scalable targets, trying again: {error}");
            keeper.plans = None;
            LOOK_MAX
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell.notified() => keeper.plans = None,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Keeper {
    gateway: Gateway,
    /// As they were read last; none when they are to be read again.
    plans: Option<Vec<Kept>>,
    memory: HashMap<ScalableResource, Memory>,
    period_end: Instant,
}

struct Kept {
    plan: ScalingPlan,
    /// Of each action: when it is due next, milliseconds since 1970.
    due: Vec<(Timetable, u64)>,
    /// The action of each line above.
    actions: Vec<usize>,
}

/// What is remembered of a target.
#[derive(Debug, Default)]
struct Memory {
    /// Of this period.
    sum: f64,
    samples: u32,
    /// Averages of the last periods.
    in_flight: VecDeque<f64>,
    added: Option<Instant>,
    removed: Option<Instant>,
    /// What is not said again and again.
    failure: Option<String>,
}

impl Keeper {
    fn new(gateway: Gateway) -> Self {
        Self {
            period_end: Instant::now() + gateway.settings.scaling_period,
            gateway,
            plans: None,
            memory: HashMap::new(),
        }
    }

    /// Does what there is to do now; gives how long nothing will be.
    async fn step(&mut self) -> Result<Duration, ControlError> {
        if self.plans.is_none() {
            self.read().await?;
        }
        let plans = self.plans.take().unwrap_or_default();
        if plans.is_empty() {
            self.plans = Some(plans);
            return Ok(SLEEP_MAX);
        }
        let has_run = self.run_due(&plans).await?;
        self.sample(&plans).await?;
        let now = Instant::now();
        if now >= self.period_end {
            self.period_end = now + self.gateway.settings.scaling_period;
            self.decide(&plans).await?;
        } else if !has_run {
            self.plans = Some(plans);
        }
        let sample = self.gateway.settings.scaling_period / SAMPLES;
        // What has run is read again at once.
        Ok(if has_run { Duration::ZERO } else { sample.min(LOOK_MAX) })
    }

    /// Reads all, and sees to it that every target is within its numbers.
    async fn read(&mut self) -> Result<(), ControlError> {
        let plans = self.gateway.control.scaling_plans().await?;
        self.memory
            .retain(|resource, _| plans.iter().any(|plan| plan.target.resource == *resource));
        for plan in &plans {
            self.keep_within(plan).await?;
        }
        self.plans = Some(plans.into_iter().map(Kept::new).collect());
        Ok(())
    }

    async fn keep_within(&mut self, plan: &ScalingPlan) -> Result<(), ControlError> {
        let (min, max) = (plan.target.min, plan.target.max);
        let Some(capacity) = self.capacity(&plan.target.resource).await? else {
            return Ok(());
        };
        if capacity < min {
            self.set(plan, min, format!("minimum capacity was set to {min}"))
                .await?;
        } else if capacity > max {
            self.set(plan, max, format!("maximum capacity was set to {max}"))
                .await?;
        }
        Ok(())
    }

    /// Environments that are asked for; none if the version or alias is gone.
    async fn capacity(&self, resource: &ScalableResource) -> Result<Option<u32>, ControlError> {
        match self
            .gateway
            .control
            .provisioned_concurrency(&resource.qualified())
            .await
        {
            Ok(wish) => Ok(Some(u32::try_from(wish.requested).unwrap_or(u32::MAX))),
            Err(ControlError::ProvisionedConcurrencyConfigNotFound { .. }) => Ok(Some(0)),
            Err(ControlError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs actions that are due. Whether there were any.
    async fn run_due(&self, plans: &[Kept]) -> Result<bool, ControlError> {
        let now_ms = self.gateway.now_ms();
        let mut has_run = false;
        for kept in plans {
            for ((timetable, next_ms), action) in kept.due.iter().zip(&kept.actions) {
                if *next_ms > now_ms {
                    continue;
                }
                let action = &kept.plan.actions[*action];
                if let Some(due_ms) = timetable.last_due(action.done_ms, now_ms) {
                    self.gateway.control.run_scheduled_action(action, due_ms).await?;
                    has_run = true;
                }
            }
        }
        Ok(has_run)
    }

    async fn sample(&mut self, plans: &[Kept]) -> Result<(), ControlError> {
        let tracked = plans.iter().filter(|kept| !kept.plan.policies.is_empty());
        let tracked: Vec<&ScalableResource> = tracked.map(|kept| &kept.plan.target.resource).collect();
        if tracked.is_empty() {
            return Ok(());
        }
        let reports = self.gateway.worker.provisioned(None).into_iter();
        let running: HashMap<String, u32> = reports.map(|report| (report.revision, report.in_flight)).collect();
        for resource in tracked {
            let in_flight = in_flight(&self.gateway, resource, &running).await?;
            let memory = self.memory.entry(resource.clone()).or_default();
            memory.sum += f64::from(in_flight);
            memory.samples += 1;
        }
        Ok(())
    }

    async fn decide(&mut self, plans: &[Kept]) -> Result<(), ControlError> {
        for kept in plans.iter().filter(|kept| !kept.plan.policies.is_empty()) {
            let plan = &kept.plan;
            let Some(capacity) = self.capacity(&plan.target.resource).await? else {
                continue;
            };
            let memory = self.memory.entry(plan.target.resource.clone()).or_default();
            memory.end_period();
            let Some((policy, wanted)) = memory.decide(plan, capacity) else {
                continue;
            };
            // Never nothing by use alone: where nothing is up, no use is seen that would bring it back.
            let min = plan.target.min.max(1).min(plan.target.max);
            let wanted = wanted.clamp(min, plan.target.max);
            if wanted == capacity {
                continue;
            }
            let now = Some(Instant::now());
            if wanted > capacity {
                memory.added = now;
            } else {
                memory.removed = now;
            }
            let cause = format!("utilization triggered policy {}", policy.name);
            self.set(plan, wanted, cause).await?;
        }
        Ok(())
    }

    /// Asks for another number of environments, and notes that; a failure is noted once.
    async fn set(&mut self, plan: &ScalingPlan, wanted: u32, cause: String) -> Result<(), ControlError> {
        let (control, resource) = (&self.gateway.control, &plan.target.resource);
        let target = resource.qualified();
        let account_max = u64::from(self.gateway.settings.account_concurrency_max);
        let done = match wanted {
            0 => control.delete_provisioned_concurrency(&target).await,
            _ => {
                let put = control.put_provisioned_concurrency(&target, u64::from(wanted), account_max);
                put.await.map(drop)
            }
        };
        let failure = done.as_ref().err().map(ToString::to_string);
        let memory = self.memory.entry(resource.clone()).or_default();
        if failure.is_some() && memory.failure == failure {
            return Ok(());
        }
        memory.failure.clone_from(&failure);
        let activity = ScalingActivity {
            resource: resource.clone(),
            id: String::new(),
            description: format!("Setting provisioned concurrency to {wanted}."),
            cause,
            begin_ms: self.gateway.now_ms(),
            is_success: failure.is_none(),
            message: failure.map_or_else(
                || {
                    format!(
                        "Successfully set provisioned concurrency to {wanted}. Change successfully fulfilled by lambda."
                    )
                },
                |failure| format!("Failed to set provisioned concurrency to {wanted}. Reason: {failure}"),
            ),
        };
        self.gateway.control.add_scaling_activity(&activity).await
    }
}

impl Kept {
    fn new(plan: ScalingPlan) -> Self {
        let (mut due, mut actions) = (Vec::new(), Vec::new());
        for (place, action) in plan.actions.iter().enumerate() {
            // What was put was read then, so only another version's record cannot be read now.
            match Timetable::read(&parts_of(action)) {
                Ok(timetable) => {
                    if let Some(next) = timetable.next_after(action.done_ms) {
                        due.push((timetable, next));
                        actions.push(place);
                    }
                }
                Err(error) => warn!(action = action.name, "a scheduled action never runs: {error}"),
            }
        }
        Self { plan, due, actions }
    }
}

impl Memory {
    fn end_period(&mut self) {
        if self.samples > 0 {
            self.in_flight.push_back(self.sum / f64::from(self.samples));
        }
        (self.sum, self.samples) = (0.0, 0);
        if self.in_flight.len() > CALM_PERIODS {
            self.in_flight.pop_front();
        }
    }

    /// The policy that wants most, if one wants more; else, if all want less, the one that wants most.
    fn decide<'a>(&mut self, plan: &'a ScalingPlan, capacity: u32) -> Option<(&'a ScalingPolicy, u32)> {
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

/// Invocations of a version, or of an alias's versions, that run now; from what runs of each revision.
async fn in_flight(
    gateway: &Gateway,
    resource: &ScalableResource,
    running: &HashMap<String, u32>,
) -> Result<u32, ControlError> {
    let plan = gateway
        .control
        .provision_plan(&resource.account, &resource.name)
        .await?;
    let wish = plan.iter().find(|wish| wish.asked.qualifier == resource.qualifier);
    let parts = wish.into_iter().flat_map(|wish| wish.parts.iter().chain(&wish.held));
    let leases = parts.filter_map(|part| part.lease.as_ref());
    Ok(leases.filter_map(|lease| running.get(&lease.revision)).sum())
}
