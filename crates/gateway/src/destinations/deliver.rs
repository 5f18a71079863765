//! One delivery.

use super::Target;
use crate::Gateway;
use crate::messaging::{HttpMessage, SendError};
use control::{ControlError, DeliveryKind, NewDelivery, NewEvent};
use std::borrow::Cow;
use uuid::Uuid;

/// `ErrorCode` of a dead letter: the status of the invocation, which is 200 for a function that fails.
const DEAD_LETTER_CODE: &str = "200";
/// Largest event of a function that is told, bytes: 1 MiB, as for everybody.
const EVENT_BYTES_MAX: usize = 1_048_576;

/// Tells the target.
pub(super) async fn deliver(gateway: &Gateway, delivery: &NewDelivery) -> Result<(), SendError> {
    let attributes = attributes(delivery);
    let (body, trace_id) = (&delivery.body, &delivery.trace_id);
    let message = json_message(body);
    let target = Target::parse(&delivery.target);
    // Once more, since the operator may have taken away what the function could name.
    if let Some(target) = &target {
        target.check_access(gateway, &delivery.account, &delivery.target)?;
    }
    match target {
        Some(Target::Queue(queue)) => gateway.messaging.send(&queue, &message, &attributes, trace_id).await,
        Some(Target::Topic(arn)) => gateway.messaging.publish(arn, &message, &attributes, trace_id).await,
        Some(Target::Function {
            account,
            name,
            qualifier,
        }) => enqueue(gateway, delivery, (account, name, qualifier)).await,
        Some(Target::Http(name)) => {
            let request_id = &delivery.request_id;
            let message = HttpMessage {
                name,
                body,
                request_id,
                trace_id,
            };
            gateway.messaging.post(&message).await
        }
        None => Err(refused(delivery, "Lambent has no way to it".to_owned())),
    }
}

/// Of a dead letter; a record says it all itself.
fn attributes(delivery: &NewDelivery) -> Vec<(&'static str, &'static str, String)> {
    let Some(message) = delivery
        .error_message
        .as_ref()
        .filter(|_| delivery.kind == DeliveryKind::DeadLetter)
    else {
        return Vec::new();
    };
    // An attribute's value cannot be empty.
    let message = if message.is_empty() { "-" } else { message };
    vec![
        ("RequestID", "String", delivery.request_id.clone()),
        ("ErrorCode", "Number", DEAD_LETTER_CODE.to_owned()),
        ("ErrorMessage", "String", text_message(message)),
    ]
}

/// Whether a message may have a character. Source: the API reference of SQS's SendMessage, which takes those of XML 1.0.
/// One other, such as the escape character of coloured output, would make SQS refuse the whole message for ever.
fn is_sendable(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// A text, with U+FFFD for what no message may have.
fn text_message(text: &str) -> String {
    let replaced = |character| {
        if is_sendable(character) {
            character
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    text.chars().map(replaced).collect()
}

/// JSON of the same value. What no message may have stands within its texts alone, where an escape means the same.
fn json_message(json: &str) -> Cow<'_, str> {
    if json.chars().all(is_sendable) {
        return Cow::Borrowed(json);
    }
    let mut message = String::with_capacity(json.len());
    for character in json.chars() {
        if is_sendable(character) {
            message.push(character);
        } else {
            // None of them is beyond four digits.
            message.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    Cow::Owned(message)
}

/// Another function gets the record as an event of its own.
async fn enqueue(
    gateway: &Gateway,
    delivery: &NewDelivery,
    (account, name, qualifier): (&str, &str, Option<&str>),
) -> Result<(), SendError> {
    if account != delivery.account.as_str() {
        return Err(refused(delivery, "it belongs to another account".to_owned()));
    }
    if delivery.body.len() > EVENT_BYTES_MAX {
        let reason = format!(
            "the record has {} bytes, and an event at most {EVENT_BYTES_MAX}",
            delivery.body.len()
        );
        return Err(refused(delivery, reason));
    }
    let failed = |error: ControlError| SendError::new(format!("invoke {}", delivery.target), error.to_string());
    gateway
        .control
        .function(&delivery.account, name, qualifier)
        .await
        .map_err(failed)?;
    let event = NewEvent {
        account: delivery.account.clone(),
        function: name.to_owned(),
        qualifier: qualifier.map(str::to_owned),
        payload: delivery.body.clone(),
        request_id: Uuid::new_v4().to_string(),
        client_context: None,
        trace_id: delivery.trace_id.clone(),
    };
    gateway.control.enqueue_event(event).await.map_err(failed)
}

fn refused(delivery: &NewDelivery, reason: String) -> SendError {
    SendError::new(format!("tell {}", delivery.target), reason).for_ever()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(error_message: &str) -> NewDelivery {
        NewDelivery {
            account: "123456789012".parse().unwrap(),
            function: "f".to_owned(),
            kind: DeliveryKind::DeadLetter,
            target: "arn:aws:sqs:us-east-1:123456789012:q".to_owned(),
            body: "{}".to_owned(),
            error_message: Some(error_message.to_owned()),
            request_id: "e4b46cbf-b738-xmpl-8880-a18cdf61200e".to_owned(),
            trace_id: "Root=1".to_owned(),
        }
    }

    #[test]
    fn a_dead_letters_error_has_only_what_a_message_may_have() {
        let check = |said: &str, expected: &str| {
            let attributes = attributes(&dead_letter(said));
            let message = attributes.iter().find(|(name, ..)| *name == "ErrorMessage");
            assert_eq!(message.map(|(.., value)| value.as_str()), Some(expected), "{said:?}");
        };
        check("", "-");
        check("\u{1b}[31mfailed\u{1b}[0m\0", "\u{fffd}[31mfailed\u{fffd}[0m\u{fffd}");
        check(
            "a\tb\r\nä \u{1f600} \u{7f} \u{fffd}",
            "a\tb\r\nä \u{1f600} \u{7f} \u{fffd}",
        );
        check("\u{b}\u{c}\u{fffe}\u{ffff}", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_event_of_any_text_can_be_a_message() {
        for plain in ["{}", "[\"\\u001b ä \u{1f600}\"]", "\n {\t}"] {
            assert!(
                matches!(json_message(plain), Cow::Borrowed(same) if same == plain),
                "{plain}"
            );
        }
        let event = "[\"a\u{fffe}b\u{ffff}\"]";
        let message = json_message(event);
        assert_eq!(message, "[\"a\\ufffeb\\uffff\"]");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&message), read(event));
    }
}
