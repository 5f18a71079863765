//! Event source mappings: queues whose messages become invocations.
//!
//! ```text
//! record ── mappings, bell ──> supervisor ── one task for each enabled mapping ──> poller
//! poller: room? ─ receive, gather ─> batch ─ filter ─> invoke ─> delete what succeeded; the rest comes again by itself
//! ```
//! Nothing is held here that SQS does not hold: a message is deleted when its function has answered for it, and one that
//! was received by a process that died is visible again after the queue's visibility timeout.
//!
//! A mapping that is changed or disabled ends its poller after the poll that is under way, since a poll that is dropped may
//! have taken messages out of sight. A server that ends drops it all the same: SIGTERM does not wait 20 s for an empty
//! queue.

mod batch;
pub(crate) mod filter;
mod gather;
mod message;
mod pace;
mod poller;
mod report;

use crate::Gateway;
use crate::due::{Patience, SLEEP_MAX};
use control::{ControlError, EventSource, EventSourceState};
use std::collections::HashMap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The pollers that run, by the mapping's id.
#[derive(Default)]
struct Pollers {
    running: HashMap<String, Running>,
    /// Each gives the id of its mapping when it ends.
    tasks: JoinSet<String>,
}

struct Running {
    /// The change of the mapping that it follows.
    writes: u64,
    retire: CancellationToken,
    task: tokio::task::Id,
}

/// What is to be done about a mapping.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Start,
    /// End the poller; when it has, look again.
    Retire,
    /// Say that the change has been followed.
    Settle,
    Nothing,
}

/// Keeps pollers as the record wants them, until told to stop.
pub(crate) async fn supervise(gateway: &Gateway, stop: &CancellationToken) {
    let bell = gateway.control.event_sources_changed();
    let mut pollers = Pollers::default();
    let mut patience = Patience::default();
    while !stop.is_cancelled() {
        let followed = pollers.follow(gateway, stop).await.map(|()| SLEEP_MAX);
        let wait = patience.wait("follow the event source mappings", followed);
        tokio::select! {
            () = stop.cancelled() => {}
            () = bell.notified() => {}
            Some(ended) = pollers.tasks.join_next() => pollers.forget(ended),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while pollers.tasks.join_next().await.is_some() {}
}

impl Pollers {
    async fn follow(&mut self, gateway: &Gateway, stop: &CancellationToken) -> Result<(), ControlError> {
        let sources = gateway.control.all_event_sources().await?;
        for source in &sources {
            let running = self.running.get(&source.id).map(|running| running.writes);
            match step(source, running) {
                Step::Start => {
                    self.start(gateway, source, stop);
                    self.settle(gateway, source).await?;
                }
                Step::Retire => self.retire(&source.id),
                Step::Settle => self.settle(gateway, source).await?,
                Step::Nothing => {}
            }
        }
        let gone = self
            .running
            .keys()
            .filter(|id| !sources.iter().any(|source| source.id == **id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.retire(&id);
        }
        Ok(())
    }

    fn start(&mut self, gateway: &Gateway, source: &EventSource, stop: &CancellationToken) {
        let retire = CancellationToken::new();
        let stops = poller::Stops {
            at_once: stop.clone(),
            after_a_poll: retire.clone(),
        };
        let (gateway, source) = (gateway.clone(), source.clone());
        let (id, writes) = (source.id.clone(), source.writes);
        let key = id.clone();
        let task = self.tasks.spawn(async move {
            poller::poll(&gateway, source, &stops).await;
            id
        });
        let task = task.id();
        self.running.insert(key, Running { writes, retire, task });
    }

    fn retire(&self, id: &str) {
        if let Some(running) = self.running.get(id) {
            running.retire.cancel();
        }
    }

    async fn settle(&self, gateway: &Gateway, source: &EventSource) -> Result<(), ControlError> {
        if source.state.is_settled() {
            return Ok(());
        }
        gateway.control.settle_event_source(source).await
    }

    fn forget(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(id) => drop(self.running.remove(&id)),
            Err(error) => {
                warn!("a poller of an event source mapping broke off, which is a fault of Lambent: {error}");
                self.running.retain(|_, running| running.task != error.id());
            }
        }
    }
}

fn step(source: &EventSource, running: Option<u64>) -> Step {
    let wanted = source.settings.enabled && source.state != EventSourceState::Deleting;
    match running {
        Some(writes) if wanted && writes == source.writes && source.state.is_settled() => Step::Nothing,
        Some(writes) if wanted && writes == source.writes => Step::Settle,
        Some(_) => Step::Retire,
        None if wanted => Step::Start,
        None if source.state.is_settled() => Step::Nothing,
        None => Step::Settle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::EventSourceSettings;
    use std::collections::BTreeMap;

    fn source(state: EventSourceState, enabled: bool) -> EventSource {
        EventSource {
            id: "id".to_owned(),
            account: "123456789012".parse().unwrap(),
            function: "f".to_owned(),
            qualifier: None,
            source: "arn:aws:sqs:us-east-1:123456789012:q".to_owned(),
            state,
            settings: EventSourceSettings {
                enabled,
                batch_messages_max: 10,
                window_s: 0,
                concurrency_max: None,
                reports_failures: false,
                filters: Vec::new(),
                tags: BTreeMap::new(),
            },
            modified_ms: 0,
            writes: 2,
        }
    }

    #[test]
    fn pollers_are_as_the_record_wants_them() {
        use EventSourceState::{Creating, Deleting, Disabled, Disabling, Enabled, Enabling, Updating};
        let check = |state, enabled, running, expected| {
            assert_eq!(
                step(&source(state, enabled), running),
                expected,
                "{state:?} {enabled} {running:?}"
            );
        };
        check(Creating, true, None, Step::Start);
        check(Creating, false, None, Step::Settle);
        check(Enabled, true, None, Step::Start);
        check(Enabled, true, Some(2), Step::Nothing);
        check(Updating, true, Some(1), Step::Retire);
        check(Updating, true, None, Step::Start);
        check(Updating, true, Some(2), Step::Settle);
        check(Enabling, true, None, Step::Start);
        check(Disabling, false, Some(1), Step::Retire);
        check(Disabling, false, None, Step::Settle);
        check(Disabled, false, None, Step::Nothing);
        check(Deleting, true, Some(1), Step::Retire);
        check(Deleting, true, None, Step::Settle);
    }
}
