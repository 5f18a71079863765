//! The statements that a commit of events is made of.

use crate::ControlError;
use crate::column::signed;
use crate::deliveries::{FAILED_BODY_BYTES_MAX, FAILED_DELIVERIES_MAX, NewDelivery};
use crate::events::{NewEvent, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What an event costs beside its payload, bytes: its texts and its place in two indexes, roughly.
const EVENT_OVERHEAD_BYTES: u64 = 512;

/// Adds events of any accounts. Gives the indexes of those that are refused because their account has too many.
pub(super) async fn enqueue_all(
    connection: &mut AnyConnection,
    now_ms: u64,
    events: &[(usize, &NewEvent)],
) -> Result<Vec<usize>, ControlError> {
    let mut accounts: BTreeMap<&str, Vec<(usize, &NewEvent)>> = BTreeMap::new();
    for (index, event) in events {
        accounts
            .entry(event.account.as_str())
            .or_default()
            .push((*index, event));
    }
    let mut refused = Vec::new();
    for events in accounts.values() {
        let accepted = count_in(connection, events).await?;
        for (number, (index, event)) in events.iter().enumerate() {
            if accepted[number] {
                insert(connection, now_ms, event).await?;
            } else {
                refused.push(*index);
            }
        }
    }
    Ok(refused)
}

/// Counts one account's events in. Which of them it may have.
async fn count_in(connection: &mut AnyConnection, events: &[(usize, &NewEvent)]) -> Result<Vec<bool>, ControlError> {
    let Some((_, first)) = events.first() else {
        return Ok(Vec::new());
    };
    let account = &first.account;
    let sizes: Vec<u64> = events.iter().map(|(_, event)| event_bytes(event)).collect();
    let total = (signed(sizes.len() as u64), signed(sizes.iter().sum()));
    // First the row is ours, then it is known what was there before: so on both databases.
    let after = add_to_totals(connection, account, total).await?;
    let mut there = (after.0 - total.0, after.1 - total.1);
    let mut refused = (0, 0);
    let accepted = sizes.iter().map(|bytes| {
        let bytes = signed(*bytes);
        let fits = there.0 < signed(QUEUED_EVENTS_MAX) && there.1 + bytes <= signed(QUEUED_BYTES_MAX);
        let counted = if fits { &mut there } else { &mut refused };
        *counted = (counted.0 + 1, counted.1 + bytes);
        fits
    });
    let accepted = accepted.collect();
    if refused.0 > 0 {
        add_to_totals(connection, account, (-refused.0, -refused.1)).await?;
    }
    Ok(accepted)
}

/// Adds events and bytes, which may be negative, to an account's totals, and gives these.
async fn add_to_totals(
    connection: &mut AnyConnection,
    account: &Account,
    (events, bytes): (i64, i64),
) -> Result<(i64, i64), ControlError> {
    let row = sqlx::query(
        "INSERT INTO queued_event_totals (account, events, bytes) VALUES ($1, $2, $3) ON CONFLICT (account) DO UPDATE SET
            events = queued_event_totals.events + excluded.events, bytes = queued_event_totals.bytes + excluded.bytes
         RETURNING events, bytes",
    )
    .bind(account.as_str())
    .bind(events)
    .bind(bytes)
    .fetch_one(connection)
    .await?;
    Ok((row.try_get("events")?, row.try_get("bytes")?))
}

async fn insert(connection: &mut AnyConnection, now_ms: u64, event: &NewEvent) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO queued_events (id, account, name, qualifier, payload, request_id, client_context, trace_id,
            attempt, enqueued_ms, due_ms, claimed, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, 0, $11)",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(event.account.as_str())
    .bind(event.function.as_str())
    .bind(event.qualifier.as_deref())
    .bind(event.payload.as_str())
    .bind(event.request_id.as_str())
    .bind(event.client_context.as_deref())
    .bind(event.trace_id.as_str())
    .bind(signed(now_ms))
    .bind(signed(now_ms))
    .bind(signed(event_bytes(event)))
    .execute(connection)
    .await?;
    Ok(())
}

fn event_bytes(event: &NewEvent) -> u64 {
    let texts = event.payload.len() + event.client_context.as_ref().map_or(0, String::len);
    EVENT_OVERHEAD_BYTES + texts as u64
}

pub(super) async fn retry(
    connection: &mut AnyConnection,
    id: &str,
    at_ms: u64,
    attempt: u32,
) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE queued_events SET due_ms = $1, claimed = 0, claims = CASE WHEN attempt = $2 THEN claims ELSE 0 END,
            attempt = $3 WHERE id = $4",
    )
    .bind(signed(at_ms))
    .bind(i64::from(attempt))
    .bind(i64::from(attempt))
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets an event, and keeps what is to be delivered if the event was still there.
pub(super) async fn finish(
    connection: &mut AnyConnection,
    now_ms: u64,
    id: &str,
    deliveries: &[NewDelivery],
) -> Result<(), ControlError> {
    let row = sqlx::query("DELETE FROM queued_events WHERE id = $1 RETURNING account, bytes")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let account = account_of(&row)?;
    let mut bytes = -row.try_get::<i64, _>("bytes")?;
    for delivery in deliveries {
        bytes += insert_delivery(connection, now_ms, delivery).await?;
    }
    let events = signed(deliveries.len() as u64) - 1;
    add_to_totals(connection, &account, (events, bytes)).await?;
    Ok(())
}

/// Gives its size.
async fn insert_delivery(
    connection: &mut AnyConnection,
    now_ms: u64,
    delivery: &NewDelivery,
) -> Result<i64, ControlError> {
    let bytes = signed(EVENT_OVERHEAD_BYTES + delivery.body.len() as u64);
    sqlx::query(
        "INSERT INTO deliveries (id, account, name, kind, target, body, error_message, request_id, trace_id, attempts,
            created_ms, due_ms, claimed, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, 0, $12)",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(delivery.account.as_str())
    .bind(delivery.function.as_str())
    .bind(delivery.kind.as_str())
    .bind(delivery.target.as_str())
    .bind(delivery.body.as_str())
    .bind(delivery.error_message.as_deref())
    .bind(delivery.request_id.as_str())
    .bind(delivery.trace_id.as_str())
    .bind(signed(now_ms))
    .bind(signed(now_ms))
    .bind(bytes)
    .execute(connection)
    .await?;
    Ok(bytes)
}

pub(super) async fn retry_delivery(connection: &mut AnyConnection, id: &str, at_ms: u64) -> Result<(), ControlError> {
    sqlx::query("UPDATE deliveries SET due_ms = $1, claimed = 0 WHERE id = $2")
        .bind(signed(at_ms))
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets a delivery; gives what it was, if it was there.
pub(super) async fn end_delivery(connection: &mut AnyConnection, id: &str) -> Result<Option<AnyRow>, ControlError> {
    let row = sqlx::query(
        "DELETE FROM deliveries WHERE id = $1
         RETURNING account, name, kind, target, body, request_id, attempts, created_ms, bytes",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = &row {
        add_to_totals(connection, &account_of(row)?, (-1, -row.try_get::<i64, _>("bytes")?)).await?;
    }
    Ok(row)
}

/// Moves a delivery to those that failed; the account's oldest beyond their number go.
pub(super) async fn fail_delivery(
    connection: &mut AnyConnection,
    now_ms: u64,
    id: &str,
    reason: &str,
) -> Result<(), ControlError> {
    let Some(row) = end_delivery(connection, id).await? else {
        return Ok(());
    };
    let (account, body) = (account_of(&row)?, row.try_get::<String, _>("body")?);
    sqlx::query(
        "INSERT INTO failed_deliveries (id, account, name, kind, target, body, request_id, attempts, created_ms,
            failed_ms, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(id)
    .bind(account.as_str())
    .bind(row.try_get::<String, _>("name")?)
    .bind(row.try_get::<String, _>("kind")?)
    .bind(row.try_get::<String, _>("target")?)
    .bind(&body[..body.floor_char_boundary(FAILED_BODY_BYTES_MAX)])
    .bind(row.try_get::<String, _>("request_id")?)
    .bind(row.try_get::<i64, _>("attempts")?)
    .bind(row.try_get::<i64, _>("created_ms")?)
    .bind(signed(now_ms))
    .bind(reason)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM failed_deliveries WHERE account = $1 AND id IN (
            SELECT id FROM failed_deliveries WHERE account = $2 ORDER BY failed_ms DESC, id DESC
            LIMIT 1000 OFFSET $3)",
    )
    .bind(account.as_str())
    .bind(account.as_str())
    .bind(i64::from(FAILED_DELIVERIES_MAX))
    .execute(connection)
    .await?;
    Ok(())
}

fn account_of(row: &AnyRow) -> Result<Account, ControlError> {
    crate::function_record::account_of(row)
}
