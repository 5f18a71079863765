//! Asynchronous events: kept until a function has run them or they are given up.
//!
//! An event is in the database before its caller hears of it. Whoever runs events claims due ones for a time; while it
//! holds the claim nobody else gets them, and when it dies the claim runs out and the event is due again. So an event
//! runs at least once. A claim is nothing but a due time in the future, moved there by one statement that only moves
//! what is still due.
//!
//! What comes in and what becomes of it is written by `events::writer`, many to a commit. Whoever is to be told of an
//! event's end is written down by the same commit that forgets the event: see [`crate::NewDelivery`].

pub(crate) mod writer;

use crate::column::{signed, unsigned};
use crate::deliveries::NewDelivery;
use crate::function_record::account_of;
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::sync::Arc;
use tokio::sync::Notify;
use writer::EventWrite;

/// Events, and for each account how many and how large; its deliveries that wait are counted with them.
///
/// | column | value |
/// |---|---|
/// | payload | JSON, as it came |
/// | attempt | tries that the function has failed so far |
/// | due_ms | when it may be claimed; of a claimed event, when the claim runs out |
/// | claimed | 1 while somebody has it, else 0 |
/// | claims | how often it was claimed since it came, or since its function last failed it: what back-off counts by |
/// | bytes | what the event counts against the account's limit |
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS queued_events (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT, payload TEXT NOT NULL,
        request_id TEXT NOT NULL, client_context TEXT, trace_id TEXT NOT NULL, attempt BIGINT NOT NULL,
        enqueued_ms BIGINT NOT NULL, due_ms BIGINT NOT NULL, claimed BIGINT NOT NULL, bytes BIGINT NOT NULL,
        claims BIGINT NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS queued_events_due ON queued_events (due_ms)",
    "CREATE TABLE IF NOT EXISTS queued_event_totals (
        account TEXT PRIMARY KEY, events BIGINT NOT NULL, bytes BIGINT NOT NULL)",
];

/// For databases of schema version 1, whose events had no `claims`.
pub(crate) const UPGRADE_2: &str = "ALTER TABLE queued_events ADD COLUMN claims BIGINT NOT NULL DEFAULT 0";

/// Events of one account that wait or run. With the byte limit this bounds the database; Lambda does not publish its
/// own limit. Beyond it events are refused.
pub const QUEUED_EVENTS_MAX: u64 = 1_000_000;
/// Bytes of one account's events: 4 GiB, which is 4,096 events of the largest size, 1 MiB. Beyond it events are refused.
pub const QUEUED_BYTES_MAX: u64 = 4 << 30;
/// Longest claim, milliseconds: 1 h. The longest function runs for 15 min.
const CLAIM_MS_MAX: u64 = 3_600_000;

/// Wait of an event whose second claimer died too, milliseconds, and of one that many died of: Lambda's waits after
/// errors of the system, 1 s to 5 min.
const RELEASE_WAIT_MS: i64 = 1_000;
/// See [`RELEASE_WAIT_MS`].
const RELEASE_WAIT_MAX_MS: i64 = 300_000;
/// Doublings that stay below [`RELEASE_WAIT_MAX_MS`]: 256 s.
const RELEASE_DOUBLINGS_MAX: i64 = 8;

/// An event to keep.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The function's owner.
    pub account: Account,
    /// The function.
    pub function: String,
    /// A version or an alias, resolved when the event runs.
    pub qualifier: Option<String>,
    /// JSON.
    pub payload: String,
    /// What the caller was told.
    pub request_id: String,
    /// JSON.
    pub client_context: Option<String>,
    /// As in [`api::Invocation`].
    pub trace_id: String,
}

/// An event that was claimed.
#[derive(Clone, Debug)]
pub struct QueuedEvent {
    /// Names it to [`Control::finish_event`] and its kin.
    pub id: String,
    /// What was kept.
    pub event: NewEvent,
    /// Tries that the function has failed so far; 0 at first.
    pub attempt: u32,
    /// Claims since it came or since the function last failed it, this one included: more than one says that the
    /// platform failed, be it that the function could not be run or that whoever had claimed it died.
    pub claims: u32,
    /// When it was kept, milliseconds since 1970.
    pub enqueued_ms: u64,
}

/// Tells of new events.
#[derive(Debug, Default)]
pub(crate) struct EventBell {
    pub(crate) bell: Arc<Notify>,
}

impl Control {
    pub(crate) fn event_bell(&self) -> &EventBell {
        &self.inner.event_bell
    }

    /// Keeps an event. It is durable when this returns.
    ///
    /// Errors: the account has too many.
    pub async fn enqueue_event(&self, event: NewEvent) -> Result<(), ControlError> {
        self.write_event(EventWrite::Enqueue(Box::new(event))).await
    }

    /// Rings once for new events, however many: one listener, which then claims until nothing is due.
    #[must_use]
    pub fn events_added(&self) -> Arc<Notify> {
        Arc::clone(&self.event_bell().bell)
    }

    /// Claims due events, the longest due first, for `claim_ms` milliseconds.
    pub async fn claim_events(&self, limit: u32, claim_ms: u64) -> Result<Vec<QueuedEvent>, ControlError> {
        let now = self.now_ms();
        let mut transaction = self.write().await?;
        let rows = sqlx::query(
            "UPDATE queued_events SET due_ms = $1, claimed = 1, claims = claims + 1
             WHERE due_ms <= $2 AND id IN (SELECT id FROM queued_events WHERE due_ms <= $3 ORDER BY due_ms LIMIT $4)
             RETURNING id, account, name, qualifier, payload, request_id, client_context, trace_id, attempt,
                claims, enqueued_ms",
        )
        .bind(signed(now.saturating_add(claim_ms.min(CLAIM_MS_MAX))))
        .bind(signed(now))
        .bind(signed(now))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let mut events = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
        events.sort_by_key(|event| event.enqueued_ms);
        Ok(events)
    }

    /// Holds a claim for longer.
    pub async fn hold_event(&self, id: &str, claim_ms: u64) -> Result<(), ControlError> {
        sqlx::query("UPDATE queued_events SET due_ms = $1 WHERE id = $2 AND claimed = 1")
            .bind(signed(self.now_ms().saturating_add(claim_ms.min(CLAIM_MS_MAX))))
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Gives an event back, to be due at a time; `attempt` is how many tries the function has failed by now. One more
    /// than before begins the count of claims anew.
    pub async fn retry_event(&self, id: &str, at_ms: u64, attempt: u32) -> Result<(), ControlError> {
        let id = id.to_owned();
        self.write_event(EventWrite::Retry { id, at_ms, attempt }).await
    }

    /// Forgets an event: it ran, or it was given up. Who is to be told of it is written down in the same commit. That
    /// the event is gone already is no error, and then nobody is told again.
    pub async fn finish_event(&self, id: &str, deliveries: Vec<NewDelivery>) -> Result<(), ControlError> {
        let id = id.to_owned();
        self.write_event(EventWrite::Finish { id, deliveries }).await
    }

    /// When the next event is due, or the next claim runs out, milliseconds since 1970; none if there are no events.
    pub async fn next_event_due(&self) -> Result<Option<u64>, ControlError> {
        let row = sqlx::query("SELECT due_ms FROM queued_events ORDER BY due_ms LIMIT 1")
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| unsigned(&row, "due_ms")).transpose()
    }

    /// Makes all claimed events due. For the start of a process that is alone with its database: what its predecessor
    /// had claimed need not wait until the claims run out. An event that was claimed once is due now; one that was
    /// claimed again and again may be what its claimers died of, so it waits, twice as long with each claim. Deliveries
    /// become due as well.
    pub async fn release_events(&self) -> Result<(), ControlError> {
        sqlx::query(
            "UPDATE queued_events SET claimed = 0, due_ms = $1 + CASE WHEN claims < 2 THEN 0
                WHEN claims > $2 THEN $3 ELSE $4 * (1 << CAST(claims - 2 AS INTEGER)) END WHERE claimed = 1",
        )
        .bind(signed(self.now_ms()))
        .bind(RELEASE_DOUBLINGS_MAX + 2)
        .bind(RELEASE_WAIT_MAX_MS)
        .bind(RELEASE_WAIT_MS)
        .execute(self.pool())
        .await?;
        self.event_bell().bell.notify_one();
        self.release_deliveries().await
    }
}

fn from_row(row: &AnyRow) -> Result<QueuedEvent, ControlError> {
    Ok(QueuedEvent {
        id: row.try_get("id")?,
        event: NewEvent {
            account: account_of(row)?,
            function: row.try_get("name")?,
            qualifier: row.try_get("qualifier")?,
            payload: row.try_get("payload")?,
            request_id: row.try_get("request_id")?,
            client_context: row.try_get("client_context")?,
            trace_id: row.try_get("trace_id")?,
        },
        attempt: u32::try_from(unsigned(row, "attempt")?).unwrap_or(u32::MAX),
        claims: u32::try_from(unsigned(row, "claims")?).unwrap_or(u32::MAX),
        enqueued_ms: unsigned(row, "enqueued_ms")?,
    })
}
