//! Tells destinations and dead-letter queues of events that have ended: claims what is due, delivers, and settles.
//!
//! A delivery is in the record from the commit that forgot its event until a destination has taken it, so each is
//! delivered at least once. While a destination is down it is tried again after 1 s and then twice as long each time, up
//! to 5 min; after the setting `deliver_for` it is kept as a failure, to be listed. What waits for one target waits behind
//! that target alone (`room`).

mod deliver;
mod room;
mod target;

pub(crate) use target::Target;

use crate::Gateway;
use crate::due::{backoff, keep_starting, until};
use crate::messaging::SendError;
use control::{ControlError, QueuedDelivery};
use room::{Place, Room};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Targets that are looked at at once, the longest due first. Full ones are passed over: there are at most 64, and each
/// account may have its own name for an HTTP endpoint.
const TARGETS_MAX: u32 = 1_024;
/// How long a claim holds: the longest call of the SDK, 65 s, to find a queue and again to send, and time to write.
const CLAIM_MS: u64 = 5 * 60 * 1000;

/// Delivers until told to stop; what is under way goes on in the gateway's tasks.
pub(crate) async fn dispatch(gateway: &Gateway, stop: &CancellationToken) {
    let bell = gateway.control.deliveries_added();
    let room = Room::new(Arc::clone(&bell));
    keep_starting("claim deliveries", &bell, stop, || start_due(gateway, &room)).await;
}

/// Starts all that is due, as there is room. How long nothing else will be; room that becomes free rings the bell.
async fn start_due(gateway: &Gateway, room: &Arc<Room>) -> Result<Duration, ControlError> {
    loop {
        let now_ms = gateway.now_ms();
        if !claim(gateway, room, now_ms).await? {
            let due_ms = gateway.control.next_delivery_due(now_ms).await?;
            return Ok(until(due_ms, gateway.now_ms()));
        }
    }
}

/// Starts what is due and has room. Whether there was any.
async fn claim(gateway: &Gateway, room: &Arc<Room>, now_ms: u64) -> Result<bool, ControlError> {
    let permits = room.free().await;
    let targets = gateway.control.due_targets(now_ms, TARGETS_MAX).await?;
    let shares = room.shares(targets, permits.len());
    if shares.is_empty() {
        return Ok(false);
    }
    let claimed = gateway.control.claim_deliveries(&shares, CLAIM_MS).await?;
    let any = !claimed.is_empty();
    for (queued, permit) in claimed.into_iter().zip(permits) {
        let place = room.enter(&queued.delivery.target, permit);
        gateway.tasks.spawn(run(gateway.clone(), queued, place));
    }
    Ok(any)
}

async fn run(gateway: Gateway, queued: QueuedDelivery, place: Place) {
    let settings = &gateway.settings;
    let age = || Duration::from_millis(gateway.now_ms().saturating_sub(queued.created_ms));
    // Behind a target that hangs, many wait for longer than they may: none of them is worth another timeout.
    let overdue = place.failure().filter(|_| age() > settings.deliver_for);
    let delivered = match overdue {
        Some(failure) => Err(failure),
        None => {
            let delivered = deliver::deliver(&gateway, &queued.delivery).await;
            place.note(&delivered);
            delivered
        }
    };
    let wait = backoff(settings.backoff_first, settings.backoff_max, queued.attempts);
    let (result, settled) = match &delivered {
        Ok(()) => ("delivered", gateway.control.finish_delivery(&queued.id).await),
        Err(error) if error.is_final || age() + wait > settings.deliver_for => {
            (FAILED, give_up(&gateway, &queued, error).await)
        }
        Err(error) => {
            let (kind, function) = (queued.delivery.kind.as_str(), &queued.delivery.function);
            tracing::debug!(kind, function, "a delivery is tried again after {wait:?}: {error}");
            let due_ms = gateway.now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2);
            ("retried", gateway.control.retry_delivery(&queued.id, due_ms).await)
        }
    };
    gateway.metrics.delivery(queued.delivery.kind.as_str(), result);
    if let Err(error) = settled {
        warn!("a delivery may be made once more, when its claim runs out: {error}");
    }
    drop(place);
}

const FAILED: &str = "failed";

async fn give_up(gateway: &Gateway, queued: &QueuedDelivery, error: &SendError) -> Result<(), ControlError> {
    let delivery = &queued.delivery;
    warn!(
        kind = delivery.kind.as_str(),
        function = delivery.function,
        request_id = delivery.request_id,
        attempts = queued.attempts,
        "a delivery is given up and kept (lambent function failures {}): {error}",
        delivery.function
    );
    gateway.control.fail_delivery(&queued.id, &error.to_string()).await
}
