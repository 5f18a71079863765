//! Many writes of events, one commit.
//!
//! A durable commit costs a write that reaches the disk, whatever is in it. So whoever adds or ends an event hands the
//! write to one task and waits; the task commits all that has gathered while the commit before was under way, and then
//! answers. Alone, a write waits for nobody; with a thousand a second, a commit carries tens of them.
//!
//! A commit that fails is tried again write by write, so that one that the database refuses fails alone.

mod statements;

use super::NewEvent;
use crate::deliveries::NewDelivery;
use crate::{Control, ControlError, Inner};
use statements::{end_delivery, enqueue_all, fail_delivery, finish, retry, retry_delivery};
use std::sync::Weak;
use tokio::sync::{mpsc, oneshot};

/// Writes that wait for the task; whoever comes beyond them waits to be let in. With those of a commit that is under way
/// they are at most 1,280 writes, of at most 1 MiB where they add an event: that is what bounds their bytes, since small
/// bodies hold no permit of the gateway's and a client that leaves gives its permit back before its event is written.
/// What ends an event or moves it comes from the gateway's own tasks, of which a limited number run (`asynchronous_max`),
/// and may carry a record of it with an answer of 6 MiB.
const WRITES_MAX: usize = 1_024;
/// Writes in one commit: some milliseconds of work, against a commit's own.
const WRITES_AT_ONCE: usize = 256;

/// Writes in a row that fail alone before the rest is not tried any more: it is the database, and each try may wait for
/// seconds.
const FAILURES_MAX: u32 = 3;

/// What is written of events and deliveries.
pub(crate) enum EventWrite {
    /// A new event.
    Enqueue(Box<NewEvent>),
    /// See [`Control::retry_event`].
    Retry { id: String, at_ms: u64, attempt: u32 },
    /// See [`Control::finish_event`].
    Finish { id: String, deliveries: Vec<NewDelivery> },
    /// See [`Control::retry_delivery`].
    RetryDelivery { id: String, at_ms: u64 },
    /// See [`Control::finish_delivery`].
    FinishDelivery { id: String },
    /// See [`Control::fail_delivery`].
    FailDelivery { id: String, reason: String },
}

/// A write and who waits for it.
pub(crate) struct Ticket {
    write: EventWrite,
    answer: oneshot::Sender<Result<(), ControlError>>,
}

/// The way in to the task.
pub(crate) struct EventWriter(mpsc::Sender<Ticket>);

impl EventWriter {
    /// The way in, and what the task reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ticket>) {
        let (sender, inbox) = mpsc::channel(WRITES_MAX);
        (Self(sender), inbox)
    }
}

/// Writes until the record is dropped: it holds no strong reference while it waits.
pub(crate) async fn write_all(control: Weak<Inner>, mut inbox: mpsc::Receiver<Ticket>) {
    let mut tickets = Vec::with_capacity(WRITES_AT_ONCE);
    while inbox.recv_many(&mut tickets, WRITES_AT_ONCE).await > 0 {
        let Some(inner) = control.upgrade() else { return };
        commit_all(&Control { inner }, std::mem::take(&mut tickets)).await;
    }
}

impl Control {
    /// Hands a write to the task. It is durable when this returns.
    pub(crate) async fn write_event(&self, write: EventWrite) -> Result<(), ControlError> {
        let (answer, written) = oneshot::channel();
        // The task ends with the record, which we hold.
        let sent = self.inner.event_writer.0.send(Ticket { write, answer }).await;
        sent.map_err(|_| ControlError::EventNotWritten)?;
        written.await.unwrap_or(Err(ControlError::EventNotWritten))
    }
}

async fn commit_all(control: &Control, tickets: Vec<Ticket>) {
    let writes: Vec<&EventWrite> = tickets.iter().map(|ticket| &ticket.write).collect();
    let written = commit(control, &writes).await;
    let results = match written {
        Ok(results) => results,
        Err(error) if tickets.len() == 1 => vec![Err(error)],
        Err(_) => commit_each(control, &writes).await,
    };
    for (ticket, result) in tickets.into_iter().zip(results) {
        // Whoever asked may have left; what was written stays.
        let _ = ticket.answer.send(result);
    }
}

async fn commit_each(control: &Control, writes: &[&EventWrite]) -> Vec<Result<(), ControlError>> {
    let mut results = Vec::with_capacity(writes.len());
    let mut failures = 0;
    for write in writes {
        if failures == FAILURES_MAX {
            results.push(Err(ControlError::EventNotWritten));
            continue;
        }
        let written = commit(control, &[*write]).await;
        failures = if written.is_ok() { 0 } else { failures + 1 };
        results.push(written.and_then(|mut results| results.pop().unwrap_or(Ok(()))));
    }
    results
}

/// Writes all in one transaction. The inner results are refusals of single events, which undo nothing else.
async fn commit(control: &Control, writes: &[&EventWrite]) -> Result<Vec<Result<(), ControlError>>, ControlError> {
    let mut results: Vec<Result<(), ControlError>> = writes.iter().map(|_| Ok(())).collect();
    let mut transaction = control.write().await?;
    let new = writes.iter().enumerate().filter_map(|(index, write)| match write {
        EventWrite::Enqueue(event) => Some((index, &**event)),
        _ => None,
    });
    let new: Vec<_> = new.collect();
    for index in enqueue_all(&mut transaction, control.now_ms(), &new).await? {
        results[index] = Err(too_many(&new, index));
    }
    let mut rings = (!new.is_empty(), false);
    for write in writes {
        match write {
            EventWrite::Enqueue(_) => {}
            EventWrite::Retry { id, at_ms, attempt } => {
                retry(&mut transaction, id, *at_ms, *attempt).await?;
                rings.0 = true;
            }
            EventWrite::Finish { id, deliveries } => {
                finish(&mut transaction, control.now_ms(), id, deliveries).await?;
                rings.1 |= !deliveries.is_empty();
            }
            EventWrite::RetryDelivery { id, at_ms } => {
                retry_delivery(&mut transaction, id, *at_ms).await?;
                rings.1 = true;
            }
            EventWrite::FinishDelivery { id } => drop(end_delivery(&mut transaction, id).await?),
            EventWrite::FailDelivery { id, reason } => {
                fail_delivery(&mut transaction, control.now_ms(), id, reason).await?;
            }
        }
    }
    transaction.commit().await?;
    ring(control, rings);
    Ok(results)
}

fn ring(control: &Control, (events, deliveries): (bool, bool)) {
    if events {
        control.event_bell().bell.notify_one();
    }
    if deliveries {
        control.delivery_bell().notify_one();
    }
}

fn too_many(new: &[(usize, &NewEvent)], index: usize) -> ControlError {
    let account = new
        .iter()
        .find(|(at, _)| *at == index)
        .map_or_else(String::new, |(_, event)| event.account.to_string());
    let (events, bytes) = (super::QUEUED_EVENTS_MAX, super::QUEUED_BYTES_MAX);
    let message = format!(
        "Account {account} has too many asynchronous events waiting: at most {events} events and {bytes} bytes. Wait \
         until some have run."
    );
    ControlError::LimitExceeded { message }
}

#[cfg(test)]
mod tests;
