//! Event source mappings: queues whose messages become invocations.
//!
//! ```text
//! record ── mappings, bell ──> supervisor ── one task for each enabled mapping ──> poller
//! poller: turn? ─ receive, gather ─> room? ─> batch ─ filter ─> invoke ─> delete what succeeded; the rest comes again
//! ```
//! Nothing is held here that SQS does not hold: a message is deleted when its function has answered for it, and one that
//! was received by a process that died is visible again after the queue's visibility timeout.
//!
//! A mapping that is changed or disabled ends its poller after the poll that is under way, since a poll that is dropped may
//! have taken messages out of sight. A server that ends drops it all the same: SIGTERM does not wait 20 s for an empty
//! queue. Either way functions that run come to their end, and throttled batches are not tried again.

mod batch;
mod feed;
pub(crate) mod filter;
mod gather;
mod message;
mod pace;
mod poller;
mod pollers;
mod report;
mod room;
#[cfg(test)]
mod tests;
mod throttled;

use crate::Gateway;
use crate::due::Patience;
use pollers::Pollers;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Keeps pollers as the record wants them, until told to stop.
pub(crate) async fn supervise(gateway: &Gateway, stop: &CancellationToken) {
    let bell = gateway.control.event_sources_changed();
    let mut pollers = Pollers::default();
    let mut patience = Patience::default();
    while !stop.is_cancelled() {
        let followed = pollers.follow(gateway, stop).await;
        let wait = patience.wait("follow the event source mappings", followed);
        tokio::select! {
            () = stop.cancelled() => {}
            () = bell.notified() => {}
            Some(ended) = pollers.ended() => pollers.forget(ended, Instant::now()),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while pollers.ended().await.is_some() {}
}
