//! What clients send about a mapping.

use crate::lambda::ApiError;
use control::EventSourceSettings;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Messages of a batch where nobody says. Source: the API reference of CreateEventSourceMapping.
const BATCH_MESSAGES: u32 = 10;

/// Members that say nothing about a queue, or that Lambent does not do.
const UNSUPPORTED: &[&str] = &[
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "DocumentDBEventSourceConfig",
    "KMSKeyArn",
    "LoggingConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "MetricsConfig",
    "ParallelizationFactor",
    "ProvisionedPollerConfig",
    "Queues",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPosition",
    "StartingPositionTimestamp",
    "Topics",
    "TumblingWindowInSeconds",
];

/// The members that CreateEventSourceMapping and UpdateEventSourceMapping share.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MappingInput {
    pub(super) event_source_arn: Option<String>,
    pub(super) function_name: Option<String>,
    enabled: Option<bool>,
    batch_size: Option<u32>,
    maximum_batching_window_in_seconds: Option<u32>,
    function_response_types: Option<Vec<String>>,
    filter_criteria: Option<FilterCriteria>,
    scaling_config: Option<ScalingConfig>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterCriteria {
    filters: Option<Vec<Filter>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    pattern: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScalingConfig {
    maximum_concurrency: Option<u32>,
}

impl MappingInput {
    /// The settings: what is said over what was there, or over Lambda's defaults. An empty FilterCriteria or ScalingConfig
    /// takes away what was there.
    pub(super) fn settings(self, found: Option<EventSourceSettings>) -> EventSourceSettings {
        let mut settings = found.unwrap_or(EventSourceSettings {
            enabled: true,
            batch_messages_max: BATCH_MESSAGES,
            window_s: 0,
            concurrency_max: None,
            reports_failures: false,
            filters: Vec::new(),
            tags: BTreeMap::new(),
        });
        settings.enabled = self.enabled.unwrap_or(settings.enabled);
        settings.batch_messages_max = self.batch_size.unwrap_or(settings.batch_messages_max);
        settings.window_s = self.maximum_batching_window_in_seconds.unwrap_or(settings.window_s);
        if let Some(types) = self.function_response_types {
            settings.reports_failures = !types.is_empty();
        }
        if let Some(criteria) = self.filter_criteria {
            let filters = criteria.filters.unwrap_or_default().into_iter();
            // A filter without a pattern is the empty pattern, which all messages match.
            settings.filters = filters
                .map(|filter| filter.pattern.unwrap_or_else(|| "{}".to_owned()))
                .collect();
        }
        if let Some(scaling) = self.scaling_config {
            settings.concurrency_max = scaling.maximum_concurrency;
        }
        settings.tags = self.tags.unwrap_or(settings.tags);
        settings
    }
}

/// Refuses what would otherwise be ignored. Terraform sends empty lists and structures to say that there is none.
pub(super) fn check_supported(input: &Map<String, Value>) -> Result<(), ApiError> {
    let given = |name: &str| match input.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(members)) => members.values().any(|value| !value.is_null()),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    match UNSUPPORTED.iter().find(|name| given(name)) {
        Some(name) => Err(ApiError::new(
            "InvalidParameterValueException",
            format!(
                "{name} is not valid for an event source mapping of an SQS queue in Lambent. Remove it from the request."
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(input: &Value, found: Option<EventSourceSettings>) -> EventSourceSettings {
        MappingInput::deserialize(input).unwrap().settings(found)
    }

    #[test]
    fn what_is_not_said_stays() {
        let first = read(&json!({}), None);
        assert_eq!((first.enabled, first.batch_messages_max, first.window_s), (true, 10, 0));
        let changed = json!({
            "BatchSize": 100, "MaximumBatchingWindowInSeconds": 2, "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "FilterCriteria": {"Filters": [{"Pattern": "{\"a\": [1]}"}, {}]}, "ScalingConfig": {"MaximumConcurrency": 2},
            "Enabled": false,
        });
        let second = read(&changed, Some(first));
        assert_eq!(second.filters, ["{\"a\": [1]}", "{}"]);
        assert_eq!(
            (second.enabled, second.reports_failures, second.concurrency_max),
            (false, true, Some(2))
        );
        assert_eq!(read(&json!({}), Some(second.clone())), second);
        let none = json!({"FunctionResponseTypes": [], "FilterCriteria": {}, "ScalingConfig": {}});
        let third = read(&none, Some(second));
        assert_eq!(
            (third.reports_failures, third.filters.len(), third.concurrency_max),
            (false, 0, None)
        );
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let check = |input: Value| check_supported(input.as_object().unwrap()).map_err(|error| error.message);
        assert!(check(json!({"BatchSize": 1, "Topics": [], "DestinationConfig": {}, "KMSKeyArn": ""})).is_ok());
        for input in [
            json!({"StartingPosition": "LATEST"}),
            json!({"MaximumRetryAttempts": 1}),
            json!({"Topics": ["t"]}),
        ] {
            assert!(check(input.clone()).is_err(), "{input}");
        }
    }
}
