//! One delivery.

use super::Target;
use crate::Gateway;
use crate::messaging::{HttpMessage, SendError};
use control::{ControlError, DeliveryKind, NewDelivery, NewEvent};
use uuid::Uuid;

/// `ErrorCode` of a dead letter: the status of the invocation, which is 200 for a function that fails.
const DEAD_LETTER_CODE: &str = "200";
/// Largest event of a function that is told, bytes: 1 MiB, as for everybody.
const EVENT_BYTES_MAX: usize = 1_048_576;

/// Tells the target.
pub(super) async fn deliver(gateway: &Gateway, delivery: &NewDelivery) -> Result<(), SendError> {
    let attributes = attributes(delivery);
    let (body, trace_id) = (&delivery.body, &delivery.trace_id);
    match Target::parse(&delivery.target) {
        Some(Target::Queue(queue)) => gateway.messaging.send(&queue, body, &attributes, trace_id).await,
        Some(Target::Topic(arn)) => gateway.messaging.publish(arn, body, &attributes, trace_id).await,
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
        ("ErrorMessage", "String", message.to_owned()),
    ]
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
