//! Application Auto Scaling for provisioned concurrency: JSON 1.1, `AnyScaleFrontendService`.
//!
//! The operations write to the record ([`operations`], `policies`, `actions`); [`keep`] looks at it, at the clock and at what runs, and sets
//! provisioned concurrency. What it decides by are functions of their arguments alone: `schedule` and `tracking`.

mod actions;
mod keeper;
mod memory;
mod operations;
mod policies;
mod resource;
mod schedule;
mod shapes;
mod tracking;

pub(crate) use keeper::keep;

use crate::Gateway;
use crate::json_error::JsonError;
use chunk::Account;
use control::ControlError;
use operations::Caller;
use serde_json::{Map, Value};

/// Answers one call.
pub(crate) async fn autoscaling(
    gateway: &Gateway,
    account: &Account,
    operation: &str,
    body: &[u8],
) -> Result<Value, JsonError> {
    let input: Map<String, Value> = serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
        .map_err(|error| refuse("SerializationException", error.to_string()))?;
    let caller = Caller {
        gateway,
        account,
        input: &input,
    };
    match operation {
        "RegisterScalableTarget" => caller.register_scalable_target().await,
        "DescribeScalableTargets" => caller.describe_scalable_targets().await,
        "DeregisterScalableTarget" => caller.deregister_scalable_target().await,
        "PutScalingPolicy" => caller.put_scaling_policy().await,
        "DescribeScalingPolicies" => caller.describe_scaling_policies().await,
        "DeleteScalingPolicy" => caller.delete_scaling_policy().await,
        "PutScheduledAction" => caller.put_scheduled_action().await,
        "DescribeScheduledActions" => caller.describe_scheduled_actions().await,
        "DeleteScheduledAction" => caller.delete_scheduled_action().await,
        "DescribeScalingActivities" => caller.describe_scaling_activities().await,
        "ListTagsForResource" => caller.list_tags().await,
        "TagResource" => caller.tag().await,
        "UntagResource" => caller.untag().await,
        other => Err(refuse(
            "UnknownOperationException",
            format!(
                "Lambent does not implement {} of Application Auto Scaling",
                other.chars().take(80).collect::<String>().escape_debug()
            ),
        )),
    }
}

fn invalid(message: impl Into<String>) -> JsonError {
    refuse("ValidationException", message)
}

fn refuse(code: &str, message: impl Into<String>) -> JsonError {
    JsonError {
        code: code.to_owned(),
        message: message.into(),
        status: 400,
    }
}

/// From the record's errors to those of Application Auto Scaling.
fn of_record(error: ControlError) -> JsonError {
    match error {
        ControlError::NotFound { what } => refuse("ObjectNotFoundException", what),
        ControlError::Invalid { message } => invalid(message),
        ControlError::LimitExceeded { message } => refuse("LimitExceededException", message),
        other => {
            // What the caller cannot change: the log says it, the answer does not.
            tracing::error!(error = %other, "an operation of Application Auto Scaling failed");
            JsonError {
                code: "InternalServiceException".to_owned(),
                message: "The record cannot be read now; the server's log says why. Please try again.".to_owned(),
                status: 500,
            }
        }
    }
}
