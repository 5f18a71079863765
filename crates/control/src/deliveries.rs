//! Deliveries: what is still to be told of asynchronous events that have ended, and to whom.
//!
//! A delivery is written by the commit that forgets its event, and forgotten when the destination has taken it. It is
//! claimed as events are, but by target: whoever delivers says how many it takes of each. One that nobody takes for long
//! enough is kept as a failure, to be listed.

use crate::column::{signed, unsigned};
use crate::events::writer::EventWrite;
use crate::function_record::account_of;
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::sync::Arc;
use tokio::sync::Notify;

/// Deliveries that wait, and those that failed.
///
/// | column | value |
/// |---|---|
/// | name | the function whose event it was |
/// | kind | `on-success`, `on-failure` or `dead-letter` |
/// | target | ARN |
/// | body | the invocation record, or for `dead-letter` the event, JSON |
/// | error_message | of `dead-letter`: what went wrong |
/// | attempts | claims so far, which back-off counts by |
/// | due_ms, claimed, bytes | as in `queued_events` |
/// | reason | what the destination said the last time |
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS deliveries (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
        body TEXT NOT NULL, error_message TEXT, request_id TEXT NOT NULL, trace_id TEXT NOT NULL,
        attempts BIGINT NOT NULL, created_ms BIGINT NOT NULL, due_ms BIGINT NOT NULL, claimed BIGINT NOT NULL,
        bytes BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_ms)",
    "CREATE INDEX IF NOT EXISTS deliveries_target ON deliveries (target, due_ms)",
    "CREATE TABLE IF NOT EXISTS failed_deliveries (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
        body TEXT NOT NULL, request_id TEXT NOT NULL, attempts BIGINT NOT NULL, created_ms BIGINT NOT NULL,
        failed_ms BIGINT NOT NULL, reason TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS failed_deliveries_age ON failed_deliveries (account, failed_ms)",
];

/// Failures that are kept of each account; older ones go. With [`FAILED_BODY_BYTES_MAX`] at most 256 MiB.
pub const FAILED_DELIVERIES_MAX: u32 = 1_000;
/// What is kept of a failed delivery's body: 256 KiB, the largest message of most queues.
pub const FAILED_BODY_BYTES_MAX: usize = 256 * 1024;

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// The function succeeded.
    OnSuccess,
    /// The event was given up.
    OnFailure,
    /// The event was given up, and the function has a dead-letter queue.
    DeadLetter,
}

impl DeliveryKind {
    /// As the record and people have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSuccess => "on-success",
            Self::OnFailure => "on-failure",
            Self::DeadLetter => "dead-letter",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "on-success" => Self::OnSuccess,
            "dead-letter" => Self::DeadLetter,
            _ => Self::OnFailure,
        }
    }
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// The function's owner.
    pub account: Account,
    /// The function whose event it was.
    pub function: String,
    /// Why.
    pub kind: DeliveryKind,
    /// To whom: an ARN.
    pub target: String,
    /// JSON.
    pub body: String,
    /// Of a dead letter.
    pub error_message: Option<String>,
    /// The event's.
    pub request_id: String,
    /// The event's, with the function in its lineage.
    pub trace_id: String,
}

/// A delivery that was claimed.
#[derive(Clone, Debug)]
pub struct QueuedDelivery {
    /// Names it to [`Control::finish_delivery`] and its kin.
    pub id: String,
    /// What was kept.
    pub delivery: NewDelivery,
    /// Tries, this one included.
    pub attempts: u32,
    /// When it was kept, milliseconds since 1970.
    pub created_ms: u64,
}

/// A delivery that was given up.
#[derive(Clone, Debug)]
pub struct FailedDelivery {
    /// Why somebody was to be told.
    pub kind: DeliveryKind,
    /// To whom.
    pub target: String,
    /// JSON, cut at [`FAILED_BODY_BYTES_MAX`].
    pub body: String,
    /// The event's.
    pub request_id: String,
    /// Tries.
    pub attempts: u64,
    /// When it was kept, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was given up, milliseconds since 1970.
    pub failed_ms: u64,
    /// What the destination said the last time.
    pub reason: String,
}

/// The targets, by going from each to the next in the index: neither database skips by itself to the next value.
const DUE_TARGETS: &str = "WITH RECURSIVE targets (target) AS (
        SELECT MIN(target) FROM deliveries
        UNION ALL
        SELECT (SELECT MIN(later.target) FROM deliveries later WHERE later.target > targets.target)
        FROM targets WHERE targets.target IS NOT NULL)
    SELECT target FROM (
        SELECT targets.target, (SELECT MIN(waiting.due_ms) FROM deliveries waiting WHERE waiting.target = targets.target)
            AS due_ms FROM targets WHERE targets.target IS NOT NULL) AS heads
    WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2";

const CLAIM: &str = "UPDATE deliveries SET due_ms = $1, claimed = 1, attempts = attempts + 1
    WHERE due_ms <= $2 AND id IN (
        SELECT id FROM deliveries WHERE target = $3 AND due_ms <= $4 ORDER BY due_ms LIMIT $5)
    RETURNING id, account, name, kind, target, body, error_message, request_id, trace_id, attempts, created_ms";

impl Control {
    pub(crate) fn delivery_bell(&self) -> &Arc<Notify> {
        &self.inner.delivery_bell
    }

    /// Rings once for new deliveries, however many: one listener, which then claims until nothing is due.
    #[must_use]
    pub fn deliveries_added(&self) -> Arc<Notify> {
        Arc::clone(self.delivery_bell())
    }

    /// Who is to be told of something that is due at a time, those who have waited longest first. Costs two looks into an
    /// index for each target, however many deliveries wait for it.
    pub async fn due_targets(&self, now_ms: u64, limit: u32) -> Result<Vec<String>, ControlError> {
        let rows = sqlx::query(DUE_TARGETS)
            .bind(signed(now_ms))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get("target")?)).collect()
    }

    /// Claims due deliveries for `claim_ms` milliseconds: of each target at most as many as stand beside it, the longest
    /// due first.
    pub async fn claim_deliveries(
        &self,
        shares: &[(String, u32)],
        claim_ms: u64,
    ) -> Result<Vec<QueuedDelivery>, ControlError> {
        let now = self.now_ms();
        let mut claimed = Vec::new();
        let mut transaction = self.write().await?;
        for (target, limit) in shares {
            let rows = sqlx::query(CLAIM)
                .bind(signed(now.saturating_add(claim_ms)))
                .bind(signed(now))
                .bind(target.as_str())
                .bind(signed(now))
                .bind(i64::from(*limit))
                .fetch_all(&mut *transaction)
                .await?;
            claimed.extend(rows);
        }
        transaction.commit().await?;
        claimed.iter().map(from_row).collect()
    }

    /// Gives a delivery back, to be due at a time.
    pub async fn retry_delivery(&self, id: &str, at_ms: u64) -> Result<(), ControlError> {
        let id = id.to_owned();
        self.write_event(EventWrite::RetryDelivery { id, at_ms }).await
    }

    /// Forgets a delivery: its destination has it.
    pub async fn finish_delivery(&self, id: &str) -> Result<(), ControlError> {
        self.write_event(EventWrite::FinishDelivery { id: id.to_owned() }).await
    }

    /// Gives a delivery up and keeps it among the failures.
    pub async fn fail_delivery(&self, id: &str, reason: &str) -> Result<(), ControlError> {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write_event(EventWrite::FailDelivery { id, reason }).await
    }

    /// When the next delivery becomes due, or the next claim runs out, after a time; milliseconds since 1970, none if
    /// nothing will.
    pub async fn next_delivery_due(&self, after_ms: u64) -> Result<Option<u64>, ControlError> {
        let row = sqlx::query("SELECT due_ms FROM deliveries WHERE due_ms > $1 ORDER BY due_ms LIMIT 1")
            .bind(signed(after_ms))
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| unsigned(&row, "due_ms")).transpose()
    }

    /// Makes all claimed deliveries due: part of [`Control::release_events`].
    pub(crate) async fn release_deliveries(&self) -> Result<(), ControlError> {
        sqlx::query("UPDATE deliveries SET claimed = 0, due_ms = $1 WHERE claimed = 1")
            .bind(signed(self.now_ms()))
            .execute(self.pool())
            .await?;
        self.delivery_bell().notify_one();
        Ok(())
    }

    /// A function's deliveries that were given up, newest first.
    pub async fn failed_deliveries(
        &self,
        account: &Account,
        name: &str,
        limit: u32,
    ) -> Result<Vec<FailedDelivery>, ControlError> {
        let rows = sqlx::query(
            "SELECT kind, target, body, request_id, attempts, created_ms, failed_ms, reason FROM failed_deliveries
             WHERE account = $1 AND name = $2 ORDER BY failed_ms DESC, id DESC LIMIT $3",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(i64::from(limit.min(FAILED_DELIVERIES_MAX)))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(failed_from_row).collect()
    }
}

fn from_row(row: &AnyRow) -> Result<QueuedDelivery, ControlError> {
    Ok(QueuedDelivery {
        id: row.try_get("id")?,
        delivery: NewDelivery {
            account: account_of(row)?,
            function: row.try_get("name")?,
            kind: DeliveryKind::read(&row.try_get::<String, _>("kind")?),
            target: row.try_get("target")?,
            body: row.try_get("body")?,
            error_message: row.try_get("error_message")?,
            request_id: row.try_get("request_id")?,
            trace_id: row.try_get("trace_id")?,
        },
        attempts: u32::try_from(unsigned(row, "attempts")?).unwrap_or(u32::MAX),
        created_ms: unsigned(row, "created_ms")?,
    })
}

fn failed_from_row(row: &AnyRow) -> Result<FailedDelivery, ControlError> {
    Ok(FailedDelivery {
        kind: DeliveryKind::read(&row.try_get::<String, _>("kind")?),
        target: row.try_get("target")?,
        body: row.try_get("body")?,
        request_id: row.try_get("request_id")?,
        attempts: unsigned(row, "attempts")?,
        created_ms: unsigned(row, "created_ms")?,
        failed_ms: unsigned(row, "failed_ms")?,
        reason: row.try_get("reason")?,
    })
}
