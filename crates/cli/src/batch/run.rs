//! The machine of a batch: one loop that waits for a line or an answer, and plain functions that handle them.

use super::caller::Caller;
use super::in_order::InOrder;
use super::{Answer, Input, Journal, Record, Sink, Summary, WINDOW_RECORDS};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// What a batch is made from.
pub(crate) struct Batch {
    input: Input,
    journal: Journal,
    caller: Arc<Caller>,
    concurrency: usize,
    progress: Arc<Progress>,
    /// What earlier runs left, in the input's order.
    earlier: InOrder,
    /// Numbers of records that are being asked.
    asking: BTreeSet<u64>,
    calls: JoinSet<Result<Answer>>,
    /// Records of the input, as far as it was read.
    records: u64,
    is_read: bool,
}

/// How far a batch is, for whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) records: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// An output that is written while the batch runs.
struct Live {
    sink: Sink,
    results: InOrder,
    next: u64,
    summary: Summary,
}

enum Event {
    Line(Option<Record>),
    Answer(Answer),
}

impl Batch {
    pub(crate) fn new(input: Input, journal: Journal, caller: Arc<Caller>, concurrency: usize) -> Self {
        Self {
            earlier: journal.earlier(),
            input,
            journal,
            caller,
            concurrency,
            progress: Arc::default(),
            asking: BTreeSet::new(),
            calls: JoinSet::new(),
            records: 0,
            is_read: false,
        }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Counts the bytes of the input that were read.
    pub(crate) fn read(&self) -> Arc<AtomicU64> {
        self.input.counter()
    }

    /// The input's size, 0 where nobody knows.
    pub(crate) const fn input_bytes(&self) -> u64 {
        self.input.size()
    }

    /// Asks all records, then gives the journal, which has every result.
    pub(crate) async fn run(mut self) -> Result<Finished> {
        while let Some(event) = self.event().await? {
            self.apply(event)?;
        }
        self.end()
    }

    /// The same, but each result is written as soon as all before it are.
    pub(crate) async fn run_live(mut self, sink: Sink) -> Result<Summary> {
        let mut live = Live {
            sink,
            results: self.journal.all(),
            next: 0,
            summary: Summary::default(),
        };
        while let Some(event) = self.event().await? {
            self.apply(event)?;
            live.write().await?;
        }
        self.end()?;
        live.sink.finish().await?;
        Ok(live.summary)
    }

    async fn event(&mut self) -> Result<Option<Event>> {
        let has_room = self.has_room();
        tokio::select! {
            line = self.input.next(), if has_room => Ok(Some(Event::Line(line?))),
            Some(done) = self.calls.join_next() => {
                let answer = done.context("a call broke off: this is a bug of lambent")?;
                Ok(Some(Event::Answer(answer.context("the batch stops; run it again to go on where it was")?)))
            }
            else => Ok(None),
        }
    }

    fn has_room(&self) -> bool {
        let oldest = self.asking.first().copied().unwrap_or(self.records);
        !self.is_read && self.calls.len() < self.concurrency && self.records - oldest < WINDOW_RECORDS
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Line(None) => self.is_read = true,
            Event::Line(Some(record)) => {
                self.records = record.number + 1;
                match self.earlier.take(record.number)? {
                    Some(answer) if answer.hash == record.hash => self.count(&answer),
                    Some(_) => bail!(
                        "line {} of the input is not the one that the journal has a result of: give the input that the \
                         batch was begun with, or remove the journal to begin anew",
                        record.line
                    ),
                    None => self.ask(record),
                }
            }
            Event::Answer(answer) => {
                self.asking.remove(&answer.number);
                self.journal.append(&answer)?;
                self.count(&answer);
            }
        }
        Ok(())
    }

    fn ask(&mut self, record: Record) {
        self.asking.insert(record.number);
        let caller = Arc::clone(&self.caller);
        self.calls.spawn(async move { caller.answer(record).await });
    }

    fn count(&self, answer: &Answer) {
        self.progress.records.fetch_add(1, Ordering::Relaxed);
        self.progress
            .errors
            .fetch_add(u64::from(answer.facts.is_error), Ordering::Relaxed);
    }

    fn end(mut self) -> Result<Finished> {
        if !self.earlier.is_at_end()? {
            bail!(
                "the input ends after {} records, and the journal has results of later ones: give the input that the batch \
                 was begun with, or remove the journal to begin anew",
                self.records
            );
        }
        Ok(Finished {
            journal: self.journal,
            records: self.records,
        })
    }
}

impl Live {
    /// Writes what can be written.
    async fn write(&mut self) -> Result<()> {
        while let Some(answer) = self.results.take(self.next)? {
            self.sink.write(&answer.result).await?;
            self.summary.count(answer.facts);
            self.next += 1;
        }
        self.results.forget()
    }
}

/// A batch all of whose results are in its journal.
pub(crate) struct Finished {
    journal: Journal,
    records: u64,
}

impl Finished {
    /// Writes the output; when it is there, the journal goes.
    pub(crate) async fn write(self, mut sink: Sink) -> Result<Summary> {
        let written = self.copy(&mut sink).await;
        let summary = match written {
            Ok(summary) => summary,
            Err(error) => {
                sink.abandon().await;
                return Err(error);
            }
        };
        sink.finish().await?;
        self.journal.remove()?;
        Ok(summary)
    }

    async fn copy(&self, sink: &mut Sink) -> Result<Summary> {
        let mut summary = Summary::default();
        let mut results = self.journal.all();
        for number in 0..self.records {
            let answer = results.take(number)?;
            let answer = answer.with_context(|| format!("record {number} has no result: this is a bug of lambent"))?;
            sink.write(&answer.result).await?;
            summary.count(answer.facts);
        }
        Ok(summary)
    }
}
