//! Environments that are started ahead of events: how many of a revision there are to be, and what is missing.
//!
//! A target belongs to a revision. [`Pool::replenish`] gives what is to be started so that each is met, some at a time;
//! whoever lowers a target ends the surplus, busy ones when they are released. An environment that dies is replaced at
//! once, and one that has had an event says nothing about how it was started: its handler crashed, or took too long. When
//! they do not come up, or die again and again though nobody asked them anything, the next is started after a pause that
//! doubles.

use super::{Demand, EnvironmentId, Origin, Patience, Phase, Pool};
use api::{Initialization, Lease, ProvisionFailure, ProvisionReport, ProvisionTarget};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Environments of one revision that initialise ahead at the same time. More would not be up sooner: initialising is
/// work of the processor, and two of them have each other's caches cold.
const STARTING_MAX: usize = 8;

/// An environment that lived this long did not die of how it was started: what failed before is forgotten.
const LIVED_WELL: Duration = Duration::from_secs(60);

/// The first pause after failures, and the longest. Lambda does not say its figures; these are those of its queue.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// From so many deaths in a row on, the target counts as failed, though each of them had come up. Those that had an
/// event are not among them.
const DEATHS_TO_FAIL: u32 = 3;

/// What is to be there of a revision.
#[derive(Debug)]
pub(super) struct Target {
    /// As environments that are started ahead have it.
    lease: Arc<Lease>,
    wanted: usize,
    asked_ms: u64,
    /// In a row.
    failures: u32,
    /// Nothing is started until this pause is over.
    pause: Option<u64>,
    failure: Option<ProvisionFailure>,
    invocations: u64,
    spillovers: u64,
}

/// An environment that is to be started ahead; those of `evicted` are to end first.
#[derive(Debug)]
pub(crate) struct Fresh<H> {
    pub(crate) id: EnvironmentId,
    pub(crate) lease: Arc<Lease>,
    pub(crate) evicted: Vec<H>,
}

/// How an environment that was to stay ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    /// Since it came up; none if it never did.
    pub(crate) lived: Option<Duration>,
    pub(crate) why: &'a str,
}

/// For how long nothing of a revision is started ahead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) revision: Arc<str>,
    pub(crate) number: u64,
    pub(crate) time: Duration,
}

impl<H: Clone, J> Pool<H, J> {
    /// Sets the targets of a function's revisions, in place of all earlier ones. Gives the environments that are to end
    /// now; busy ones end when they are released.
    pub(crate) fn set_targets(&mut self, arn: &str, targets: Vec<ProvisionTarget>) -> Vec<H> {
        let of_function: Vec<Arc<str>> = self
            .targets
            .iter()
            .filter(|(_, target)| target.lease.function.arn == arn)
            .map(|(revision, _)| Arc::clone(revision))
            .collect();
        for revision in &of_function {
            if !targets.iter().any(|target| *target.lease.revision == **revision) {
                self.targets.remove(revision);
                self.changes += 1;
            }
        }
        for target in targets {
            self.set_target(&target);
        }
        let surplus: Vec<EnvironmentId> = of_function
            .iter()
            .flat_map(|revision| self.surplus_idle(revision))
            .collect();
        self.end_idle(surplus)
    }

    /// What is to be started now; each is counted from now on, and its handle follows by [`Pool::introduce`].
    pub(crate) fn replenish(&mut self) -> Vec<Fresh<H>> {
        if self.is_closed {
            return Vec::new();
        }
        let revisions: Vec<Arc<str>> = self.targets.keys().cloned().collect();
        let mut fresh = Vec::new();
        for revision in revisions {
            while let Some(next) = self.start_ahead(&revision) {
                fresh.push(next);
            }
        }
        fresh
    }

    /// An environment that was started ahead has died. Gives the pause that follows, if one does.
    pub(crate) fn died(&mut self, id: EnvironmentId, death: Death<'_>) -> Option<Pause> {
        let entry = self.entries.get(&id)?;
        let (revision, has_served) = (Arc::clone(&entry.revision), entry.has_served);
        self.changes += 1;
        let number = self.changes;
        let target = self.targets.get_mut(&revision)?;
        if has_served || death.lived.is_some_and(|lived| lived >= LIVED_WELL) {
            target.failures = 0;
        }
        if has_served {
            return None;
        }
        if death.lived.is_none() {
            target.failure = Some(ProvisionFailure::Init(death.why.to_owned()));
        }
        // Those that die together are one failure.
        if target.pause.is_some() {
            return None;
        }
        target.failures += 1;
        if target.failures >= DEATHS_TO_FAIL {
            target.failure = Some(ProvisionFailure::Init(death.why.to_owned()));
        }
        if target.failures == 1 && death.lived.is_some() {
            return None;
        }
        target.pause = Some(number);
        let time = pause_after(target.failures);
        Some(Pause { revision, number, time })
    }

    /// A pause is over, unless the target was set anew meanwhile.
    pub(crate) fn end_pause(&mut self, pause: &Pause) {
        if let Some(target) = self.targets.get_mut(&pause.revision)
            && target.pause == Some(pause.number)
        {
            target.pause = None;
        }
    }

    /// Another number whenever [`Pool::provisioned`] says something else than before.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn has_target(&self, revision: &str) -> bool {
        self.targets.contains_key(revision)
    }

    pub(crate) fn has_targets(&self) -> bool {
        !self.targets.is_empty()
    }

    /// How the targets are met: those of a function, or all.
    pub(crate) fn provisioned(&self, arn: Option<&str>) -> Vec<ProvisionReport> {
        let of_function = |target: &&Target| arn.is_none_or(|arn| target.lease.function.arn == arn);
        let targets = self.targets.values().filter(of_function);
        let mut reports: Vec<ProvisionReport> = targets.map(|target| self.report_on(target)).collect();
        if reports.is_empty() {
            return reports;
        }
        let places: HashMap<String, usize> = reports
            .iter()
            .enumerate()
            .map(|(place, report)| (report.revision.clone(), place))
            .collect();
        for entry in self.entries.values() {
            let Some(place) = places.get(&*entry.revision) else {
                continue;
            };
            let report = &mut reports[*place];
            // Those that take one event at a time do not count what they have.
            let events = count(entry.taken.max(1));
            match (entry.phase, entry.origin) {
                (Phase::Busy, Origin::Ahead) => {
                    report.busy += 1;
                    report.in_flight += events;
                }
                (Phase::Busy | Phase::Starting, Origin::Event) => report.in_flight += events,
                _ => {}
            }
        }
        reports
    }

    fn report_on(&self, target: &Target) -> ProvisionReport {
        let revision = self.revisions.get(&*target.lease.revision);
        let waiting = revision.map_or(0, |revision| revision.waiting.len());
        ProvisionReport {
            revision: target.lease.revision.clone(),
            function: target.lease.function.clone(),
            wanted: count(target.wanted),
            asked_ms: target.asked_ms,
            ready: count(revision.map_or(0, |revision| revision.ahead_ready)),
            busy: 0,
            in_flight: count(waiting),
            invocations: target.invocations,
            spillovers: target.spillovers,
            failure: target.failure.clone(),
        }
    }

    fn set_target(&mut self, asked: &ProvisionTarget) {
        let wanted = asked.count as usize;
        if let Some(target) = self.targets.get_mut(&*asked.lease.revision) {
            // What is asked for once more is no news: whoever asks listens for news.
            self.changes += u64::from((target.wanted, target.asked_ms) != (wanted, asked.asked_ms));
            target.wanted = wanted;
            if target.asked_ms != asked.asked_ms {
                (target.failures, target.pause, target.failure) = (0, None, None);
                target.asked_ms = asked.asked_ms;
            }
            return;
        }
        self.changes += 1;
        let lease = Lease {
            initialization: Initialization::Provisioned,
            ..Lease::clone(&asked.lease)
        };
        let target = Target {
            wanted,
            asked_ms: asked.asked_ms,
            failures: 0,
            pause: None,
            failure: None,
            invocations: 0,
            spillovers: 0,
            lease: Arc::new(lease),
        };
        self.targets.insert(asked.lease.revision.as_str().into(), target);
    }

    /// The next environment of a revision, if one is missing, may be started now, and has room.
    fn start_ahead(&mut self, revision: &Arc<str>) -> Option<Fresh<H>> {
        let target = self.targets.get(revision)?;
        let (lease, wanted) = (Arc::clone(&target.lease), target.wanted);
        let starting = self.revisions.get(revision).map_or(0, |line| line.ahead_starting);
        if self.ahead(revision) >= wanted
            || starting >= STARTING_MAX
            || target.pause.is_some()
            // Its environments would end when they are up.
            || self.retired.contains(revision)
        {
            return None;
        }
        let made = self.make_room(u64::from(lease.memory_mb));
        let target = self.targets.get_mut(revision).expect("it was found above");
        let failure = made
            .as_ref()
            .err()
            .map(|shortage| ProvisionFailure::NoRoom(shortage.to_string()));
        let had_room = !matches!(target.failure, Some(ProvisionFailure::NoRoom(_)));
        if failure.is_some() || !had_room {
            self.changes += u64::from(target.failure != failure);
            target.failure = failure;
        }
        let evicted = made.ok()?;
        let demand = Demand {
            revision,
            arn: &lease.function.arn,
            memory_mb: lease.memory_mb,
            patience: Patience::None,
        };
        let id = self.add(demand, Origin::Ahead);
        Some(Fresh { id, lease, evicted })
    }

    /// Environments of a revision that were started ahead and are not leaving.
    fn ahead(&self, revision: &str) -> usize {
        let line = self.revisions.get(revision);
        line.map_or(0, |line| line.ahead_starting + line.ahead_ready)
    }

    fn wanted(&self, revision: &str) -> usize {
        self.targets.get(revision).map_or(0, |target| target.wanted)
    }

    /// Idle environments beyond the target, those used longest ago.
    fn surplus_idle(&self, revision: &Arc<str>) -> Vec<EnvironmentId> {
        let surplus = self.ahead(revision).saturating_sub(self.wanted(revision));
        let line = self.revisions.get(revision);
        line.map_or_else(Vec::new, |line| line.idle_ahead.iter().take(surplus).copied().collect())
    }

    /// Whether an environment that was started ahead is one too many, and nobody waits for it.
    pub(super) fn is_surplus(&self, id: EnvironmentId) -> bool {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.origin == Origin::Ahead) else {
            return false;
        };
        let line = self.revisions.get(&entry.revision);
        line.is_none_or(|line| line.waiting.is_empty()) && self.ahead(&entry.revision) > self.wanted(&entry.revision)
    }

    /// An environment has been released; for the first time it is news.
    pub(super) fn came_up(&mut self, id: EnvironmentId) {
        let entry = self.entries.get_mut(&id).expect("the caller has seen it");
        if std::mem::replace(&mut entry.is_up, true) || entry.origin == Origin::Event {
            return;
        }
        self.changes += 1;
        let revision = Arc::clone(&entry.revision);
        let line = self.revision_of(id);
        line.ahead_starting -= 1;
        line.ahead_ready += 1;
        if let Some(target) = self.targets.get_mut(&revision) {
            target.failure = None;
        }
    }

    /// An environment takes no more events.
    pub(super) fn leaves(&mut self, id: EnvironmentId) {
        let Some((Origin::Ahead, is_up)) = self.entries.get(&id).map(|entry| (entry.origin, entry.is_up)) else {
            return;
        };
        self.changes += 1;
        let line = self.revision_of(id);
        if is_up {
            line.ahead_ready -= 1;
        } else {
            line.ahead_starting -= 1;
        }
    }

    pub(super) fn count_use_of(&mut self, id: EnvironmentId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.has_served = true;
            let (revision, origin) = (Arc::clone(&entry.revision), entry.origin);
            self.count_use(&revision, origin);
        }
    }

    pub(super) fn count_use(&mut self, revision: &str, origin: Origin) {
        // Where nothing is started ahead nothing is looked up.
        if self.targets.is_empty() {
            return;
        }
        if let Some(target) = self.targets.get_mut(revision) {
            match origin {
                Origin::Ahead => target.invocations += 1,
                Origin::Event => target.spillovers += 1,
            }
        }
    }
}

/// How long after the n-th failure in a row nothing is started.
fn pause_after(failures: u32) -> Duration {
    let factor = 1 << failures.saturating_sub(1).min(16);
    (PAUSE_FIRST * factor).min(PAUSE_MAX)
}

fn count(environments: usize) -> u32 {
    u32::try_from(environments).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
