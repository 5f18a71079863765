//! Keeps scalable targets: runs scheduled actions that are due, samples what is in flight, and decides once a period.
//!
//! What it must not forget is in the record: which actions have run. What it may forget, the samples and the cooldowns,
//! is in memory: after a restart it waits a period before it adds, and as long as ever before it takes away.

use super::actions::parts_of;
use super::memory::Memory;
use super::schedule::Timetable;
use crate::Gateway;
use control::{ControlError, ScalableResource, ScalingActivity, ScalingPlan, ScheduledAction};
use std::collections::HashMap;
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
        for (due_ms, action) in plans.iter().flat_map(|kept| kept.due_until(now_ms)) {
            self.gateway.control.run_scheduled_action(action, due_ms).await?;
            has_run = true;
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
            memory.sample(in_flight);
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

    /// Actions that have been due since they ran last, each with the last time that it was, in the order of these times:
    /// each sets the target's numbers, and the latest is the one that holds.
    fn due_until(&self, now_ms: u64) -> Vec<(u64, &ScheduledAction)> {
        let all = self.due.iter().zip(&self.actions);
        let due = all.filter(|((_, next_ms), _)| *next_ms <= now_ms);
        let mut due: Vec<_> = due
            .filter_map(|((timetable, _), place)| {
                let action = &self.plan.actions[*place];
                Some((timetable.last_due(action.done_ms, now_ms)?, action))
            })
            .collect();
        due.sort_by_key(|(due_ms, _)| *due_ms);
        due
    }
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

#[cfg(test)]
mod tests;
