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

/// Messages that were received, and when the first of them was.
pub(super) struct Gathered {
    pub(super) messages: Vec<Message>,
    pub(super) since: Instant,
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

/// Of their bodies. Attributes are ten to a message, and count in SQS's own limit with the body.
fn bytes_of(messages: &[Message]) -> usize {
    let bodies = messages.iter().filter_map(|message| message.body.as_ref());
    bodies.map(String::len).sum()
}

async fn receive(gateway: &Gateway, queue: &QueueArn, (room, wait_s): (usize, u64)) -> Result<Vec<Message>, SendError> {
    let how = Receive {
        messages_max: i32::try_from(room.min(POLL_MESSAGES_MAX)).unwrap_or(1),
        wait_s: i32::try_from(wait_s).unwrap_or(0),
    };
    gateway.messaging.receive(queue, how).await
}
