//! How many environments are on their way up for events at once.
//!
//! A start needs a processor for most of its time. More of them than processors finish no earlier, and all of them
//! finish late: of 256 Python functions that started at once on two cores many took longer than Lambda gives them to
//! initialise. So an event beyond a few starts waits in the line of its revision: for an environment that has become
//! free meanwhile, or for its turn to start one: that of the function with the fewest starts under way, and of its events
//! the one that came first. So a function with a thousand events holds up no other that has one.
//!
//! A start that only waits (it downloads a model, say) must not hold up others, so each counts for [`START_COUNTS`] at most.

use super::{Demand, EnvironmentId, Pool, WaitId, Waiting};
use std::num::NonZero;
use std::time::Duration;

/// How long a start counts, at most. A start that has the processor is up after one or two seconds with large libraries.
pub(crate) const START_COUNTS: Duration = Duration::from_secs(3);

/// Starts at once: enough for the pauses in which one reads its image or its sandbox is made.
pub(crate) fn starts_max() -> usize {
    4 * std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl<H: Clone, J> Pool<H, J> {
    /// Puts an event into the line of its revision until there is an environment, or room to start one.
    pub(super) fn wait_to_start(&mut self, demand: Demand<'_>, job: J) {
        let id = WaitId(self.clock);
        let revision = self.line(demand);
        let line = self.revisions.get_mut(&revision).expect("it has a line now");
        line.waiting.push_back(Waiting {
            id,
            job,
            is_to_start: true,
        });
    }

    /// The event whose turn it is to start an environment, when there is one.
    pub(crate) fn take_startable(&mut self) -> Option<J> {
        if self.starts >= self.limits.starts_max {
            return None;
        }
        let first = |waiting: &Waiting<J>| waiting.is_to_start.then_some(waiting.id);
        let lines = self.revisions.iter();
        let firsts = lines.filter_map(|(revision, line)| Some((line.waiting.iter().find_map(first)?, revision, line)));
        let entries = self.entries.values();
        let starts: Vec<&str> = entries
            .filter(|entry| entry.is_start)
            .map(|entry| &*entry.arn)
            .collect();
        let starts_of = |arn: &str| starts.iter().filter(|start| **start == arn).count();
        let (id, revision, _) = firsts.min_by_key(|(id, _, line)| (starts_of(&line.arn), id.0))?;
        let revision = revision.clone();
        self.give_up_waiting(&revision, id)
    }

    /// A start counts no more, though it may go on.
    pub(crate) fn end_start(&mut self, id: EnvironmentId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.starts -= usize::from(std::mem::take(&mut entry.is_start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Limits, Next, Patience, Pool};
    use super::{Demand, EnvironmentId};

    fn demand(revision: &str) -> Demand<'_> {
        Demand {
            revision,
            arn: revision,
            memory_mb: 128,
            patience: Patience::None,
        }
    }

    fn pool(starts_max: usize) -> Pool<u64, &'static str> {
        Pool::new(Limits {
            environments_max: 100,
            memory_mb_max: u64::MAX,
            starts_max,
        })
    }

    fn started(pool: &mut Pool<u64, &'static str>, revision: &str, job: &'static str) -> EnvironmentId {
        let Choice::Start { id, .. } = pool.choose(demand(revision), job) else {
            panic!("{job} starts no environment");
        };
        pool.introduce(id, id.0);
        id
    }

    #[test]
    fn events_beyond_the_starts_wait_for_their_turn_in_order() {
        let mut pool = pool(2);
        let first = started(&mut pool, "a", "one");
        let second = started(&mut pool, "a", "two");
        assert_eq!(pool.choose(demand("a"), "three"), Choice::Queued);
        assert_eq!(pool.choose(demand("a"), "four"), Choice::Queued);
        assert_eq!(pool.take_startable(), None);
        pool.serving(first);
        assert_eq!(pool.take_startable(), Some("three"));
        started(&mut pool, "a", "three");
        assert_eq!(pool.take_startable(), None);
        pool.remove(second);
        assert_eq!(pool.take_startable(), Some("four"));
        assert_eq!(pool.take_startable(), None);
    }

    #[test]
    fn an_environment_that_becomes_free_serves_what_waits_to_start() {
        let mut pool = pool(1);
        let first = started(&mut pool, "a", "one");
        assert_eq!(pool.choose(demand("a"), "two"), Choice::Queued);
        pool.serving(first);
        pool.settling(first);
        assert_eq!(pool.release(first), Next::Serve("two"));
        assert_eq!(pool.take_startable(), None);
    }

    #[test]
    fn a_start_that_takes_long_holds_up_nobody() {
        let mut pool = pool(1);
        let slow = started(&mut pool, "a", "slow");
        assert_eq!(pool.choose(demand("b"), "quick"), Choice::Queued);
        pool.end_start(slow);
        assert_eq!(pool.take_startable(), Some("quick"));
        let quick = started(&mut pool, "b", "quick");
        assert_eq!(pool.choose(demand("c"), "next"), Choice::Queued);
        // The slow one gives back no second time what it has given back.
        pool.serving(slow);
        assert_eq!(pool.take_startable(), None);
        pool.serving(quick);
        assert_eq!(pool.take_startable(), Some("next"));
    }

    #[test]
    fn a_function_with_many_events_holds_up_no_other() {
        let mut pool = pool(2);
        let first = started(&mut pool, "a", "one");
        let second = started(&mut pool, "a", "two");
        assert_eq!(pool.choose(demand("a"), "three"), Choice::Queued);
        assert_eq!(pool.choose(demand("b"), "other"), Choice::Queued);
        pool.serving(first);
        assert_eq!(pool.take_startable(), Some("other"), "a has a start under way");
        started(&mut pool, "b", "other");
        pool.serving(second);
        assert_eq!(pool.take_startable(), Some("three"));
    }

    #[test]
    fn nothing_is_kept_of_a_revision_whose_only_event_was_given_up() {
        let mut pool = pool(1);
        let other = started(&mut pool, "a", "one");
        assert_eq!(pool.choose(demand("b"), "two"), Choice::Queued);
        pool.remove(other);
        assert_eq!(pool.take_startable(), Some("two"));
        assert!(pool.revisions.is_empty());
    }
}
