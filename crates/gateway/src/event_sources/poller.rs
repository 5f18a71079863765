//! The task of one enabled mapping.

use super::batch::{self, Feed};
use super::filter::Pattern;
use super::gather::{Gathered, gather};
use super::pace::{Pace, Verdict};
use crate::Gateway;
use crate::due::backoff;
use crate::messaging::{QueueArn, SendError};
use control::EventSource;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Longest wait after a queue or a function failed. A person who repairs it does not want to wait five minutes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How a poller ends. Its batches go on in the gateway's tasks.
pub(super) struct Stops {
    /// The server ends: nothing is waited for.
    pub(super) at_once: CancellationToken,
    /// The mapping has changed: the poll under way is still waited for.
    pub(super) after_a_poll: CancellationToken,
}

/// Polls until told to stop.
pub(super) async fn poll(gateway: &Gateway, source: EventSource, stops: &Stops) {
    tokio::select! {
        () = stops.at_once.cancelled() => {}
        () = run(gateway, source, &stops.after_a_poll) => {}
    }
}

async fn run(gateway: &Gateway, source: EventSource, retire: &CancellationToken) {
    let Some(feed) = open(gateway, &source, retire).await else {
        return;
    };
    let feed = Arc::new(feed);
    let mut pace = Pace::new(source.settings.concurrency_max);
    let mut running = FuturesUnordered::new();
    let mut failures = 0;
    while !retire.is_cancelled() {
        make_room(gateway, &mut running, &mut pace, retire).await;
        if retire.is_cancelled() {
            return;
        }
        match gather(gateway, &feed.queue, &source.settings, retire).await {
            Ok(Gathered { messages, .. }) if messages.is_empty() => failures = 0,
            Ok(gathered) => {
                failures = 0;
                let work = batch::run(gateway.clone(), Arc::clone(&feed), gathered);
                running.push(gateway.tasks.spawn(work));
            }
            Err(error) => {
                failures += 1;
                rest(gateway, (&source, &error), failures, retire).await;
            }
        }
    }
}

/// What stays the same for all batches; tried until it can be had.
async fn open(gateway: &Gateway, source: &EventSource, retire: &CancellationToken) -> Option<Feed> {
    // Both were checked when the mapping was made.
    let queue = QueueArn::parse(&source.source)?;
    let patterns = source.settings.filters.iter().map(|text| Pattern::parse(text));
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>().ok()?;
    let mut failures = 0;
    while !retire.is_cancelled() {
        match gateway.messaging.visibility_s(&queue).await {
            Ok(seconds) => {
                return Some(Feed {
                    source: source.clone(),
                    queue,
                    patterns,
                    visibility: Duration::from_secs(seconds),
                });
            }
            Err(error) => {
                failures += 1;
                rest(gateway, (source, &error), failures, retire).await;
            }
        }
    }
    None
}

/// Waits until another batch may run; longer the more of them failed in a row.
async fn make_room(
    gateway: &Gateway,
    running: &mut FuturesUnordered<JoinHandle<Verdict>>,
    pace: &mut Pace,
    retire: &CancellationToken,
) {
    while let Some(Some(ended)) = running.next().now_or_never() {
        pace.apply(ended.unwrap_or(Verdict::Broken));
    }
    while running.len() >= pace.limit() {
        tokio::select! {
            () = retire.cancelled() => return,
            Some(ended) = running.next() => pace.apply(ended.unwrap_or(Verdict::Broken)),
        }
    }
    if pace.failures() > 0 {
        let wait = backoff(gateway.settings.backoff_first, WAIT_MAX, pace.failures());
        tokio::select! {
            () = retire.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn rest(
    gateway: &Gateway,
    (source, error): (&EventSource, &SendError),
    failures: u32,
    retire: &CancellationToken,
) {
    let wait = backoff(gateway.settings.backoff_first, WAIT_MAX, failures);
    // The first one, and then now and then: a queue that is away for a day must not fill the log.
    if failures.is_power_of_two() {
        warn!(
            function = source.function,
            mapping = source.id,
            failures,
            "an event source cannot be read, trying again after {wait:?}: {error}"
        );
    }
    tokio::select! {
        () = retire.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}
