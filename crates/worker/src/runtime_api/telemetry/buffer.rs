//! Events on their way to one subscriber: what is kept, when it is sent, what is lost. No clock, no task.

use super::subscription::Buffering;
use bytes::Bytes;
use std::mem;

/// One batch that grows while the one before it is sent. What finds it full is lost, and counted.
#[derive(Debug)]
pub(super) struct Buffer {
    limits: Buffering,
    batch: Batch,
    lost: Lost,
}

/// Events that are sent together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) events: Vec<Bytes>,
    pub(super) bytes: usize,
}

/// What was lost since it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The batch's first: its time begins.
    First,
    /// One more.
    More,
    /// The batch is full with it.
    Full,
    /// Lost.
    Lost,
}

impl Buffer {
    pub(super) fn new(limits: Buffering) -> Self {
        Self {
            limits,
            batch: Batch::default(),
            lost: Lost::default(),
        }
    }

    pub(super) fn push(&mut self, event: Bytes) -> Kept {
        let is_first = self.batch.events.is_empty();
        // A single event may be larger than a batch; it goes alone.
        if self.is_full() || (!is_first && self.batch.bytes + event.len() > self.limits.bytes_max) {
            self.lose(1, event.len());
            return Kept::Lost;
        }
        self.batch.bytes += event.len();
        self.batch.events.push(event);
        match (self.is_full(), is_first) {
            (true, _) => Kept::Full,
            (false, true) => Kept::First,
            (false, false) => Kept::More,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.events.len() >= self.limits.items_max || self.batch.bytes >= self.limits.bytes_max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.events.is_empty()
    }

    /// What is to be sent now, and what to tell about losses before it.
    pub(super) fn take(&mut self) -> (Batch, Option<Lost>) {
        let lost = mem::take(&mut self.lost);
        (mem::take(&mut self.batch), (lost.records > 0).then_some(lost))
    }

    /// Counts a batch that could not be sent.
    pub(super) fn lose(&mut self, records: usize, bytes: usize) {
        self.lost.records += records as u64;
        self.lost.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn buffer(items_max: usize, bytes_max: usize) -> Buffer {
        Buffer::new(Buffering {
            items_max,
            bytes_max,
            timeout: Duration::from_secs(1),
        })
    }

    fn check(items_max: usize, bytes_max: usize, pushes: &[(usize, Kept)], lost: Option<Lost>) {
        let mut buffer = buffer(items_max, bytes_max);
        for (step, (bytes, expected)) in pushes.iter().enumerate() {
            assert_eq!(buffer.push(Bytes::from(vec![b'x'; *bytes])), *expected, "step {step}");
        }
        assert_eq!(buffer.take().1, lost);
        assert!(buffer.is_empty());
        assert_eq!(buffer.take(), (Batch::default(), None));
    }

    #[test]
    fn a_batch_ends_with_its_items_or_its_bytes() {
        let lost = |records, bytes| Some(Lost { records, bytes });
        check(
            3,
            100,
            &[(1, Kept::First), (1, Kept::More), (1, Kept::Full), (7, Kept::Lost)],
            lost(1, 7),
        );
        check(
            9,
            10,
            &[(4, Kept::First), (6, Kept::Full), (1, Kept::Lost), (2, Kept::Lost)],
            lost(2, 3),
        );
        check(9, 10, &[(4, Kept::First), (7, Kept::Lost), (5, Kept::More)], lost(1, 7));
        check(9, 10, &[(50, Kept::Full)], None);
    }
}
