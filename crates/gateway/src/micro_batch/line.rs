//! When the requests of one function go as a list.
//!
//! Plain data and decisions: no task, no clock, no waiting.
//!
//! A request goes at once when no list is under way and requests have lately come one by one: so nobody waits for
//! nothing. While a list is under way, and for a moment after a list of several, requests are gathered. They go when
//! there are as many as the handler takes, when the next would make the list too long, when the first of them has
//! waited long enough, or when a list has ended, for then an environment is free.

use control::Batching;
use std::time::{Duration, Instant};

/// Longest list, bytes: the largest event of an invocation, 6 MiB. A single event may be as large by itself, and its
/// list then has two bytes more, well within what Lambda allows around it (100 bytes).
const LIST_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Requests on their way into lists. `T` is a request.
#[derive(Debug)]
pub(super) struct Line<T> {
    waiting: Vec<T>,
    /// Of the list as it would be: events, commas, brackets.
    bytes: usize,
    under_way: usize,
    /// Until then requests are gathered even if nothing is under way.
    crowded_until: Option<Instant>,
    /// Counts lists, so that an alarm knows whether its own has gone.
    number: u64,
}

/// What follows from a request that has joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined<T> {
    /// A list that goes now; with or without the new request.
    pub(super) ready: Option<Vec<T>>,
    /// The new request is the first of a list: [`Line::called`] with this number after the wait.
    pub(super) alarm: Option<u64>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            bytes: 0,
            under_way: 0,
            crowded_until: None,
            number: 0,
        }
    }
}

impl<T> Line<T> {
    pub(super) fn join(&mut self, item: T, bytes: usize, now: Instant, batching: &Batching) -> Joined<T> {
        let is_too_long = !self.waiting.is_empty() && self.bytes + bytes + 1 > LIST_BYTES_MAX;
        let ready = if is_too_long { self.take() } else { None };
        self.waiting.push(item);
        self.bytes += bytes + 1;
        let is_full = self.waiting.len() >= usize::try_from(batching.events_max).unwrap_or(usize::MAX);
        let is_crowded = self.crowded_until.is_some_and(|until| now < until);
        if is_full || self.under_way == 0 && !is_crowded {
            // A list that has become too long leaves one request behind, and itself under way: both cannot be.
            return Joined {
                ready: ready.or_else(|| self.take()),
                alarm: None,
            };
        }
        Joined {
            ready,
            alarm: (self.waiting.len() == 1).then_some(self.number),
        }
    }

    /// The first request of a list has waited long enough. Nothing when that list has gone.
    pub(super) fn called(&mut self, number: u64) -> Option<Vec<T>> {
        if self.number == number { self.take() } else { None }
    }

    /// A list of so many events has ended. Gives the one that goes next.
    pub(super) fn ended(&mut self, events: usize, now: Instant, wait: Duration) -> Option<Vec<T>> {
        self.under_way = self.under_way.saturating_sub(1);
        self.crowded_until = (events > 1).then(|| now + wait);
        self.take()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }

    fn take(&mut self) -> Option<Vec<T>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.number += 1;
        self.under_way += 1;
        self.bytes = 0;
        Some(std::mem::take(&mut self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(5);

    fn batching(events_max: u32) -> Batching {
        Batching { events_max, wait: WAIT }
    }

    fn goes(items: &[u32]) -> Joined<u32> {
        Joined {
            ready: Some(items.to_vec()),
            alarm: None,
        }
    }

    fn waits(alarm: Option<u64>) -> Joined<u32> {
        Joined { ready: None, alarm }
    }

    #[test]
    fn one_by_one_nobody_waits() {
        let (mut line, now) = (Line::default(), Instant::now());
        for item in 0..5 {
            assert_eq!(line.join(item, 10, now, &batching(8)), goes(&[item]));
            assert_eq!(line.ended(1, now, WAIT), None);
        }
        assert!(line.is_idle());
    }

    #[test]
    fn what_comes_while_a_list_runs_is_gathered_until_it_ends() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert_eq!(line.join(0, 10, now, &batching(8)), goes(&[0]));
        assert_eq!(line.join(1, 10, now, &batching(8)), waits(Some(1)));
        assert_eq!(line.join(2, 10, now, &batching(8)), waits(None));
        assert_eq!(line.ended(1, now, WAIT), Some(vec![1, 2]));
        assert_eq!(line.called(1), None, "it has gone");
    }

    #[test]
    fn nobody_waits_longer_than_the_wait() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.join(0, 10, now, &batching(8));
        line.join(1, 10, now, &batching(8));
        line.join(2, 10, now, &batching(8));
        assert_eq!(line.called(1), Some(vec![1, 2]));
        assert_eq!(
            line.join(3, 10, now, &batching(8)),
            waits(Some(2)),
            "two lists are under way"
        );
        assert_eq!(line.called(2), Some(vec![3]), "a list of one");
    }

    #[test]
    fn a_full_list_goes_at_once() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.join(0, 10, now, &batching(3));
        line.join(1, 10, now, &batching(3));
        line.join(2, 10, now, &batching(3));
        assert_eq!(line.join(3, 10, now, &batching(3)), goes(&[1, 2, 3]));
        assert_eq!(line.join(4, 10, now, &batching(1)), goes(&[4]));
    }

    #[test]
    fn a_list_is_no_longer_than_an_event_may_be() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.join(0, 10, now, &batching(8));
        line.join(1, LIST_BYTES_MAX / 2, now, &batching(8));
        let joined = line.join(2, LIST_BYTES_MAX / 2, now, &batching(8));
        let expected = Joined {
            ready: Some(vec![1]),
            alarm: Some(2),
        };
        assert_eq!(joined, expected);
        assert_eq!(line.called(2), Some(vec![2]));
    }

    #[test]
    fn after_a_list_of_several_the_next_is_gathered_from_its_beginning() {
        let (mut line, begin) = (Line::default(), Instant::now());
        line.join(0, 10, begin, &batching(8));
        line.join(1, 10, begin, &batching(8));
        line.join(2, 10, begin, &batching(8));
        line.ended(1, begin, WAIT);
        assert_eq!(line.ended(2, begin, WAIT), None);
        assert_eq!(line.join(3, 10, begin + WAIT / 2, &batching(8)), waits(Some(2)));
        assert_eq!(line.called(2), Some(vec![3]));
        line.ended(1, begin, WAIT);
        assert_eq!(
            line.join(4, 10, begin, &batching(8)),
            goes(&[4]),
            "they come one by one again"
        );
        line.ended(2, begin, WAIT);
        assert_eq!(
            line.join(5, 10, begin + WAIT, &batching(8)),
            goes(&[5]),
            "the moment is over"
        );
    }
}
