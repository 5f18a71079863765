//! A message as its function sees it, and as its filters do.
//!
//! Shape: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", example event.

use super::filter::{BodyForm, Pattern};
use crate::messaging::{Message, QueueArn};
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Where SQS keeps the trace that came with a message.
const TRACE_ATTRIBUTE: &str = "AWSTraceHeader";

/// One element of `Records`.
pub(super) fn record(queue: &QueueArn, message: &Message) -> Value {
    let text = |value: &Option<String>| value.as_deref().unwrap_or_default().to_owned();
    let mut record = json!({
        "messageId": text(&message.message_id),
        "receiptHandle": text(&message.receipt_handle),
        "body": text(&message.body),
        "attributes": attributes(message),
        "messageAttributes": message_attributes(message),
        "md5OfBody": text(&message.md5_of_body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": queue.region,
    });
    if let Some(digest) = &message.md5_of_message_attributes {
        record["md5OfMessageAttributes"] = digest.as_str().into();
    }
    record
}

/// The trace that came with a message.
pub(super) fn trace_of(record: &Value) -> Option<&str> {
    record["attributes"][TRACE_ATTRIBUTE].as_str()
}

/// Whether one of the patterns wants a message; all want it where there is none.
pub(super) fn is_wanted(patterns: &[Pattern], record: &Value) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let mut seen = record.clone();
    let inner = record["body"]
        .as_str()
        .and_then(|body| serde_json::from_str::<Value>(body).ok())
        .filter(|body| body.is_object() || body.is_array());
    let is_json = inner.is_some();
    if let Some(inner) = inner {
        seen["body"] = inner;
    }
    let wants = |pattern: &Pattern| {
        let form = match pattern.body() {
            BodyForm::Any => true,
            BodyForm::Text => !is_json,
            BodyForm::Json => is_json,
        };
        form && pattern.matches(&seen)
    };
    patterns.iter().any(wants)
}

fn attributes(message: &Message) -> Map<String, Value> {
    let attributes = message.attributes.iter().flatten();
    attributes
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect()
}

fn message_attributes(message: &Message) -> Map<String, Value> {
    let attributes = message.message_attributes.iter().flatten();
    attributes
        .map(|(name, value)| (name.clone(), message_attribute(value)))
        .collect()
}

fn message_attribute(value: &MessageAttributeValue) -> Value {
    let mut shown = Map::new();
    if let Some(text) = &value.string_value {
        shown.insert("stringValue".to_owned(), text.as_str().into());
    }
    if let Some(bytes) = &value.binary_value {
        shown.insert("binaryValue".to_owned(), STANDARD.encode(bytes.as_ref()).into());
    }
    shown.insert("stringListValues".to_owned(), json!([]));
    shown.insert("binaryListValues".to_owned(), json!([]));
    shown.insert("dataType".to_owned(), value.data_type.as_str().into());
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::MessageSystemAttributeName;

    fn queue() -> QueueArn {
        QueueArn::parse("arn:aws:sqs:us-east-2:123456789012:my-queue").unwrap()
    }

    #[test]
    fn a_record_is_lambdas() {
        let attribute = |kind: &str| MessageAttributeValue::builder().data_type(kind);
        let message = Message::builder()
            .message_id("059f36b4-87a3-44ab-83d2-661975830a7d")
            .receipt_handle("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...")
            .body("Test message.")
            .md5_of_body("e4e68fb7bd0e697a0ae8f1bb342846b3")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "1")
            .attributes(MessageSystemAttributeName::SenderId, "AIDAIENQZJOLO23YVJ4VO")
            .message_attributes("t", attribute("String").string_value("v").build().unwrap())
            .message_attributes(
                "b",
                attribute("Binary").binary_value(Blob::new([1, 2])).build().unwrap(),
            )
            .build();
        let expected = json!({
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
            "body": "Test message.",
            "attributes": {"ApproximateReceiveCount": "1", "SenderId": "AIDAIENQZJOLO23YVJ4VO"},
            "messageAttributes": {
                "t": {"stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
                "b": {"binaryValue": "AQI=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
            },
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
            "awsRegion": "us-east-2",
        });
        assert_eq!(record(&queue(), &message), expected);
    }

    #[test]
    fn a_body_is_looked_into_only_if_it_is_json() {
        let check = |pattern: &str, body: &str, expected: bool| {
            let record = record(&queue(), &Message::builder().body(body).build());
            let patterns = [Pattern::parse(pattern).unwrap()];
            assert_eq!(is_wanted(&patterns, &record), expected, "{pattern} on {body}");
        };
        check(r#"{"body": {"a": [1]}}"#, r#"{"a": 1}"#, true);
        check(r#"{"body": {"a": [1]}}"#, r#"{"a": 2}"#, false);
        check(r#"{"body": {"a": [1]}}"#, "plain", false);
        check(r#"{"body": {"a": [{"exists": false}]}}"#, "plain", false);
        check(r#"{"body": ["plain"]}"#, "plain", true);
        check(r#"{"body": [{"prefix": "{"}]}"#, r#"{"a": 1}"#, false);
        check(r#"{"awsRegion": ["us-east-2"]}"#, "anything", true);
        check(r#"{"awsRegion": ["us-east-1"]}"#, "anything", false);
        assert!(is_wanted(&[], &json!({})));
    }
}
