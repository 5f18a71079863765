//! The pollers that run, and what is to be done about each.

use super::feed::Stops;
use super::poller::{Batches, Poller, Unreadable};
use super::room::Room;
use crate::Gateway;
use crate::due::{SLEEP_MAX, backoff};
use control::{ControlError, EventSource, EventSourceState};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A poller that ended by itself is started again after so long; it doubles each time, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause. One that ran for longer begins with the shortest again. Only a change of the mapping, or another version
/// of Lambent, can help what is started again so late.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// By the mapping's id, all of them.
#[derive(Default)]
pub(super) struct Pollers {
    running: HashMap<String, Running>,
    tasks: JoinSet<Ended>,
    /// What pollers that have ended left under way, for the next ones of their mappings.
    left: HashMap<String, Batches>,
    failed: HashMap<String, Failed>,
    room: Room,
}

/// A poller's end: its mapping, and what it left.
type Ended = (String, Result<Batches, Unreadable>);

struct Running {
    /// The change of the mapping that it follows.
    writes: u64,
    began: Instant,
    retire: CancellationToken,
    task: tokio::task::Id,
}

/// A poller that ended by itself.
struct Failed {
    /// The change of the mapping that it followed.
    writes: u64,
    /// In a row.
    failures: u32,
    /// When it may be started again.
    again: Instant,
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

impl Pollers {
    /// Does what the record wants; gives how long nothing else will be due.
    pub(super) async fn follow(
        &mut self,
        gateway: &Gateway,
        stop: &CancellationToken,
    ) -> Result<Duration, ControlError> {
        let sources = gateway.control.all_event_sources().await?;
        let now = Instant::now();
        for source in &sources {
            match self.step(source, now) {
                Step::Start => {
                    self.start(gateway, source, stop);
                    settle(gateway, source).await?;
                }
                Step::Retire => self.retire(&source.id),
                Step::Settle => settle(gateway, source).await?,
                Step::Nothing => {}
            }
        }
        self.drop_others(&sources);
        Ok(self.next_start(now))
    }

    /// How long no poller that failed is to be started again.
    fn next_start(&self, now: Instant) -> Duration {
        let times = self.failed.values().map(|failed| failed.again);
        // Those that are past were started.
        let next = times.filter(|again| *again > now).min();
        next.map_or(SLEEP_MAX, |again| again - now)
    }

    fn step(&self, source: &EventSource, now: Instant) -> Step {
        let running = self.running.get(&source.id).map(|running| running.writes);
        let failed = self.failed.get(&source.id);
        let pauses = failed.is_some_and(|failed| failed.writes == source.writes && now < failed.again);
        step(source, running, pauses)
    }

    fn start(&mut self, gateway: &Gateway, source: &EventSource, stop: &CancellationToken) {
        let retire = CancellationToken::new();
        let poller = Poller {
            source: source.clone(),
            stops: Stops {
                at_once: stop.clone(),
                after_a_poll: retire.clone(),
            },
            room: self.room.clone(),
            running: self.left.remove(&source.id).unwrap_or_default(),
        };
        let (gateway, id) = (gateway.clone(), source.id.clone());
        let task = self.tasks.spawn(async move { (id, poller.poll(&gateway).await) });
        let running = Running {
            writes: source.writes,
            began: Instant::now(),
            retire,
            task: task.id(),
        };
        self.running.insert(source.id.clone(), running);
    }

    fn retire(&self, id: &str) {
        if let Some(running) = self.running.get(id) {
            running.retire.cancel();
        }
    }

    /// Ends pollers of mappings that are gone, and forgets what concerns these and what has changed.
    fn drop_others(&mut self, sources: &[EventSource]) {
        let ids: HashSet<&str> = sources.iter().map(|source| source.id.as_str()).collect();
        for (id, running) in &self.running {
            if !ids.contains(id.as_str()) {
                running.retire.cancel();
            }
        }
        self.left.retain(|id, _| ids.contains(id.as_str()));
        let paused = sources.iter().filter(|source| is_wanted(source));
        let paused: HashSet<(&str, u64)> = paused.map(|source| (source.id.as_str(), source.writes)).collect();
        let running = &self.running;
        self.failed
            .retain(|id, failed| running.contains_key(id) || paused.contains(&(id.as_str(), failed.writes)));
    }

    /// The next poller that ends; none where there is no poller.
    pub(super) async fn ended(&mut self) -> Option<Result<Ended, JoinError>> {
        self.tasks.join_next().await
    }

    /// Forgets a poller that has ended.
    pub(super) fn forget(&mut self, ended: Result<Ended, JoinError>, now: Instant) {
        let (id, what) = match ended {
            Ok((id, Ok(batches))) => {
                self.left.insert(id.clone(), batches);
                (Some(id), None)
            }
            Ok((id, Err(unreadable))) => (Some(id), Some(unreadable.to_string())),
            Err(error) => {
                let what = format!("its poller broke off, which is a fault of Lambent: {error}");
                (self.id_of(error.id()), Some(what))
            }
        };
        let Some((id, running)) = id.and_then(|id| self.running.remove_entry(&id)) else {
            return;
        };
        if !running.retire.is_cancelled() {
            self.pause(id, &running, what, now);
        }
    }

    fn id_of(&self, task: tokio::task::Id) -> Option<String> {
        let mut found = self.running.iter().filter(|(_, running)| running.task == task);
        found.next().map(|(id, _)| id.clone())
    }

    fn pause(&mut self, id: String, running: &Running, what: Option<String>, now: Instant) {
        // What it left and could not hand over ends with it.
        running.retire.cancel();
        let before = self.failed.get(&id).filter(|failed| failed.writes == running.writes);
        let before = before.map_or(0, |failed| failed.failures);
        let failures = if now.duration_since(running.began) > PAUSE_MAX {
            1
        } else {
            before + 1
        };
        let wait = backoff(PAUSE, PAUSE_MAX, failures);
        if let Some(what) = what
            && failures.is_power_of_two()
        {
            warn!(
                mapping = id,
                failures, "an event source mapping is not followed, trying again after {wait:?}: {what}"
            );
        }
        let failed = Failed {
            writes: running.writes,
            failures,
            again: now + wait,
        };
        self.failed.insert(id, failed);
    }
}

async fn settle(gateway: &Gateway, source: &EventSource) -> Result<(), ControlError> {
    if source.state.is_settled() {
        return Ok(());
    }
    gateway.control.settle_event_source(source).await
}

fn is_wanted(source: &EventSource) -> bool {
    source.settings.enabled && source.state != EventSourceState::Deleting
}

fn step(source: &EventSource, running: Option<u64>, pauses: bool) -> Step {
    let wanted = is_wanted(source);
    match running {
        Some(writes) if wanted && writes == source.writes && source.state.is_settled() => Step::Nothing,
        Some(writes) if wanted && writes == source.writes => Step::Settle,
        Some(_) => Step::Retire,
        None if wanted && !pauses => Step::Start,
        None if source.state.is_settled() => Step::Nothing,
        None => Step::Settle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sources::tests::source;

    #[test]
    fn pollers_are_as_the_record_wants_them() {
        use EventSourceState::{Creating, Deleting, Disabled, Disabling, Enabled, Enabling, Updating};
        let check = |state, enabled, running, expected| {
            assert_eq!(
                step(&source(state, enabled), running, false),
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
        let pausing = |state, enabled| step(&source(state, enabled), None, true);
        assert_eq!(pausing(Enabled, true), Step::Nothing);
        // What is not settled is, so that a client can change it.
        assert_eq!(pausing(Updating, true), Step::Settle);
        assert_eq!(pausing(Deleting, true), Step::Settle);
    }

    /// A poller that ends as it is told to, and is forgotten.
    async fn end(pollers: &mut Pollers, source: &EventSource, how: End, now: Instant) {
        let id = source.id.clone();
        let task = pollers.tasks.spawn(async move {
            match how {
                End::Panic => panic!("as the test wants it"),
                End::Unreadable => (id, Err(Unreadable::of("a test"))),
                End::Retired => (id, Ok(Batches::new())),
            }
        });
        let running = Running {
            writes: source.writes,
            began: now,
            retire: CancellationToken::new(),
            task: task.id(),
        };
        if how == End::Retired {
            running.retire.cancel();
        }
        let retire = running.retire.clone();
        pollers.running.insert(source.id.clone(), running);
        assert_ne!(pollers.step(source, now), Step::Start);
        let ended = pollers.ended().await.unwrap();
        pollers.forget(ended, now);
        assert!(pollers.running.is_empty());
        assert!(retire.is_cancelled(), "its batches are told, too");
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum End {
        Panic,
        Unreadable,
        Retired,
    }

    #[tokio::test]
    async fn a_poller_that_ends_by_itself_pauses_longer_and_longer() {
        let mut pollers = Pollers::default();
        let source = source(EventSourceState::Enabled, true);
        let mut now = Instant::now();
        let moment = Duration::from_millis(1);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let how = if seconds % 3 == 1 { End::Panic } else { End::Unreadable };
            end(&mut pollers, &source, how, now).await;
            assert_eq!(pollers.step(&source, now), Step::Nothing);
            assert_eq!(pollers.next_start(now), Duration::from_secs(seconds));
            now += Duration::from_secs(seconds);
            assert_eq!(pollers.step(&source, now - moment), Step::Nothing, "{seconds}");
            assert_eq!(
                (pollers.step(&source, now), pollers.next_start(now)),
                (Step::Start, SLEEP_MAX)
            );
            pollers.drop_others(std::slice::from_ref(&source));
        }
        end(&mut pollers, &source, End::Panic, now).await;
        // A client's change is tried at once.
        let mut changed = source.clone();
        changed.writes += 1;
        assert_eq!(pollers.step(&changed, now), Step::Start);
        pollers.drop_others(std::slice::from_ref(&changed));
        assert!(pollers.failed.is_empty());
    }

    #[tokio::test]
    async fn what_is_under_way_is_left_to_the_next_poller_while_the_mapping_is_there() {
        let mut pollers = Pollers::default();
        let source = source(EventSourceState::Enabled, true);
        let now = Instant::now();
        end(&mut pollers, &source, End::Retired, now).await;
        assert_eq!(pollers.step(&source, now), Step::Start);
        pollers.drop_others(std::slice::from_ref(&source));
        assert!(pollers.left.contains_key(&source.id));
        pollers.drop_others(&[]);
        assert!(pollers.left.is_empty());
    }
}
