//! What is told of an event that has ended: Lambda's invocation record, and its dead letter.
//!
//! Shapes: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations".

use super::fate::Condition;
use crate::invocation::WholeAnswer;
use crate::lambda::date;
use api::ErrorMark;
use control::{DeliveryKind, NewDelivery, NewEvent};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest `ErrorMessage` of a dead letter, bytes. Source: the guide, "the first 1 KB of the error message".
const ERROR_MESSAGE_MAX: usize = 1024;

/// An event that has ended, and how.
pub(super) struct Ended<'a> {
    pub(super) event: &'a NewEvent,
    pub(super) condition: Condition,
    /// Of the last try; none if that did not come to the function.
    pub(super) answer: Option<&'a WholeAnswer>,
    /// Invocations of the function.
    pub(super) invocations: u32,
    /// With its qualifier.
    pub(super) function_arn: String,
    /// With the function in its lineage.
    pub(super) trace_id: String,
    /// Milliseconds since 1970.
    pub(super) now_ms: u64,
}

/// Who is to be told.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) on_success: Option<String>,
    pub(super) on_failure: Option<String>,
    pub(super) dead_letter: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext<'a> {
    status_code: u16,
    executed_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

impl Ended<'_> {
    /// A delivery for each who listens.
    pub(super) fn deliveries(&self, listeners: Listeners) -> Vec<NewDelivery> {
        let told = if self.condition == Condition::Success {
            vec![(DeliveryKind::OnSuccess, listeners.on_success)]
        } else {
            vec![
                (DeliveryKind::OnFailure, listeners.on_failure),
                (DeliveryKind::DeadLetter, listeners.dead_letter),
            ]
        };
        let targets = told.into_iter().filter_map(|(kind, target)| Some((kind, target?)));
        targets.map(|(kind, target)| self.delivery(kind, target)).collect()
    }

    fn delivery(&self, kind: DeliveryKind, target: String) -> NewDelivery {
        let is_letter = kind == DeliveryKind::DeadLetter;
        NewDelivery {
            account: self.event.account.clone(),
            function: self.event.function.clone(),
            kind,
            target,
            body: if is_letter {
                self.event.payload.clone()
            } else {
                self.record()
            },
            error_message: is_letter.then(|| self.error_message()),
            request_id: self.event.request_id.clone(),
            trace_id: self.trace_id.clone(),
        }
    }

    fn record(&self) -> String {
        let answered = self.answer.map(|answer| raw(&answer.payload));
        let stopped = (self.condition == Condition::Loop).then(|| raw(LOOP_PAYLOAD.as_bytes()));
        let request = raw(self.event.payload.as_bytes());
        let record = Record {
            version: "1.0",
            timestamp: date::zulu(self.now_ms),
            request_context: RequestContext {
                request_id: &self.event.request_id,
                function_arn: &self.function_arn,
                condition: self.condition.as_str(),
                approximate_invoke_count: self.invocations,
            },
            request_payload: &request,
            response_context: self.answer.map(|answer| ResponseContext {
                status_code: 200,
                executed_version: &answer.executed_version,
                function_error: answer.error.map(mark_text),
            }),
            response_payload: answered.as_deref().or(stopped.as_deref()),
        };
        serde_json::to_string(&record).expect("a record is made of texts and of JSON")
    }

    /// What the function said, or why it was not asked.
    fn error_message(&self) -> String {
        let said = self.answer.and_then(|answer| {
            let payload: Value = serde_json::from_slice(&answer.payload).ok()?;
            Some(payload.get("errorMessage")?.as_str()?.to_owned())
        });
        let mut message = said.unwrap_or_else(|| self.condition.explanation().to_owned());
        message.truncate(message.floor_char_boundary(ERROR_MESSAGE_MAX));
        message
    }
}

/// What stands for the answer of a function that was stopped.
const LOOP_PAYLOAD: &str = r#"{"errorType":"RecursiveInvocationException","errorMessage":"Lambda has detected your function being invoked in a recursive loop and stopped your function's invocation."}"#;

/// Bytes as they came if they are JSON, else as a JSON text.
fn raw(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str::<Box<RawValue>>(text.trim())
        .or_else(|_| serde_json::value::to_raw_value(&*text))
        .expect("a text can be written as JSON")
}

fn mark_text(mark: ErrorMark) -> &'static str {
    match mark {
        ErrorMark::Handled => "Handled",
        ErrorMark::Unhandled => "Unhandled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    fn event() -> NewEvent {
        NewEvent {
            account: "123456789012".parse().unwrap(),
            function: "f".to_owned(),
            qualifier: None,
            payload: r#"{"n": 1.50, "a": [1]}"#.to_owned(),
            request_id: "e4b46cbf-b738-xmpl-8880-a18cdf61200e".to_owned(),
            client_context: None,
            trace_id: "Root=1".to_owned(),
        }
    }

    fn answer(error: Option<ErrorMark>, payload: &'static str) -> WholeAnswer {
        WholeAnswer {
            executed_version: "$LATEST".to_owned(),
            error,
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    fn deliveries(condition: Condition, answer: Option<&WholeAnswer>) -> Vec<NewDelivery> {
        let event = event();
        let ended = Ended {
            event: &event,
            condition,
            answer,
            invocations: 3,
            function_arn: "arn:aws:lambda:us-east-2:123456789012:function:f:$LATEST".to_owned(),
            trace_id: "Root=1;Lineage=1:1".to_owned(),
            now_ms: 1_735_689_599_500,
        };
        ended.deliveries(Listeners {
            on_success: Some("success".to_owned()),
            on_failure: Some("failure".to_owned()),
            dead_letter: Some("letter".to_owned()),
        })
    }

    #[test]
    fn a_failure_is_told_in_lambdas_words() {
        let failed = answer(
            Some(ErrorMark::Unhandled),
            r#"{"errorMessage": "Process exited before completing request"}"#,
        );
        let told = deliveries(Condition::RetriesExhausted, Some(&failed));
        assert_eq!(
            told.iter().map(|d| d.target.as_str()).collect::<Vec<_>>(),
            ["failure", "letter"]
        );
        // The guide's example, with our values.
        let expected = json!({
            "version": "1.0",
            "timestamp": "2024-12-31T23:59:59.500Z",
            "requestContext": {
                "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
                "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": {"n": 1.50, "a": [1]},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": {"errorMessage": "Process exited before completing request"},
        });
        assert_eq!(serde_json::from_str::<Value>(&told[0].body).unwrap(), expected);
        assert!(
            told[0].body.contains("\"n\": 1.50"),
            "numbers stay as they came: {}",
            told[0].body
        );
        assert_eq!(told[1].body, event().payload);
        assert_eq!(
            told[1].error_message.as_deref(),
            Some("Process exited before completing request")
        );
    }

    #[test]
    fn an_event_that_never_ran_has_no_response() {
        for condition in [Condition::EventAgeExceeded, Condition::ZeroReservedConcurrency] {
            let told = deliveries(condition, None);
            let record: Value = serde_json::from_str(&told[0].body).unwrap();
            assert_eq!(record["requestContext"]["condition"], condition.as_str());
            assert!(record.get("responseContext").is_none() && record.get("responsePayload").is_none());
            assert!(!told[1].error_message.as_deref().unwrap_or_default().is_empty());
        }
        let told = deliveries(Condition::Loop, None);
        let record: Value = serde_json::from_str(&told[0].body).unwrap();
        assert_eq!(record["responsePayload"]["errorType"], "RecursiveInvocationException");
    }

    #[test]
    fn a_success_is_told_to_one_and_any_answer_is_json() {
        let told = deliveries(Condition::Success, Some(&answer(None, "not json")));
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].kind, told[0].target.as_str()),
            (DeliveryKind::OnSuccess, "success")
        );
        let record: Value = serde_json::from_str(&told[0].body).unwrap();
        assert_eq!(record["responsePayload"], "not json");
        assert_eq!(
            record["responseContext"],
            json!({"statusCode": 200, "executedVersion": "$LATEST"})
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!(r#"{{"errorMessage": "{}"}}"#, "ä".repeat(2_000));
        let answer = WholeAnswer {
            executed_version: "1".to_owned(),
            error: Some(ErrorMark::Unhandled),
            payload: long.into(),
        };
        let told = deliveries(Condition::RetriesExhausted, Some(&answer));
        assert_eq!(told[1].error_message.as_ref().map(String::len), Some(1024));
    }
}
