//! When a keeper stops trying: a decision over its children's deaths and the clock.

use super::supervise::KeeperSettings;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The span over which all deaths are counted.
const SPAN: Duration = Duration::from_secs(60);

/// The deaths that still matter.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// Children that died, one after another, without ever being ready.
    unready: u32,
    /// All deaths within the last [`SPAN`], oldest first: a child that is killed by what it serves becomes ready each
    /// time, and its readers would wait for ever.
    recent: VecDeque<Instant>,
}

impl Deaths {
    /// Counts a death. True when there have been too many.
    pub(super) fn are_too_many(&mut self, was_ready: bool, now: Instant, settings: &KeeperSettings) -> bool {
        self.unready = if was_ready { 0 } else { self.unready + 1 };
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|&death| now.duration_since(death) > SPAN)
        {
            self.recent.pop_front();
        }
        self.unready >= settings.unready_deaths_max || self.recent.len() > settings.deaths_per_minute_max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(deaths: &[(u64, bool)], expected: bool) {
        let settings = KeeperSettings {
            unready_deaths_max: 3,
            deaths_per_minute_max: 4,
            ..KeeperSettings::default()
        };
        let start = Instant::now();
        let mut counted = Deaths::default();
        let last = deaths
            .iter()
            .map(|&(second, ready)| counted.are_too_many(ready, start + Duration::from_secs(second), &settings))
            .last();
        assert_eq!(last, Some(expected));
    }

    #[test]
    fn deaths_count_in_a_row_when_unready_and_within_a_minute_always() {
        check(&[(0, false), (0, false)], false);
        check(&[(0, false), (0, false), (0, false)], true);
        check(&[(0, false), (0, false), (0, true), (0, false)], false);
        check(&[(0, true), (1, true), (2, true), (3, true)], false);
        check(&[(0, true), (1, true), (2, true), (3, true), (60, true)], true);
        check(&[(0, true), (1, true), (2, true), (3, true), (61, true)], false);
    }
}
