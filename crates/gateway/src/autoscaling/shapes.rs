//! What is kept, as Application Auto Scaling answers it.

use super::resource::{DIMENSION, NAMESPACE};
use control::{ScalableResource, ScalableTarget, ScalingActivity, ScalingPolicy, ScheduledAction};
use serde_json::{Map, Value, json};

/// A shape with what all of them have.
fn shape(resource: &ScalableResource, own: Value) -> Value {
    let mut shape = json!({
        "ServiceNamespace": NAMESPACE,
        "ResourceId": resource.id(),
        "ScalableDimension": DIMENSION,
    });
    if let (Some(shape), Value::Object(own)) = (shape.as_object_mut(), own) {
        // What is null is absent, as in AWS's answers.
        let said: Map<String, Value> = own.into_iter().filter(|(_, value)| !value.is_null()).collect();
        shape.extend(said);
    }
    shape
}

pub(super) fn target(region: &str, target: &ScalableTarget) -> Value {
    let resource = &target.resource;
    let role = target.role_arn.clone().unwrap_or_else(|| {
        format!(
            "arn:aws:iam::{}:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/\
             AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency",
            resource.account
        )
    });
    let own = json!({
        "MinCapacity": target.min,
        "MaxCapacity": target.max,
        "RoleARN": role,
        "CreationTime": seconds(target.created_ms),
        "ScalableTargetARN": target_arn(region, target),
        "SuspendedState": {
            "DynamicScalingInSuspended": target.suspended.scale_in,
            "DynamicScalingOutSuspended": target.suspended.scale_out,
            "ScheduledScalingSuspended": target.suspended.scheduled,
        },
    });
    shape(resource, own)
}

pub(super) fn target_arn(region: &str, target: &ScalableTarget) -> String {
    let account = &target.resource.account;
    format!(
        "arn:aws:application-autoscaling:{region}:{account}:scalable-target/{}",
        target.id
    )
}

pub(super) fn policy(region: &str, policy: &ScalingPolicy) -> Value {
    let mut tracking = json!({
        "TargetValue": policy.target,
        "PredefinedMetricSpecification": {"PredefinedMetricType": super::policies::METRIC},
    });
    for (member, value) in [
        ("ScaleOutCooldown", policy.scale_out_cooldown_s.map(Value::from)),
        ("ScaleInCooldown", policy.scale_in_cooldown_s.map(Value::from)),
        ("DisableScaleIn", policy.disable_scale_in.map(Value::from)),
    ] {
        if let Some(value) = value {
            tracking[member] = value;
        }
    }
    let own = json!({
        "PolicyARN": policy_arn(region, &policy.resource, &policy.id, &policy.name),
        "PolicyName": policy.name,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
        "Alarms": [],
        "CreationTime": seconds(policy.created_ms),
    });
    shape(&policy.resource, own)
}

pub(super) fn policy_arn(region: &str, resource: &ScalableResource, id: &str, name: &str) -> String {
    let account = &resource.account;
    format!(
        "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{id}:resource/{NAMESPACE}/{}:policyName/{name}",
        resource.id()
    )
}

pub(super) fn action(region: &str, action: &ScheduledAction) -> Value {
    let (account, resource) = (&action.resource.account, action.resource.id());
    let mut capacity = Map::new();
    for (member, value) in [("MinCapacity", action.min), ("MaxCapacity", action.max)] {
        if let Some(value) = value {
            capacity.insert(member.to_owned(), value.into());
        }
    }
    let own = json!({
        "ScheduledActionName": action.name,
        "ScheduledActionARN": format!(
            "arn:aws:autoscaling:{region}:{account}:scheduledAction:{}:resource/{NAMESPACE}/{resource}:\
             scheduledActionName/{}",
            action.id, action.name
        ),
        "Schedule": action.schedule,
        "Timezone": action.timezone,
        "StartTime": action.start_ms.map(seconds),
        "EndTime": action.end_ms.map(seconds),
        "ScalableTargetAction": capacity,
        "CreationTime": seconds(action.created_ms),
    });
    shape(&action.resource, own)
}

pub(super) fn activity(activity: &ScalingActivity) -> Value {
    let own = json!({
        "ActivityId": activity.id,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": seconds(activity.begin_ms),
        "EndTime": seconds(activity.begin_ms),
        "StatusCode": if activity.is_success { "Successful" } else { "Failed" },
        "StatusMessage": activity.message,
    });
    shape(&activity.resource, own)
}

/// A time as JSON 1.1 has it.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of the next 280,000 years are below 2^53"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
