//! Event source mappings, of SQS queues alone.

mod input;

use super::function_name::parse_function;
use super::{ApiError, Call};
use crate::Gateway;
use crate::event_sources::filter::Pattern;
use crate::messaging::QueueArn;
use control::{ControlError, EventSource, EventSourceFilter, EventSourceSettings, NewEventSource};
use input::{MappingInput, check_supported};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Patterns of one mapping. Source: Lambda quotas; ten on request.
const FILTERS_MAX: usize = 10;
/// Messages of a batch without a window, and of any batch of a FIFO queue. Source: the guide's table of parameters.
const SINGLE_POLL_MESSAGES_MAX: u32 = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    function_name: Option<String>,
    event_source_arn: Option<String>,
}

pub(super) async fn create_event_source_mapping(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    check_supported(&call.input)?;
    let input: MappingInput = call.read()?;
    let function = call.function(gateway)?;
    let arn = input.event_source_arn.clone().unwrap_or_default();
    let queue = QueueArn::parse(&arn).ok_or_else(|| no_queue(&arn))?;
    let access = gateway.messaging.check_access(&call.account, &arn);
    access.map_err(|error| invalid(&format!("The event source ARN {arn} is invalid: {}", error.reason)))?;
    let settings = input.settings(None);
    check_settings(&queue, &settings)?;
    // The function first: it costs nothing, and its error names what most often is wrong.
    let qualifier = function.qualifier.as_deref();
    let record = gateway
        .control
        .function(&call.account, &function.name, qualifier)
        .await?;
    check_queue(gateway, &queue, record.configuration.timeout_s).await?;
    let new = NewEventSource {
        account: call.account.clone(),
        function: function.name,
        qualifier: function.qualifier,
        source: arn,
        settings,
    };
    let made = gateway.control.create_event_source(new).await?;
    Ok(answer(gateway, &made))
}

pub(super) async fn get_event_source_mapping(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let source = gateway.control.event_source(&call.account, id(&call)).await?;
    Ok(answer(gateway, &source))
}

pub(super) async fn list_event_source_mappings(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ListInput = call.read()?;
    let function = match input.function_name {
        Some(name) => {
            let function = parse_function(gateway, &call.account, &name, None)?;
            let qualifier = function.qualifier.as_deref();
            gateway
                .control
                .function(&call.account, &function.name, qualifier)
                .await?;
            Some((function.name, function.qualifier))
        }
        None => None,
    };
    let filter = EventSourceFilter {
        function,
        source: input.event_source_arn,
    };
    let page = gateway
        .control
        .event_sources(&call.account, &filter, &call.page()?)
        .await?;
    let items: Vec<Value> = page.items.iter().map(|source| answer(gateway, source)).collect();
    Ok(json!({ "EventSourceMappings": items, "NextMarker": page.next }))
}

pub(super) async fn update_event_source_mapping(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    check_supported(&call.input)?;
    let input: MappingInput = call.read()?;
    let function = match &input.function_name {
        Some(name) => {
            let function = parse_function(gateway, &call.account, name, None)?;
            Some((function.name, function.qualifier))
        }
        None => None,
    };
    let settings = |found: &EventSource| {
        let queue = QueueArn::parse(&found.source).ok_or_else(|| no_queue(&found.source))?;
        let settings = input.settings(Some(found.settings.clone()));
        check_settings(&queue, &settings)?;
        Ok(settings)
    };
    let changed = gateway
        .control
        .update_event_source(&call.account, id(&call), function, settings)
        .await?;
    Ok(answer(gateway, &changed))
}

pub(super) async fn delete_event_source_mapping(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let source = gateway.control.delete_event_source(&call.account, id(&call)).await?;
    Ok(answer(gateway, &source))
}

/// The model requires it.
fn id(call: &Call) -> &str {
    call.input.get("UUID").and_then(Value::as_str).unwrap_or_default()
}

fn check_settings(queue: &QueueArn, settings: &EventSourceSettings) -> Result<(), ControlError> {
    let single = settings.batch_messages_max <= SINGLE_POLL_MESSAGES_MAX;
    if queue.is_fifo() && !single {
        return Err(invalid("Batch size cannot be greater than 10 for FIFO queues."));
    }
    if queue.is_fifo() && settings.window_s > 0 {
        return Err(invalid("Batching window is not supported for FIFO queues."));
    }
    if !single && settings.window_s == 0 {
        return Err(invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    if settings.filters.len() > FILTERS_MAX {
        return Err(invalid(&format!("FilterCriteria has more than {FILTERS_MAX} filters.")));
    }
    for pattern in &settings.filters {
        Pattern::parse(pattern).map_err(|error| {
            invalid(&format!(
                "Invalid filter pattern definition: {error}. The pattern is {pattern}"
            ))
        })?;
    }
    Ok(())
}

/// Whether the queue can be read, and leaves a function the time that it may take.
async fn check_queue(gateway: &Gateway, queue: &QueueArn, timeout_s: u32) -> Result<(), ControlError> {
    let visibility_s = gateway.messaging.visibility_s(queue).await.map_err(|error| {
        let code = error.code.as_deref().unwrap_or("RequestFailed");
        invalid(&format!(
            "Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {error}"
        ))
    })?;
    if visibility_s < u64::from(timeout_s) {
        return Err(invalid(&format!(
            "Queue visibility timeout: {visibility_s} seconds is less than Function timeout: {timeout_s} seconds"
        )));
    }
    Ok(())
}

fn no_queue(arn: &str) -> ControlError {
    if arn.is_empty() {
        return invalid("EventSourceArn is required: the ARN of an SQS queue.");
    }
    invalid(&format!(
        "Unrecognized event source, must be an SQS queue: {arn}. Lambent has event source mappings of no other service."
    ))
}

fn invalid(message: &str) -> ControlError {
    ControlError::Invalid {
        message: message.to_owned(),
    }
}

fn answer(gateway: &Gateway, source: &EventSource) -> Value {
    let (control, settings) = (&gateway.control, &source.settings);
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| drop(answer.insert(name.to_owned(), value));
    put("UUID", source.id.as_str().into());
    put("BatchSize", settings.batch_messages_max.into());
    put("MaximumBatchingWindowInSeconds", settings.window_s.into());
    put("EventSourceArn", source.source.as_str().into());
    let function = control.qualified_arn(&source.account, &source.function, source.qualifier.as_deref());
    put("FunctionArn", function.into());
    // A timestamp of the model: seconds since 1970, with a fraction.
    put("LastModified", (source.modified_ms as f64 / 1_000.0).into());
    put("State", source.state.as_str().into());
    put("StateTransitionReason", "USER_INITIATED".into());
    let types: &[&str] = if settings.reports_failures {
        &["ReportBatchItemFailures"]
    } else {
        &[]
    };
    put("FunctionResponseTypes", types.into());
    let arn = format!(
        "arn:aws:lambda:{}:{}:event-source-mapping:{}",
        gateway.region, source.account, source.id
    );
    put("EventSourceMappingArn", arn.into());
    if !settings.filters.is_empty() {
        let filters: Vec<Value> = settings.filters.iter().map(|text| json!({ "Pattern": text })).collect();
        put("FilterCriteria", json!({ "Filters": filters }));
    }
    if let Some(most) = settings.concurrency_max {
        put("ScalingConfig", json!({ "MaximumConcurrency": most }));
    }
    Value::Object(answer)
}
