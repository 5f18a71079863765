//! Permission to have something under way, in requests and in bytes; demand goes first.
//!
//! Two queues share one allowance. A permit is granted to the first demand if it fits; to the first prefetch only when
//! no demand waits and prefetches have not used up their part. Nobody overtakes within a queue, so a whole chunk is not
//! starved by small ones. The part that prefetches cannot have is what a demand finds free when it comes.
//!
//! Semaphores cannot say this: with two of them a prefetch that has passed its own stands before later demands in the
//! shared one.

use crate::Urgency;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// An amount of work under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) requests: usize,
    pub(crate) bytes: u64,
}

impl Amount {
    const fn fits(self, free: Self) -> bool {
        self.requests <= free.requests && self.bytes <= free.bytes
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            bytes: self.bytes + other.bytes,
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests - other.requests,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// What is under way and who waits, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) in_flight: Amount,
    pub(crate) waiting_demands: usize,
    pub(crate) waiting_prefetches: usize,
}

/// The allowance. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    limit: Amount,
    state: Arc<Mutex<State>>,
}

/// One piece of work's share; returned on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    cost: Amount,
    urgency: Urgency,
    /// `None` once the share has been taken back by hand.
    permits: Option<Permits>,
}

#[derive(Debug)]
struct State {
    free: Amount,
    /// What prefetches may still take; never more useful than `free`.
    free_for_prefetch: Amount,
    demands: VecDeque<Ticket>,
    prefetches: VecDeque<Ticket>,
}

/// One who waits. The receiver is gone when the waiter has given up.
#[derive(Debug)]
struct Ticket {
    cost: Amount,
    grant: oneshot::Sender<Permit>,
}

/// Prefetches take three quarters at most. A quarter kept is 8 requests of 32: at an answer of 20 ms a demand that finds
/// them busy waits 2.5 ms for the next on average.
const PREFETCH_NUMERATOR: usize = 3;
const PREFETCH_DENOMINATOR: usize = 4;

impl Permits {
    /// An allowance of at least two requests and twice the bytes of the largest.
    pub(crate) fn new(limit: Amount) -> Self {
        let for_prefetch = Amount {
            requests: limit.requests * PREFETCH_NUMERATOR / PREFETCH_DENOMINATOR,
            bytes: limit.bytes / PREFETCH_DENOMINATOR as u64 * PREFETCH_NUMERATOR as u64,
        };
        let state = State {
            free: limit,
            free_for_prefetch: for_prefetch,
            demands: VecDeque::new(),
            prefetches: VecDeque::new(),
        };
        Self {
            limit,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Waits for a permit of one request. More bytes than could ever be granted count as half of the limit.
    ///
    /// Dropping the future gives up the place, or the permit if it has just been granted.
    pub(crate) async fn acquire(&self, urgency: Urgency, bytes: u64) -> Permit {
        let cost = self.cost(bytes);
        let (grant, granted) = oneshot::channel();
        self.change(|state| state.queue(urgency).push_back(Ticket { cost, grant }));
        granted
            .await
            .expect("a ticket is dropped only when it is granted or its receiver is gone")
    }

    /// A permit of one request if it is free this moment, and nobody waits who would go first: for what may as well not
    /// be done.
    pub(crate) fn try_acquire(&self, urgency: Urgency, bytes: u64) -> Option<Permit> {
        let cost = self.cost(bytes);
        let mut state = self.lock();
        let is_free = !state.has_before(urgency) && state.admits(cost, urgency);
        is_free.then(|| {
            state.take(cost, urgency);
            Permit {
                cost,
                urgency,
                permits: Some(self.clone()),
            }
        })
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.lock();
        let waiting = |queue: &VecDeque<Ticket>| queue.iter().filter(|ticket| !ticket.grant.is_closed()).count();
        Usage {
            in_flight: self.limit.minus(state.free),
            waiting_demands: waiting(&state.demands),
            waiting_prefetches: waiting(&state.prefetches),
        }
    }

    fn cost(&self, bytes: u64) -> Amount {
        Amount {
            requests: 1,
            bytes: bytes.min(self.limit.bytes / 2),
        }
    }

    /// Changes the state, then grants what can be granted.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        while let Some((ticket, urgency)) = state.take_next() {
            let permit = Permit {
                cost: ticket.cost,
                urgency,
                permits: Some(self.clone()),
            };
            if let Err(mut refused) = ticket.grant.send(permit) {
                // The waiter gave up this very moment. Taken back by hand: dropping the permit would lock again.
                refused.permits = None;
                state.give_back(ticket.cost, urgency);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts are changed in one step each, so a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn queue(&mut self, urgency: Urgency) -> &mut VecDeque<Ticket> {
        match urgency {
            Urgency::Demand => &mut self.demands,
            Urgency::Prefetch => &mut self.prefetches,
        }
    }

    /// Takes the next ticket and its cost; passes over those who gave up.
    fn take_next(&mut self) -> Option<(Ticket, Urgency)> {
        for urgency in [Urgency::Demand, Urgency::Prefetch] {
            let queue = self.queue(urgency);
            while queue.front().is_some_and(|ticket| ticket.grant.is_closed()) {
                queue.pop_front();
            }
            let Some(cost) = queue.front().map(|ticket| ticket.cost) else {
                continue;
            };
            if !self.admits(cost, urgency) {
                return None;
            }
            self.take(cost, urgency);
            return Some((self.queue(urgency).pop_front()?, urgency));
        }
        None
    }

    /// Whether somebody waits who goes before a newcomer.
    fn has_before(&self, urgency: Urgency) -> bool {
        let waits = |queue: &VecDeque<Ticket>| queue.iter().any(|ticket| !ticket.grant.is_closed());
        waits(&self.demands) || (urgency == Urgency::Prefetch && waits(&self.prefetches))
    }

    fn admits(&self, cost: Amount, urgency: Urgency) -> bool {
        let within_part = urgency == Urgency::Demand || cost.fits(self.free_for_prefetch);
        cost.fits(self.free) && within_part
    }

    fn take(&mut self, cost: Amount, urgency: Urgency) {
        self.free = self.free.minus(cost);
        if urgency == Urgency::Prefetch {
            self.free_for_prefetch = self.free_for_prefetch.minus(cost);
        }
    }

    const fn give_back(&mut self, cost: Amount, urgency: Urgency) {
        self.free = self.free.plus(cost);
        if matches!(urgency, Urgency::Prefetch) {
            self.free_for_prefetch = self.free_for_prefetch.plus(cost);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = self.permits.take() {
            permits.change(|state| state.give_back(self.cost, self.urgency));
        }
    }
}

#[cfg(test)]
mod tests;
