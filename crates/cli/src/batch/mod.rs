//! A batch: a function is asked once for each line of an input, and each answer becomes a line of an output. Either may be
//! Parquet instead: the input's rows are lines then, and the output's lines rows (`parquet`).
//!
//! ```text
//! INPUT ─ pieces ─> Lines ─> record N ── known to the journal? ── yes: compare the line's hash, go on
//!                                               │ no
//!                                               v
//!                        at most `concurrency` calls at once, with retries ─> Journal: one write for each result
//!                                                                                │
//! OUTPUT <─ sink (appears when it is whole) <─ InOrder: results by their number ─┘
//! ```
//! The journal is the truth: a result stands from the moment it is written there, and a record that has none is asked
//! (again). So a run that was killed anywhere goes on, and no record is lost, or twice in the output; at most the calls
//! that were under way are made twice. Records finish in any order, but none is begun more than [`WINDOW_RECORDS`] after
//! the oldest that is not finished: what must be remembered of the order is bounded, and memory is flat for any input.
//!
//! Read first: `journal` (the file's format), `run` (the machine), `caller` (what is tried again, what ends a batch).

mod caller;
mod in_order;
mod input;
mod journal;
mod line;
mod parquet;
mod place;
mod run;
mod section;
mod sink;
mod summary;

pub(crate) use caller::Caller;
pub(crate) use input::Input;
pub(crate) use journal::{Journal, Task};
pub(crate) use parquet::{print_rows, spool};
pub(crate) use place::Place;
pub(crate) use run::Batch;
pub(crate) use sink::{Sink, beside};
pub(crate) use summary::Summary;

/// How far the newest record under way may be from the oldest. What is kept of each finished one between them is its
/// place in the journal, some 60 bytes: 4 MiB in all. A record of 15 minutes, Lambda's longest, is overtaken by this
/// many only above 70 a second.
pub(crate) const WINDOW_RECORDS: u64 = 65_536;

/// A line of the input that is not blank, or a row.
#[derive(Debug)]
pub(crate) struct Record {
    /// Counted from 0, without blank lines.
    pub(crate) number: u64,
    /// The line's, or the row's, number in the input, from 1.
    pub(crate) line: u64,
    /// Of the line's bytes, without what ends it.
    pub(crate) hash: InputHash,
    /// None for a line that is longer than a function takes.
    pub(crate) event: Option<bytes::Bytes>,
}

/// The first 64 bits of a line's BLAKE3: tells that an input is another one, and proves nothing to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputHash(u64);

impl InputHash {
    fn of(hasher: &blake3::Hasher) -> Self {
        let bytes = hasher.finalize();
        let first = bytes.as_bytes().first_chunk().expect("BLAKE3 has 32 bytes");
        Self(u64::from_le_bytes(*first))
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) hash: InputHash,
    pub(crate) facts: Facts,
    /// A JSON object on one line, as it stands in the output.
    pub(crate) result: Vec<u8>,
}

/// What is counted of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) is_error: bool,
    /// As REPORT says it; 0 where nothing ran, or the function's log does not say.
    pub(crate) billed_ms: u64,
    pub(crate) memory_mb: u64,
    /// Calls made for it, in the run that got the answer.
    pub(crate) tries: u32,
}
