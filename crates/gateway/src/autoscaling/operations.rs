//! The operations on targets, their tags, and what was done to them.

use super::resource::{filter, missing, number, resource, text, texts};
use super::{invalid, of_record, refuse, shapes};
use crate::Gateway;
use crate::json_error::JsonError;
use chunk::Account;
use control::{ScalableTarget, ScalableTargetChange, ScalingSuspended};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

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

    /// A page of a list; its token is how many came before.
    pub(super) fn page(&self, member: &str, items: &[Value]) -> Result<Value, JsonError> {
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

/// Whether a list of names, which may be left out or empty, has this one.
pub(super) fn is_named(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.is_empty() || names.iter().any(|wanted| wanted == name))
}
