//! Gathers a batch: polls until it is full by number or by bytes, its time is over, or nothing came.

use super::batch::EVENT_BYTES_MAX;
use crate::Gateway;
use crate::messaging::{Message, QueueArn, Receive, SendError};
use control::EventSourceSettings;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Messages of one poll at most, by SQS.
const POLL_MESSAGES_MAX: usize = 10;
/// Longest poll, seconds, by SQS: an empty queue costs three requests a minute.
const POLL_WAIT_S: u64 = 20;
/// Of a record, what is the same in all: names, digests, the queue's ARN (up to 120 bytes).
const AROUND_BYTES: usize = 440;
/// Of a field of a record, its punctuation.
const FIELD_BYTES: usize = 6;
/// Of a message attribute, the names of its members and their punctuation.
const ATTRIBUTE_BYTES: usize = 100;

/// Messages that were received, and when the first of them was.
pub(super) struct Gathered {
    pub(super) messages: Vec<Message>,
    pub(super) since: Instant,
}

impl Gathered {
    /// About the bytes that it takes while it is under way: its records, and an event that is made of them.
    pub(super) fn bytes_in_memory(&self) -> usize {
        2 * bytes_of(&self.messages)
    }
}

/// One batch; empty when a long poll brought nothing. With `retire` a batch ends after the poll under way.
///
/// An error after the first message is not one of the batch: what was received is given.
pub(super) async fn gather(
    gateway: &Gateway,
    queue: &QueueArn,
    settings: &EventSourceSettings,
    retire: &CancellationToken,
) -> Result<Gathered, SendError> {
    let size = settings.batch_messages_max as usize;
    let window = Duration::from_secs(u64::from(settings.window_s));
    let mut gathered = Gathered {
        messages: receive(gateway, queue, (size, POLL_WAIT_S)).await?,
        since: Instant::now(),
    };
    if gathered.messages.is_empty() {
        return Ok(gathered);
    }
    let until = gathered.since + window;
    let mut bytes = bytes_of(&gathered.messages);
    while gathered.messages.len() < size && bytes < EVENT_BYTES_MAX && !retire.is_cancelled() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // Whole seconds, the last one begun counts: a window is as exact as SQS is.
        let wait_s = (left.as_secs() + 1).min(POLL_WAIT_S);
        match receive(gateway, queue, (size - gathered.messages.len(), wait_s)).await {
            Ok(messages) => {
                bytes += bytes_of(&messages);
                gathered.messages.extend(messages);
            }
            Err(_) => break,
        }
    }
    Ok(gathered)
}

/// About what their records will have. All that a sender chooses counts: a message may be all attributes.
fn bytes_of(messages: &[Message]) -> usize {
    messages.iter().map(record_bytes).sum()
}

fn record_bytes(message: &Message) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let attributes = message.attributes.iter().flatten();
    let attributes = attributes.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    let chosen = message.message_attributes.iter().flatten();
    let chosen = chosen.map(|(name, value)| {
        let bytes = value.binary_value.as_ref().map_or(0, |bytes| bytes.as_ref().len());
        // A third more in base64.
        let value = length(&value.string_value) + bytes.div_ceil(3) * 4 + value.data_type.len();
        name.len() + value + ATTRIBUTE_BYTES
    });
    let texts = [&message.message_id, &message.receipt_handle, &message.body];
    texts.into_iter().map(length).sum::<usize>() + attributes.sum::<usize>() + chosen.sum::<usize>() + AROUND_BYTES
}

async fn receive(gateway: &Gateway, queue: &QueueArn, (room, wait_s): (usize, u64)) -> Result<Vec<Message>, SendError> {
    let how = Receive {
        messages_max: i32::try_from(room.min(POLL_MESSAGES_MAX)).unwrap_or(1),
        wait_s: i32::try_from(wait_s).unwrap_or(0),
    };
    gateway.messaging.receive(queue, how).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sources::message::record;
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};

    #[test]
    fn all_that_a_sender_chooses_counts() {
        let queue = QueueArn::parse("arn:aws:sqs:us-east-2:123456789012:my-queue").unwrap();
        let check = |message: Message| {
            let (counted, text) = (record_bytes(&message), record(&queue, &message).to_string());
            assert!(
                (text.len()..=text.len() + 400).contains(&counted),
                "{counted} of {}",
                text.len()
            );
        };
        let message = || {
            Message::builder()
                .message_id("059f36b4-87a3-44ab-83d2-661975830a7d")
                .receipt_handle("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...")
                .md5_of_body("e4e68fb7bd0e697a0ae8f1bb342846b3")
                .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "1")
                .attributes(MessageSystemAttributeName::SenderId, "AIDAIENQZJOLO23YVJ4VO")
        };
        let attribute = |kind: &str| MessageAttributeValue::builder().data_type(kind);
        let text = attribute("String").string_value("v".repeat(200_000)).build().unwrap();
        let bytes = attribute("Binary")
            .binary_value(Blob::new(vec![1; 200_000]))
            .build()
            .unwrap();
        check(Message::builder().build());
        check(message().body("b".repeat(200_000)).build());
        check(message().message_attributes("t", text).build());
        check(message().message_attributes("b", bytes).build());
    }
}
