//! The task of one enabled mapping.

use super::batch;
use super::feed::{Feed, SharedPace, Stops};
use super::filter::Pattern;
use super::gather::{Gathered, gather};
use super::pace::Verdict;
use super::room::Room;
use crate::Gateway;
use crate::due::backoff;
use crate::messaging::{QueueArn, SendError};
use control::EventSource;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Longest wait after a queue or a function failed. A person who repairs it does not want to wait five minutes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Batches under way. They go on in the gateway's tasks, whoever counts them.
pub(super) type Batches = FuturesUnordered<JoinHandle<()>>;

pub(super) struct Poller {
    pub(super) source: EventSource,
    pub(super) stops: Stops,
    pub(super) room: Room,
    /// What an earlier poller of the mapping has begun, which counts against the same maximum.
    pub(super) running: Batches,
}

/// A mapping that this program cannot follow: another version wrote it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}. Update the mapping, or delete it")]
pub(super) struct Unreadable {
    what: String,
}

impl Unreadable {
    pub(super) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl Poller {
    /// Polls until told to stop; gives what is still under way.
    pub(super) async fn poll(self, gateway: &Gateway) -> Result<Batches, Unreadable> {
        let at_once = self.stops.at_once.clone();
        tokio::select! {
            () = at_once.cancelled() => Ok(Batches::new()),
            ended = self.run(gateway) => ended,
        }
    }

    async fn run(self, gateway: &Gateway) -> Result<Batches, Unreadable> {
        let (queue, patterns) = read(&self.source)?;
        let mut running = self.running;
        let retire = self.stops.after_a_poll.clone();
        let Some(visibility) = visibility(gateway, &self.source, &queue, &retire).await else {
            return Ok(running);
        };
        let feed = Arc::new(Feed {
            pace: SharedPace::new(self.source.settings.concurrency_max),
            source: self.source,
            queue,
            patterns,
            visibility,
            stops: self.stops,
            room: self.room,
        });
        let mut failures = 0;
        while !retire.is_cancelled() {
            wait_for_turn(gateway, &mut running, &feed, &retire).await;
            if retire.is_cancelled() {
                break;
            }
            match gather(gateway, &feed.queue, &feed.source.settings, &retire).await {
                Ok(gathered) => {
                    failures = 0;
                    running.extend(start(gateway, &feed, gathered).await);
                }
                Err(error) => {
                    failures += 1;
                    rest(gateway, (&feed.source, &error), failures, &retire).await;
                }
            }
        }
        Ok(running)
    }
}

/// What a mapping says, which was checked when it was made.
fn read(source: &EventSource) -> Result<(QueueArn, Vec<Pattern>), Unreadable> {
    let queue = QueueArn::parse(&source.source)
        .ok_or_else(|| Unreadable::of(format!("{} is not the ARN of a queue", source.source)))?;
    let pattern = |text: &String| {
        Pattern::parse(text)
            .map_err(|error| Unreadable::of(format!("the filter pattern {text} cannot be read: {error}")))
    };
    let patterns = source.settings.filters.iter().map(pattern);
    Ok((queue, patterns.collect::<Result<_, _>>()?))
}

/// How long the queue keeps a received message out of sight; asked until it is said.
async fn visibility(
    gateway: &Gateway,
    source: &EventSource,
    queue: &QueueArn,
    retire: &CancellationToken,
) -> Option<Duration> {
    let mut failures = 0;
    while !retire.is_cancelled() {
        // Not once for all: the mapping may be older than what the operator allows now.
        let allowed = gateway.messaging.check_access(&source.account, &source.source);
        let asked = match allowed {
            Ok(()) => gateway.messaging.visibility_s(queue).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(seconds) => return Some(Duration::from_secs(seconds)),
            Err(error) => {
                failures += 1;
                rest(gateway, (source, &error), failures, retire).await;
            }
        }
    }
    None
}

/// Begins a batch, unless it is empty or there is no room for it in time: then its messages come again by themselves.
async fn start(gateway: &Gateway, feed: &Arc<Feed>, gathered: Gathered) -> Option<JoinHandle<()>> {
    if gathered.messages.is_empty() {
        return None;
    }
    let Some(room) = room_for(feed, &gathered).await else {
        gateway.metrics.event_source("returned", gathered.messages.len());
        return None;
    };
    let work = batch::run(gateway.clone(), Arc::clone(feed), gathered, room);
    Some(gateway.tasks.spawn(work))
}

async fn room_for(feed: &Feed, gathered: &Gathered) -> Option<OwnedSemaphorePermit> {
    let wait = feed.patience().saturating_sub(gathered.since.elapsed());
    tokio::select! {
        // What the last poll brings goes on, if nothing else is in its way.
        biased;
        room = feed.room.take(gathered.bytes_in_memory()) => Some(room),
        () = feed.stops.any() => None,
        () = tokio::time::sleep(wait) => None,
    }
}

/// Waits until another batch may run; longer the more of them failed in a row.
async fn wait_for_turn(gateway: &Gateway, running: &mut Batches, feed: &Feed, retire: &CancellationToken) {
    while let Some(Some(ended)) = running.next().now_or_never() {
        note(feed, &ended);
    }
    while running.len() >= feed.pace.limit() {
        tokio::select! {
            () = retire.cancelled() => return,
            Some(ended) = running.next() => note(feed, &ended),
        }
    }
    let failures = feed.pace.failures();
    if failures > 0 {
        let wait = backoff(gateway.settings.backoff_first, WAIT_MAX, failures);
        tokio::select! {
            () = retire.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// A batch tells the pace itself, unless it broke off.
fn note(feed: &Feed, ended: &Result<(), JoinError>) {
    if ended.is_err() {
        feed.pace.apply(Verdict::Broken);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sources::tests::{feed, source};
    use control::EventSourceState;
    use tokio::time::Instant;

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut source = source(EventSourceState::Enabled, true);
        assert!(read(&source).is_ok());
        source.settings.filters = vec!["{}".to_owned(), r#"{"body": {"new-rule": 1}}"#.to_owned()];
        let error = read(&source).map(drop).unwrap_err().to_string();
        assert!(error.contains(r#"{"body": {"new-rule": 1}}"#), "{error}");
        source.source = "arn:aws:sqs:nowhere".to_owned();
        let error = read(&source).map(drop).unwrap_err().to_string();
        assert!(error.contains("arn:aws:sqs:nowhere is not"), "{error}");
    }

    #[tokio::test]
    async fn a_batch_waits_for_room_until_it_is_told_to_stop_or_it_is_late() {
        let gathered = |since| Gathered {
            messages: vec![crate::messaging::Message::builder().body("b").build()],
            since,
        };
        let full = feed();
        let all = full.room.take(usize::MAX).await;
        let now = Instant::now();
        {
            let batch = gathered(now);
            let mut waiting = std::pin::pin!(room_for(&full, &batch));
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            full.stops.after_a_poll.cancel();
            assert!(waiting.await.is_none());
        }
        drop(all);
        // What the last poll brought is done where there is room.
        assert!(room_for(&full, &gathered(now)).await.is_some());
        let mut late = feed();
        late.visibility = Duration::ZERO;
        let all = late.room.take(usize::MAX).await;
        assert!(room_for(&late, &gathered(now)).await.is_none());
        drop(all);
        assert!(room_for(&late, &gathered(now)).await.is_some());
    }
}
