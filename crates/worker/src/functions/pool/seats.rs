//! Environments that take several events at once.
//!
//! An event goes first to a busy environment that has a free seat, the oldest of them, and only then to an idle one: so
//! few environments are full rather than many half empty, and the younger ones become empty and can end. One that is still starting takes no second event, as
//! it may fail. An environment that has given back its last seat settles and is released like any other.

use super::{EnvironmentId, Phase, Pool};

impl<H: Clone, J> Pool<H, J> {
    /// Says how many events an environment takes at once, before it serves the first.
    pub(crate) fn widen(&mut self, id: EnvironmentId, seats: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.seats = seats.max(1);
        }
    }

    /// One of an environment's events is over. True when it was the last: it settles, and takes no other until it is
    /// released.
    pub(crate) fn give_seat_back(&mut self, id: EnvironmentId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return true;
        };
        entry.taken = entry.taken.saturating_sub(1);
        if entry.taken == 0 {
            self.settling(id);
            return true;
        }
        if entry.phase == Phase::Busy {
            let revision = self.revision_of(id);
            if !revision.open.contains(&id) {
                revision.open.push(id);
            }
        }
        false
    }

    /// The environment that takes one more event of a revision.
    pub(super) fn take_seat(&mut self, revision: &str) -> Option<H> {
        let line = self.revisions.get_mut(revision)?;
        let id = *line.open.iter().min()?;
        let entry = self.entries.get_mut(&id).expect("what is open is known");
        entry.taken += 1;
        entry.used = self.clock;
        if entry.taken >= entry.seats {
            line.open.retain(|open| *open != id);
        }
        let handle = entry.handle.clone().expect("what is open was introduced");
        self.count_use_of(id);
        Some(handle)
    }

    /// Follows a change of phase: an environment that becomes busy has its first event.
    pub(super) fn open_seats(&mut self, id: EnvironmentId, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.seats > 1) else {
            return;
        };
        entry.taken = usize::from(phase == Phase::Busy);
        let revision = self.revision_of(id);
        revision.open.retain(|open| *open != id);
        if phase == Phase::Busy {
            revision.open.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Demand, Limits, Next, Patience, Pool};
    use super::EnvironmentId;

    const DEMAND: Demand<'_> = Demand {
        revision: "one",
        arn: "arn",
        memory_mb: 128,
        patience: Patience::Some,
    };

    fn pool() -> Pool<&'static str, u32> {
        Pool::new(Limits {
            environments_max: 10,
            memory_mb_max: 10_000,
            starts_max: usize::MAX,
        })
    }

    fn start(pool: &mut Pool<&'static str, u32>, name: &'static str, seats: usize) -> EnvironmentId {
        let Choice::Start { id, .. } = pool.choose(DEMAND, 0) else {
            panic!("there is one already");
        };
        pool.introduce(id, name);
        pool.widen(id, seats);
        id
    }

    #[test]
    fn seats_fill_before_another_environment_starts() {
        let mut pool = pool();
        let first = start(&mut pool, "first", 3);
        pool.serving(first);
        assert_eq!(pool.choose(DEMAND, 1), Choice::Warm("first", 1));
        assert_eq!(pool.choose(DEMAND, 2), Choice::Warm("first", 2));
        let second = start(&mut pool, "second", 3);
        assert!(!pool.give_seat_back(first));
        assert_eq!(pool.choose(DEMAND, 3), Choice::Warm("first", 3));
        pool.serving(second);
        assert_eq!(pool.choose(DEMAND, 4), Choice::Warm("second", 4));
    }

    #[test]
    fn one_that_starts_takes_no_second_event() {
        let mut pool = pool();
        start(&mut pool, "first", 3);
        start(&mut pool, "second", 3);
    }

    #[test]
    fn the_last_seat_settles_it() {
        let mut pool = pool();
        let id = start(&mut pool, "first", 2);
        pool.serving(id);
        assert_eq!(pool.choose(DEMAND, 1), Choice::Warm("first", 1));
        assert!(!pool.give_seat_back(id));
        assert!(pool.give_seat_back(id));
        // It has just answered: the next event waits for it, and gets its first seat.
        assert!(matches!(pool.choose(DEMAND, 2), Choice::Wait(_)));
        assert_eq!(pool.release(id), Next::Serve(2));
        assert_eq!(pool.choose(DEMAND, 3), Choice::Warm("first", 3));
        assert!(!pool.give_seat_back(id));
        assert!(pool.give_seat_back(id));
        assert_eq!(pool.release(id), Next::Rest);
        assert_eq!(pool.choose(DEMAND, 4), Choice::Warm("first", 4));
        assert_eq!(pool.choose(DEMAND, 5), Choice::Warm("first", 5));
    }

    #[test]
    fn one_that_leaves_takes_nothing() {
        let mut pool = pool();
        let id = start(&mut pool, "first", 3);
        pool.serving(id);
        pool.leave(id);
        assert!(pool.give_seat_back(id));
        start(&mut pool, "second", 3);
        pool.remove(id);
    }

    #[test]
    fn an_ordinary_one_takes_one() {
        let mut pool = pool();
        let id = start(&mut pool, "first", 1);
        pool.serving(id);
        start(&mut pool, "second", 1);
        pool.settling(id);
        assert_eq!(pool.release(id), Next::Rest);
        assert_eq!(pool.choose(DEMAND, 4), Choice::Warm("first", 4));
    }
}
