//! How asynchronous events are retried, and where their outcomes go.

use super::{ApiError, Call};
use crate::Gateway;
use crate::destinations::Target;
use chunk::Account;
use control::{Destinations, EventInvokeChange, EventInvokeConfig};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventInvokeInput {
    maximum_retry_attempts: Option<u64>,
    maximum_event_age_in_seconds: Option<u64>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DestinationConfig {
    on_success: Destination,
    on_failure: Destination,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destination {
    destination: Option<String>,
}

pub(super) async fn put_function_event_invoke_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    write(gateway, &call, false).await
}

pub(super) async fn update_function_event_invoke_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    write(gateway, &call, true).await
}

pub(super) async fn get_function_event_invoke_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let config = gateway.control.existing_event_invoke_config(&target).await?;
    Ok(answer(gateway, &call, &function.name, &config))
}

pub(super) async fn delete_function_event_invoke_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    gateway
        .control
        .delete_event_invoke_config(&function.of(&call.account))
        .await?;
    Ok(json!({}))
}

pub(super) async fn list_function_event_invoke_configs(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.function(gateway)?.name;
    let page = gateway
        .control
        .event_invoke_configs(&call.account, &name, &call.page()?)
        .await?;
    let item = |config: &EventInvokeConfig| answer(gateway, &call, &name, config);
    let items: Vec<Value> = page.items.iter().map(item).collect();
    Ok(json!({"FunctionEventInvokeConfigs": items, "NextMarker": page.next}))
}

async fn write(gateway: &Gateway, call: &Call, keep: bool) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let input: EventInvokeInput = call.read()?;
    let change = EventInvokeChange {
        retries_max: input.maximum_retry_attempts,
        age_max_s: input.maximum_event_age_in_seconds,
        destinations: input.destination_config.map(|config| Destinations {
            on_success: config.on_success.destination,
            on_failure: config.on_failure.destination,
        }),
    };
    for destination in change.destinations.iter().flat_map(both) {
        check_destination(gateway, &call.account, destination)?;
    }
    let target = function.of(&call.account);
    let config = gateway.control.put_event_invoke_config(&target, change, keep).await?;
    Ok(answer(gateway, call, &function.name, &config))
}

fn both(destinations: &Destinations) -> impl Iterator<Item = &String> {
    [&destinations.on_success, &destinations.on_failure]
        .into_iter()
        .flatten()
}

/// Refuses what nothing would be told: it is better known now than from the log.
pub(super) fn check_destination(gateway: &Gateway, account: &Account, arn: &str) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new("InvalidParameterValueException", message));
    match Target::parse(arn) {
        Some(Target::Http(name)) if !gateway.messaging.has_http_destination(name) => refuse(format!(
            "The destination ARN {arn} is invalid: there is no HTTP destination {name}. Ask the operator for one \
             (lambent up --http-destination NAME=URL)."
        )),
        None if arn.starts_with("arn:aws:events:") || arn.starts_with("arn:aws:s3:") || arn.starts_with("kafka:") => {
            refuse(format!(
                "Lambent has no way to the destination {arn}. Use a queue, a topic, a function or an API destination."
            ))
        }
        Some(target) => target
            .check_access(gateway, account, arn)
            .or_else(|error| refuse(format!("The destination ARN {arn} is invalid: {}", error.reason))),
        None => Ok(()),
    }
}

fn answer(gateway: &Gateway, call: &Call, name: &str, config: &EventInvokeConfig) -> Value {
    let mut answer = Map::new();
    let arn = gateway
        .control
        .qualified_arn(&call.account, name, Some(&config.qualifier));
    answer.insert("FunctionArn".to_owned(), arn.into());
    // A timestamp of the model: seconds since 1970, with a fraction.
    answer.insert("LastModified".to_owned(), (config.modified_ms as f64 / 1_000.0).into());
    if let Some(retries) = config.retries_max {
        answer.insert("MaximumRetryAttempts".to_owned(), retries.into());
    }
    if let Some(age) = config.age_max_s {
        answer.insert("MaximumEventAgeInSeconds".to_owned(), age.into());
    }
    let destinations = json!({
        "OnSuccess": destination(config.on_success.as_deref()),
        "OnFailure": destination(config.on_failure.as_deref()),
    });
    answer.insert("DestinationConfig".to_owned(), destinations);
    Value::Object(answer)
}

/// Lambda answers an empty structure where there is none.
fn destination(arn: Option<&str>) -> Value {
    arn.map_or_else(|| json!({}), |arn| json!({"Destination": arn}))
}
