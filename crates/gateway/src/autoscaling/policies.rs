//! The operations on scaling policies: target tracking alone.

use super::operations::{Caller, is_named};
use super::resource::{filter, missing, number, resource, text, texts};
use super::{invalid, of_record, shapes};
use crate::json_error::JsonError;
use control::{ScalableResource, ScalingPolicy};
use serde_json::{Value, json};

/// The only metric of Lambda's that there is.
pub(super) const METRIC: &str = "LambdaProvisionedConcurrencyUtilization";

impl Caller<'_> {
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
}
