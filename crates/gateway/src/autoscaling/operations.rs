//! The operations.

use super::resource::{filter, missing, number, resource, text, texts, time};
use super::schedule::{Timetable, TimetableParts};
use super::{invalid, of_record, refuse, shapes};
use crate::Gateway;
use crate::json_error::JsonError;
use chunk::Account;
use control::{
    ControlError, ScalableResource, ScalableTarget, ScalableTargetChange, ScalingPolicy, ScalingSuspended,
    ScheduledAction,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The only metric of Lambda's that there is.
pub(super) const METRIC: &str = "LambdaProvisionedConcurrencyUtilization";

/// Most items of a page. Application Auto Scaling's.
const PAGE_MAX: usize = 50;

/// One authenticated call.
pub(super) struct Caller<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) account: &'a Account,
    pub(super) input: &'a Map<String, Value>,
}

impl Caller<'_> {
    pub(super) async fn register_scalable_target(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let change = ScalableTargetChange {
            min: number(self.input, "MinCapacity")?,
            max: number(self.input, "MaxCapacity")?,
            role_arn: text(self.input, "RoleARN")?.map(str::to_owned),
            suspended: self.suspended()?,
            tags: self.tags()?,
        };
        let target = self.gateway.control.register_scalable_target(&resource, change).await;
        let target = target.map_err(of_record)?;
        Ok(json!({"ScalableTargetARN": shapes::target_arn(&self.gateway.region, &target)}))
    }

    pub(super) async fn describe_scalable_targets(&self) -> Result<Value, JsonError> {
        filter(self.account, self.input)?;
        let ids = texts(self.input, "ResourceIds")?;
        let targets = self.targets().await?;
        let wanted = targets
            .iter()
            .filter(|target| is_named(ids.as_deref(), &target.resource.id()));
        let shapes: Vec<Value> = wanted
            .map(|target| shapes::target(&self.gateway.region, target))
            .collect();
        self.page("ScalableTargets", &shapes)
    }

    pub(super) async fn deregister_scalable_target(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let done = self.gateway.control.deregister_scalable_target(&resource).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn put_scaling_policy(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "PolicyName")?.ok_or_else(|| missing("policyName"))?;
        if name.len() > 256 || name.chars().any(char::is_control) {
            return Err(invalid(
                "PolicyName has at most 256 characters, all of which can be printed.",
            ));
        }
        let policy = self.tracking_policy(resource, name)?;
        let id = self.gateway.control.put_scaling_policy(&policy).await;
        let id = id.map_err(of_record)?;
        let arn = shapes::policy_arn(&self.gateway.region, &policy.resource, &id, name);
        Ok(json!({"PolicyARN": arn, "Alarms": []}))
    }

    pub(super) async fn describe_scaling_policies(&self) -> Result<Value, JsonError> {
        let wanted = filter(self.account, self.input)?;
        let names = texts(self.input, "PolicyNames")?;
        let policies = self.gateway.control.scaling_policies(self.account).await;
        let policies = policies.map_err(of_record)?;
        let shapes: Vec<Value> = policies
            .iter()
            .filter(|policy| wanted.as_ref().is_none_or(|wanted| policy.resource == *wanted))
            .filter(|policy| is_named(names.as_deref(), &policy.name))
            .map(|policy| shapes::policy(&self.gateway.region, policy))
            .collect();
        self.page("ScalingPolicies", &shapes)
    }

    pub(super) async fn delete_scaling_policy(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "PolicyName")?.ok_or_else(|| missing("policyName"))?;
        let done = self.gateway.control.delete_scaling_policy(&resource, name).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn put_scheduled_action(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "ScheduledActionName")?.ok_or_else(|| missing("scheduledActionName"))?;
        check_action_name(name)?;
        let capacity = match self.input.get("ScalableTargetAction") {
            None | Some(Value::Null) => None,
            Some(Value::Object(capacity)) => Some((number(capacity, "MinCapacity")?, number(capacity, "MaxCapacity")?)),
            Some(_) => {
                return Err(refuse(
                    "SerializationException",
                    "ScalableTargetAction is to be a structure",
                ));
            }
        };
        let asked = AskedAction {
            schedule: text(self.input, "Schedule")?.map(str::to_owned),
            timezone: text(self.input, "Timezone")?.map(str::to_owned),
            start_ms: time(self.input, "StartTime")?,
            end_ms: time(self.input, "EndTime")?,
            capacity,
        };
        let now_ms = self.gateway.now_ms();
        let (of, named) = (resource.clone(), name.to_owned());
        let change = move |before| asked.on(before, (of, named), now_ms);
        let control = &self.gateway.control;
        let done = control.put_scheduled_action(&resource, name, change).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn describe_scheduled_actions(&self) -> Result<Value, JsonError> {
        let wanted = filter(self.account, self.input)?;
        let names = texts(self.input, "ScheduledActionNames")?;
        let actions = self.gateway.control.scheduled_actions(self.account).await;
        let actions = actions.map_err(of_record)?;
        let shapes: Vec<Value> = actions
            .iter()
            .filter(|action| wanted.as_ref().is_none_or(|wanted| action.resource == *wanted))
            .filter(|action| is_named(names.as_deref(), &action.name))
            .map(|action| shapes::action(&self.gateway.region, action))
            .collect();
        self.page("ScheduledActions", &shapes)
    }

    pub(super) async fn delete_scheduled_action(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "ScheduledActionName")?.ok_or_else(|| missing("scheduledActionName"))?;
        let done = self.gateway.control.delete_scheduled_action(&resource, name).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn describe_scaling_activities(&self) -> Result<Value, JsonError> {
        let wanted = filter(self.account, self.input)?;
        let activities = self.gateway.control.scaling_activities(self.account).await;
        let activities = activities.map_err(of_record)?;
        let shapes: Vec<Value> = activities
            .iter()
            .filter(|activity| wanted.as_ref().is_none_or(|wanted| activity.resource == *wanted))
            .map(shapes::activity)
            .collect();
        self.page("ScalingActivities", &shapes)
    }

    pub(super) async fn list_tags(&self) -> Result<Value, JsonError> {
        Ok(json!({"Tags": self.tagged().await?.tags}))
    }

    pub(super) async fn tag(&self) -> Result<Value, JsonError> {
        let target = self.tagged().await?;
        let change = ScalableTargetChange {
            tags: self.tags()?,
            ..ScalableTargetChange::default()
        };
        let done = self
            .gateway
            .control
            .register_scalable_target(&target.resource, change)
            .await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn untag(&self) -> Result<Value, JsonError> {
        let target = self.tagged().await?;
        let keys = texts(self.input, "TagKeys")?.unwrap_or_default();
        let done = self
            .gateway
            .control
            .untag_scalable_target(&target.resource, &keys)
            .await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    /// The target that `ResourceARN` names.
    async fn tagged(&self) -> Result<ScalableTarget, JsonError> {
        let arn = text(self.input, "ResourceARN")?.ok_or_else(|| missing("resourceARN"))?;
        let targets = self.targets().await?;
        let found = targets
            .into_iter()
            .find(|target| shapes::target_arn(&self.gateway.region, target) == arn);
        found.ok_or_else(|| {
            let shown: String = arn.chars().take(200).collect();
            refuse(
                "ResourceNotFoundException",
                format!("No scalable target found: {shown}"),
            )
        })
    }

    async fn targets(&self) -> Result<Vec<ScalableTarget>, JsonError> {
        let targets = self.gateway.control.scalable_targets(self.account).await;
        targets.map_err(of_record)
    }

    fn tags(&self) -> Result<BTreeMap<String, String>, JsonError> {
        let Some(tags) = self.input.get("Tags").filter(|tags| !tags.is_null()) else {
            return Ok(BTreeMap::new());
        };
        let tags: BTreeMap<String, String> = serde_json::from_value(tags.clone())
            .map_err(|_| refuse("SerializationException", "Tags is to be a map of strings"))?;
        let is_fit = |(key, value): (&String, &String)| (1..=128).contains(&key.len()) && value.len() <= 256;
        if !tags.iter().all(is_fit) {
            return Err(invalid(
                "A tag's key has from 1 to 128 characters, its value at most 256.",
            ));
        }
        Ok(tags)
    }

    fn suspended(&self) -> Result<Option<ScalingSuspended>, JsonError> {
        let Some(state) = self.input.get("SuspendedState").filter(|state| !state.is_null()) else {
            return Ok(None);
        };
        let is_set = |member: &str| state.get(member).and_then(Value::as_bool).unwrap_or(false);
        Ok(Some(ScalingSuspended {
            scale_in: is_set("DynamicScalingInSuspended"),
            scale_out: is_set("DynamicScalingOutSuspended"),
            scheduled: is_set("ScheduledScalingSuspended"),
        }))
    }

    fn tracking_policy(&self, resource: ScalableResource, name: &str) -> Result<ScalingPolicy, JsonError> {
        let configuration = self.input.get("TargetTrackingScalingPolicyConfiguration");
        let Some(configuration) = configuration.and_then(Value::as_object) else {
            return Err(invalid(
                "Lambent scales by target tracking: TargetTrackingScalingPolicyConfiguration is missing.",
            ));
        };
        if text(self.input, "PolicyType")?.unwrap_or("TargetTrackingScaling") != "TargetTrackingScaling" {
            return Err(invalid(
                "Lambent scales by target tracking: PolicyType is to be TargetTrackingScaling.",
            ));
        }
        let metric = configuration.get("PredefinedMetricSpecification");
        let metric = metric
            .and_then(|metric| metric.get("PredefinedMetricType"))
            .and_then(Value::as_str);
        if metric != Some(METRIC) {
            return Err(invalid(format!(
                "Lambent tracks the predefined metric {METRIC} and no other one."
            )));
        }
        let target = configuration.get("TargetValue").and_then(Value::as_f64);
        let target = target.filter(|target| *target > 0.0 && *target <= 1.0).ok_or_else(|| {
            invalid(format!(
                "TargetValue of {METRIC} is a part of one: above 0, and at most 1."
            ))
        })?;
        Ok(ScalingPolicy {
            resource,
            name: name.to_owned(),
            id: String::new(),
            target,
            scale_out_cooldown_s: number(configuration, "ScaleOutCooldown")?,
            scale_in_cooldown_s: number(configuration, "ScaleInCooldown")?,
            disable_scale_in: configuration.get("DisableScaleIn").and_then(Value::as_bool),
            created_ms: 0,
        })
    }

    /// A page of a list; its token is how many came before.
    fn page(&self, member: &str, items: &[Value]) -> Result<Value, JsonError> {
        let most = number(self.input, "MaxResults")?.map_or(PAGE_MAX, |most| most as usize);
        let most = most.clamp(1, PAGE_MAX);
        let begin = match text(self.input, "NextToken")? {
            None => 0,
            Some(token) => token
                .parse::<usize>()
                .ok()
                .filter(|begin| *begin <= items.len())
                .ok_or_else(|| refuse("InvalidNextTokenException", "The next token is not valid."))?,
        };
        let end = items.len().min(begin + most);
        let mut answer = json!({ member: items[begin..end] });
        if end < items.len() {
            answer["NextToken"] = end.to_string().into();
        }
        Ok(answer)
    }
}

/// What PutScheduledAction says; what it leaves out stays.
struct AskedAction {
    schedule: Option<String>,
    timezone: Option<String>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    capacity: Option<(Option<u32>, Option<u32>)>,
}

impl AskedAction {
    fn on(
        self,
        before: Option<ScheduledAction>,
        (resource, name): (ScalableResource, String),
        now_ms: u64,
    ) -> Result<ScheduledAction, ControlError> {
        let before = before.unwrap_or(ScheduledAction {
            resource,
            name,
            id: String::new(),
            schedule: String::new(),
            timezone: None,
            start_ms: None,
            end_ms: None,
            min: None,
            max: None,
            created_ms: now_ms,
            done_ms: now_ms,
        });
        let (min, max) = self.capacity.unwrap_or((before.min, before.max));
        let after = ScheduledAction {
            schedule: self.schedule.unwrap_or(before.schedule),
            timezone: self.timezone.or(before.timezone),
            start_ms: self.start_ms.or(before.start_ms),
            end_ms: self.end_ms.or(before.end_ms),
            min,
            max,
            ..before
        };
        check_action(&after, now_ms)?;
        Ok(after)
    }
}

/// What the record hands on as it is.
fn bad_action(message: impl Into<String>) -> ControlError {
    ControlError::Invalid {
        message: message.into(),
    }
}

fn check_action(action: &ScheduledAction, now_ms: u64) -> Result<(), ControlError> {
    if action.schedule.is_empty() {
        return Err(bad_action("A new scheduled action needs Schedule."));
    }
    match (action.min, action.max) {
        (None, None) => {
            return Err(bad_action("ScalableTargetAction needs MinCapacity or MaxCapacity."));
        }
        (Some(min), Some(max)) if min > max => {
            return Err(bad_action("Maximum capacity cannot be less than minimum capacity."));
        }
        _ => {}
    }
    if action
        .start_ms
        .zip(action.end_ms)
        .is_some_and(|(start, end)| end < start)
    {
        return Err(bad_action("EndTime must not be before StartTime."));
    }
    let timetable = Timetable::read(&parts_of(action));
    let timetable = timetable.map_err(|error| bad_action(format!("Schedule cannot be read: {error}.")))?;
    if timetable.next_after(now_ms).is_none() {
        return Err(bad_action(
            "The schedule is never due from now on: look at Schedule, Timezone, StartTime and EndTime.",
        ));
    }
    Ok(())
}

pub(super) fn parts_of(action: &ScheduledAction) -> TimetableParts<'_> {
    TimetableParts {
        schedule: &action.schedule,
        timezone: action.timezone.as_deref(),
        start_ms: action.start_ms,
        end_ms: action.end_ms,
        created_ms: action.created_ms,
    }
}

/// AWS's pattern: nothing that cannot be printed, none of `:/|`, no space at the ends.
fn check_action_name(name: &str) -> Result<(), JsonError> {
    let is_fit = name.len() <= 256
        && name.trim_matches(' ') == name
        && !name
            .chars()
            .any(|character| character.is_control() || ":/|".contains(character));
    if is_fit {
        return Ok(());
    }
    Err(invalid(
        "ScheduledActionName has at most 256 characters, none of them : / or |, and no space at its ends.",
    ))
}

fn is_named(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.is_empty() || names.iter().any(|wanted| wanted == name))
}
