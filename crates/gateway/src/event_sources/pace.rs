//! How many batches of one mapping run at once.
//!
//! It begins with five, as Lambda does, grows by one with each batch that was answered, and is halved when the function is
//! throttled: so it finds the function's own limit and does not stay above it.

/// Batches at once at first. Source: AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source
/// mappings".
const FIRST: u32 = 5;
/// Batches at once at most, where the mapping says nothing. Same source: 1,250 with the concurrency for it; here the
/// account's own limit is 1,000.
const MOST: u32 = 1_000;

/// How a batch went, as far as it decides the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The function answered, be it with an error.
    Answered,
    /// There was no room for it.
    Throttled,
    /// The platform failed, or the function cannot be invoked at all.
    Broken,
}

/// A limit that finds its place.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    most: u32,
    /// Verdicts in a row that were no answer.
    failures: u32,
}

impl Pace {
    pub(super) fn new(concurrency_max: Option<u32>) -> Self {
        let most = concurrency_max.unwrap_or(MOST).max(1);
        Self {
            limit: FIRST.min(most),
            most,
            failures: 0,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Failures in a row, which back-off counts by.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn apply(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Answered => {
                self.limit = (self.limit + 1).min(self.most);
                self.failures = 0;
            }
            Verdict::Throttled => {
                self.limit = (self.limit / 2).max(1);
                self.failures = self.failures.saturating_add(1);
            }
            Verdict::Broken => self.failures = self.failures.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_grows_slowly_and_falls_fast() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.limit(), 5);
        (0..3).for_each(|_| pace.apply(Verdict::Answered));
        assert_eq!(pace.limit(), 8);
        pace.apply(Verdict::Throttled);
        assert_eq!((pace.limit(), pace.failures()), (4, 1));
        (0..10).for_each(|_| pace.apply(Verdict::Throttled));
        assert_eq!((pace.limit(), pace.failures()), (1, 11));
        pace.apply(Verdict::Answered);
        assert_eq!((pace.limit(), pace.failures()), (2, 0));
        pace.apply(Verdict::Broken);
        assert_eq!((pace.limit(), pace.failures()), (2, 1));
    }

    #[test]
    fn a_maximum_holds() {
        let mut pace = Pace::new(Some(2));
        (0..10).for_each(|_| pace.apply(Verdict::Answered));
        assert_eq!(pace.limit(), 2);
        let mut pace = Pace::new(None);
        (0..2_000).for_each(|_| pace.apply(Verdict::Answered));
        assert_eq!(pace.limit(), 1_000);
    }
}
