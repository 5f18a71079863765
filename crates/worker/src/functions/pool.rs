//! Which environment serves an event.
//!
//! Plain data and decisions: no task, no clock, no waiting. `dispatch` holds it in a mutex that is never held across
//! an `.await`, and does what it decides.
//!
//! Of the idle environments of a revision the one used last is chosen (the others grow old together and end). When
//! none is idle but one has just answered, the event waits a moment for it: the runtime is about to ask for its next
//! event, and a caller that invokes again at once would otherwise start an environment for nothing. When no room is
//! left, idle environments of other revisions make place, those used longest ago first.
//!
//! Environments of functions that ask for it take several events at once: see `seats`. How many start at once: `starts`.
//!
//! Environments that were started ahead serve first and make place for nobody; `provisioned` says how many there are.

mod provisioned;
mod seats;
mod starts;

pub(crate) use provisioned::{Death, Fresh};
pub(crate) use starts::{START_COUNTS, starts_max};

use provisioned::Target;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Revisions that are remembered as retired, so that an environment which an old lease starts serves once and ends.
/// Any number is enough that outlives the requests under way; one costs less than 100 bytes.
const RETIRED_MAX: usize = 1024;

/// Names an environment on this machine, from its first moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EnvironmentId(pub(crate) u64);

/// Names an event that waits for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId(u64);

/// What an event needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) revision: &'a str,
    pub(crate) arn: &'a str,
    pub(crate) memory_mb: u32,
    pub(crate) patience: Patience,
}

/// Whether an event may wait for an environment that has just answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Some,
    None,
}

/// How much a machine takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) environments_max: usize,
    pub(crate) memory_mb_max: u64,
    /// Environments on their way up for an event at once; see `starts`.
    pub(crate) starts_max: usize,
}

/// Who serves an event. `H` is a handle of an environment, `J` the event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice<H, J> {
    /// An environment that was idle.
    Warm(H, J),
    /// A new one; those of `evicted` are to end first.
    Start { id: EnvironmentId, evicted: Vec<H>, job: J },
    /// It was put in line; [`Pool::give_up_waiting`] takes it out.
    Wait(WaitId),
    /// It was put in line, because many environments are starting; [`Pool::take_startable`] gives it when it is its turn.
    Queued,
    /// No room.
    Full(J, Shortage),
    /// The worker is ending.
    Closed(J),
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shortage {
    #[error("{max} environments run, the most that this machine takes (setting: environments)")]
    Environments { max: usize },
    #[error("{needed} MB are needed and {used} of {max} MB are promised to environments that run (setting: memory)")]
    Memory { needed: u64, used: u64, max: u64 },
}

/// What an environment does after an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<J> {
    /// Serves the event that waited for it.
    Serve(J),
    /// Waits.
    Rest,
    /// Ends: its revision is retired, or the worker is ending.
    Stop,
}

/// How many environments there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) idle: u64,
    pub(crate) busy: u64,
    pub(crate) starting: u64,
    pub(crate) started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Busy,
    /// It has answered, and will ask for the next event.
    Settling,
    Idle,
    /// It takes no more events, and counts no more against the limits.
    Leaving,
}

/// Why an environment was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An event waited for it.
    Event,
    /// It is to be there before events are, and stays.
    Ahead,
}

#[derive(Debug)]
struct Entry<H> {
    handle: Option<H>,
    origin: Origin,
    /// It counts among the starts.
    is_start: bool,
    /// It has been released once.
    is_up: bool,
    /// It has had an event after it came up.
    has_served: bool,
    /// Events that it takes at once; 1 of most.
    seats: usize,
    /// Events that it has, where it takes several.
    taken: usize,
    revision: Arc<str>,
    arn: String,
    memory_mb: u64,
    phase: Phase,
    /// Counts up with each use of any environment.
    used: u64,
    retired: bool,
}

#[derive(Debug)]
struct Revision<J> {
    /// Whose it is.
    arn: String,
    /// Used last at the end.
    idle: Vec<EnvironmentId>,
    /// The same of those that were started ahead.
    idle_ahead: Vec<EnvironmentId>,
    /// Started ahead and not leaving: on their way up, and up.
    ahead_starting: usize,
    ahead_ready: usize,
    settling: usize,
    /// Busy ones that take another event beside those that they have.
    open: Vec<EnvironmentId>,
    waiting: VecDeque<Waiting<J>>,
    environments: usize,
}

/// An event in line.
#[derive(Debug)]
struct Waiting<J> {
    id: WaitId,
    job: J,
    /// It waits for its turn to start an environment, and not only for one that has just answered.
    is_to_start: bool,
}

/// The environments of a machine.
#[derive(Debug)]
pub(crate) struct Pool<H, J> {
    limits: Limits,
    entries: HashMap<EnvironmentId, Entry<H>>,
    revisions: HashMap<Arc<str>, Revision<J>>,
    retired: VecDeque<Arc<str>>,
    /// By revision.
    targets: HashMap<Arc<str>, Target>,
    /// Counts what [`Pool::provisioned`] would say otherwise than before, but for what comes and goes with events.
    changes: u64,
    /// Of all entries that are not leaving.
    memory_mb: u64,
    count: usize,
    /// Environments on their way up for an event that count against [`Limits::starts_max`].
    starts: usize,
    started: u64,
    clock: u64,
    is_closed: bool,
}

impl<H: Clone, J> Pool<H, J> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            revisions: HashMap::new(),
            retired: VecDeque::new(),
            targets: HashMap::new(),
            changes: 1,
            memory_mb: 0,
            count: 0,
            starts: 0,
            started: 0,
            clock: 0,
            is_closed: false,
        }
    }

    /// Decides who serves an event. A new environment is counted from now on; its handle follows by
    /// [`Pool::introduce`].
    pub(crate) fn choose(&mut self, demand: Demand<'_>, job: J) -> Choice<H, J> {
        if self.is_closed {
            return Choice::Closed(job);
        }
        self.clock += 1;
        if let Some(handle) = self.take_seat(demand.revision) {
            return Choice::Warm(handle, job);
        }
        if let Some(revision) = self.revisions.get_mut(demand.revision) {
            if let Some(id) = revision.idle_ahead.pop().or_else(|| revision.idle.pop()) {
                let entry = self.entries.get_mut(&id).expect("what is idle is known");
                entry.phase = Phase::Busy;
                entry.has_served = true;
                entry.used = self.clock;
                let handle = entry.handle.clone().expect("what is idle was introduced");
                let origin = entry.origin;
                self.count_use(demand.revision, origin);
                self.open_seats(id, Phase::Busy);
                return Choice::Warm(handle, job);
            }
            if demand.patience == Patience::Some && revision.waiting.len() < revision.settling {
                let id = WaitId(self.clock);
                revision.waiting.push_back(Waiting {
                    id,
                    job,
                    is_to_start: false,
                });
                return Choice::Wait(id);
            }
        }
        if self.starts >= self.limits.starts_max {
            self.wait_to_start(demand, job);
            return Choice::Queued;
        }
        match self.make_room(u64::from(demand.memory_mb)) {
            Ok(evicted) => {
                self.count_use(demand.revision, Origin::Event);
                Choice::Start {
                    id: self.add(demand, Origin::Event),
                    evicted,
                    job,
                }
            }
            Err(shortage) => Choice::Full(job, shortage),
        }
    }

    /// A new environment that serves no event, with those that are to end first; without a shortage, the worker is ending.
    pub(crate) fn start_beside(&mut self, demand: Demand<'_>) -> Result<(EnvironmentId, Vec<H>), Option<Shortage>> {
        if self.is_closed {
            return Err(None);
        }
        self.clock += 1;
        let evicted = self.make_room(u64::from(demand.memory_mb)).map_err(Some)?;
        let id = self.add(demand, Origin::Event);
        // Nobody waits for it, and it may initialise for minutes.
        self.end_start(id);
        Ok((id, evicted))
    }

    /// Says how to reach an environment that [`Choice::Start`] named.
    pub(crate) fn introduce(&mut self, id: EnvironmentId, handle: H) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.handle = Some(handle);
        }
    }

    /// The environment has initialised and serves the event that it was started for.
    pub(crate) fn serving(&mut self, id: EnvironmentId) {
        self.set_phase(id, Phase::Busy);
    }

    /// The environment has answered.
    pub(crate) fn settling(&mut self, id: EnvironmentId) {
        self.set_phase(id, Phase::Settling);
    }

    /// The environment can take another event.
    pub(crate) fn release(&mut self, id: EnvironmentId) -> Next<J> {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Next::Stop;
        };
        if entry.retired || self.is_closed || self.is_surplus(id) {
            self.leave(id);
            return Next::Stop;
        }
        let entry = self.entries.get_mut(&id).expect("it was found above");
        entry.used = self.clock;
        self.set_phase(id, Phase::Idle);
        self.came_up(id);
        let revision = self.revision_of(id);
        if let Some(Waiting { job, .. }) = revision.waiting.pop_front() {
            self.set_phase(id, Phase::Busy);
            self.count_use_of(id);
            return Next::Serve(job);
        }
        Next::Rest
    }

    /// The environment wants to end, or ends anyway. `false` when it was idle no more: an event is on its way to it.
    pub(crate) fn leave_if_idle(&mut self, id: EnvironmentId) -> bool {
        let is_idle = self.entries.get(&id).is_some_and(|entry| entry.phase == Phase::Idle);
        if is_idle {
            self.leave(id);
        }
        is_idle
    }

    /// The environment takes no more events.
    pub(crate) fn leave(&mut self, id: EnvironmentId) {
        self.set_phase(id, Phase::Leaving);
    }

    /// Nothing is left of the environment.
    pub(crate) fn remove(&mut self, id: EnvironmentId) {
        self.leave(id);
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if let Some(revision) = self.revisions.get_mut(&entry.revision) {
            revision.environments -= 1;
            if revision.environments == 0 && revision.waiting.is_empty() {
                self.revisions.remove(&entry.revision);
            }
        }
    }

    /// Takes an event out of the line; `None` when it is being served.
    pub(crate) fn give_up_waiting(&mut self, revision: &str, id: WaitId) -> Option<J> {
        let entry = self.revisions.get_mut(revision)?;
        let place = entry.waiting.iter().position(|waiting| waiting.id == id)?;
        let job = entry.waiting.remove(place).map(|waiting| waiting.job);
        if entry.environments == 0 && entry.waiting.is_empty() {
            self.revisions.remove(revision);
        }
        job
    }

    /// Retires a function's revisions but some. Gives the environments that are to end now; busy ones end when they
    /// are released.
    pub(crate) fn retire(&mut self, arn: &str, kept: &[String]) -> Vec<H> {
        self.retired
            .retain(|revision| !kept.iter().any(|kept| **kept == **revision));
        let ids: Vec<EnvironmentId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.arn == arn && !kept.iter().any(|kept| **kept == *entry.revision))
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            let entry = self.entries.get_mut(id).expect("it was found above");
            entry.retired = true;
            let revision = Arc::clone(&entry.revision);
            self.remember_retired(revision);
        }
        self.end_idle(ids)
    }

    /// Takes no more events. Gives the environments that are to end now.
    pub(crate) fn close(&mut self) -> Vec<H> {
        self.is_closed = true;
        self.end_idle(self.entries.keys().copied().collect())
    }

    /// All events that wait; for an ending worker.
    pub(crate) fn take_waiting(&mut self) -> Vec<J> {
        let lines = self.revisions.values_mut();
        lines
            .flat_map(|revision| revision.waiting.drain(..))
            .map(|waiting| waiting.job)
            .collect()
    }

    /// All environments.
    pub(crate) fn handles(&self) -> Vec<H> {
        self.entries.values().filter_map(|entry| entry.handle.clone()).collect()
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            started: self.started,
            ..Counts::default()
        };
        for entry in self.entries.values() {
            match entry.phase {
                Phase::Starting => counts.starting += 1,
                Phase::Busy | Phase::Settling => counts.busy += 1,
                Phase::Idle => counts.idle += 1,
                Phase::Leaving => {}
            }
        }
        counts
    }

    fn add(&mut self, demand: Demand<'_>, origin: Origin) -> EnvironmentId {
        self.started += 1;
        let id = EnvironmentId(self.started);
        let revision = self.line(demand);
        let line = self.revisions.get_mut(&revision).expect("it has a line now");
        line.environments += 1;
        line.ahead_starting += usize::from(origin == Origin::Ahead);
        let entry = Entry {
            handle: None,
            origin,
            is_start: origin == Origin::Event,
            is_up: false,
            has_served: false,
            seats: 1,
            taken: 0,
            arn: demand.arn.to_owned(),
            memory_mb: u64::from(demand.memory_mb),
            phase: Phase::Starting,
            used: self.clock,
            retired: self.retired.contains(&revision),
            revision,
        };
        self.memory_mb += entry.memory_mb;
        self.count += 1;
        self.starts += usize::from(entry.is_start);
        self.entries.insert(id, entry);
        id
    }

    /// The name of a revision, which has a line from now on.
    fn line(&mut self, demand: Demand<'_>) -> Arc<str> {
        if let Some((revision, _)) = self.revisions.get_key_value(demand.revision) {
            return Arc::clone(revision);
        }
        let revision: Arc<str> = demand.revision.into();
        let line = Revision {
            arn: demand.arn.to_owned(),
            idle: Vec::new(),
            idle_ahead: Vec::new(),
            ahead_starting: 0,
            ahead_ready: 0,
            settling: 0,
            open: Vec::new(),
            waiting: VecDeque::new(),
            environments: 0,
        };
        self.revisions.insert(Arc::clone(&revision), line);
        revision
    }

    /// Lets idle environments go until there is room; gives them, or changes nothing when that is not enough.
    fn make_room(&mut self, memory_mb: u64) -> Result<Vec<H>, Shortage> {
        let Limits {
            environments_max,
            memory_mb_max,
            ..
        } = self.limits;
        let has_room =
            |count: usize, used: u64| count < environments_max && used.saturating_add(memory_mb) <= memory_mb_max;
        let (mut count, mut used) = (self.count, self.memory_mb);
        if has_room(count, used) {
            return Ok(Vec::new());
        }
        let mut idle: Vec<(u64, u64, EnvironmentId)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.phase == Phase::Idle && entry.origin == Origin::Event)
            .map(|(id, entry)| (entry.used, entry.memory_mb, *id))
            .collect();
        idle.sort_unstable();
        let mut leaving = Vec::new();
        for (_, memory_mb, id) in idle {
            (count, used) = (count - 1, used - memory_mb);
            leaving.push(id);
            if has_room(count, used) {
                return Ok(self.end_idle(leaving));
            }
        }
        Err(if count >= environments_max {
            Shortage::Environments { max: environments_max }
        } else {
            Shortage::Memory {
                needed: memory_mb,
                used,
                max: memory_mb_max,
            }
        })
    }

    fn end_idle(&mut self, ids: Vec<EnvironmentId>) -> Vec<H> {
        let mut ended = Vec::new();
        for id in ids {
            if self.leave_if_idle(id) {
                ended.extend(self.entries.get(&id).and_then(|entry| entry.handle.clone()));
            }
        }
        ended
    }

    fn remember_retired(&mut self, revision: Arc<str>) {
        if self.retired.contains(&revision) {
            return;
        }
        if self.retired.len() == RETIRED_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(revision);
    }

    fn revision_of(&mut self, id: EnvironmentId) -> &mut Revision<J> {
        let entry = self.entries.get(&id).expect("the caller has seen it");
        self.revisions
            .get_mut(&entry.revision)
            .expect("a revision lives as long as its environments")
    }

    /// The only place where a phase changes, so that stacks and sums follow it.
    fn set_phase(&mut self, id: EnvironmentId, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if phase != Phase::Starting {
            self.starts -= usize::from(std::mem::take(&mut entry.is_start));
        }
        let before = std::mem::replace(&mut entry.phase, phase);
        if before == Phase::Leaving {
            entry.phase = Phase::Leaving;
            return;
        }
        let (memory_mb, origin) = (entry.memory_mb, entry.origin);
        if phase == Phase::Leaving {
            self.memory_mb -= memory_mb;
            self.count -= 1;
            self.leaves(id);
        }
        let revision = self.revision_of(id);
        let idle = match origin {
            Origin::Event => &mut revision.idle,
            Origin::Ahead => &mut revision.idle_ahead,
        };
        match before {
            Phase::Idle => idle.retain(|idle| *idle != id),
            Phase::Settling => revision.settling -= 1,
            _ => {}
        }
        match phase {
            Phase::Idle => idle.push(id),
            Phase::Settling => revision.settling += 1,
            _ => {}
        }
        self.open_seats(id, phase);
    }
}

#[cfg(test)]
mod tests;
