//! Log lines: written by functions' environments, read as CloudWatch Logs.
//!
//! A group is a function's, a stream is an environment's. Lines of a group are ordered by their time and, within a
//! millisecond, by their arrival: a number that the group gives out. Positions in this order are what readers page by.
//!
//! Read first: [`Control::append_logs`], [`LogRead`], [`LogPosition`].

mod groups;
mod read;
mod trim;

pub use groups::{LogGroup, LogStream, StreamList};
pub use read::{LogLine, LogPosition, LogRead, LogScan};

use crate::column::{signed, unsigned};
use crate::{Control, ControlError};
use api::{LogBatch, LogEvent};
use chunk::Account;
use sqlx::{AnyConnection, AssertSqlSafe};
use uuid::Uuid;

/// Groups, streams and lines. Identifiers are random numbers: names are long, and each line would repeat two.
///
/// | column | value |
/// |---|---|
/// | next_sequence | what the group's next line gets |
/// | stored_bytes | sum of `bytes` of the group's lines |
/// | bytes | a line's text in bytes and [`LINE_OVERHEAD_BYTES`] |
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS log_groups (
        account TEXT NOT NULL, name TEXT NOT NULL, id BIGINT NOT NULL UNIQUE, created_ms BIGINT NOT NULL,
        retention_days BIGINT, next_sequence BIGINT NOT NULL, stored_bytes BIGINT NOT NULL,
        PRIMARY KEY (account, name))",
    "CREATE TABLE IF NOT EXISTS log_streams (
        group_id BIGINT NOT NULL, name TEXT NOT NULL, id BIGINT NOT NULL UNIQUE, created_ms BIGINT NOT NULL,
        first_ms BIGINT, last_ms BIGINT, ingested_ms BIGINT, PRIMARY KEY (group_id, name))",
    "CREATE INDEX IF NOT EXISTS log_streams_last ON log_streams (group_id, last_ms)",
    "CREATE TABLE IF NOT EXISTS log_events (
        group_id BIGINT NOT NULL, timestamp_ms BIGINT NOT NULL, sequence BIGINT NOT NULL, stream_id BIGINT NOT NULL,
        ingested_ms BIGINT NOT NULL, bytes BIGINT NOT NULL, message TEXT NOT NULL,
        PRIMARY KEY (group_id, timestamp_ms, sequence))",
    "CREATE INDEX IF NOT EXISTS log_events_stream ON log_events (stream_id, timestamp_ms, sequence)",
];

/// What a line counts beside its text, bytes. CloudWatch Logs' own figure ("26 bytes for each log event", PutLogEvents).
const LINE_OVERHEAD_BYTES: u64 = 26;
/// Lines in one statement: seven values each, far below SQLite's 32,766 and PostgreSQL's 65,535 parameters.
const LINES_OF_STATEMENT: usize = 64;

/// A line's place in the database.
struct Place {
    group: i64,
    stream: i64,
    sequence: u64,
    ingested_ms: u64,
}

impl Control {
    /// Keeps lines; all of them are there when this returns, or none. Groups and streams are made as they come.
    ///
    /// Groups that grow beyond their limits lose their oldest lines in the same transaction.
    pub async fn append_logs(&self, batches: Vec<LogBatch>) -> Result<(), ControlError> {
        let now = self.now_ms();
        let mut transaction = self.write().await?;
        for batch in &batches {
            let Some(times) = times_of(&batch.events) else { continue };
            let (group, sequence) = enter_group(&mut transaction, batch, now).await?;
            let stream = enter_stream(&mut transaction, group, &batch.stream, times, now).await?;
            let mut place = Place {
                group,
                stream,
                sequence,
                ingested_ms: now,
            };
            for events in batch.events.chunks(LINES_OF_STATEMENT) {
                insert_lines(&mut transaction, &place, events).await?;
                place.sequence += events.len() as u64;
            }
            trim::trim_group(&mut transaction, group, now).await?;
        }
        transaction.commit().await
    }
}

/// Times of the first and the last line; none of none.
fn times_of(events: &[LogEvent]) -> Option<(u64, u64)> {
    let times = || events.iter().map(|event| event.timestamp_ms);
    Some((times().min()?, times().max()?))
}

/// Counts a batch into its group, which is made if it is missing; gives its id and the first line's number.
async fn enter_group(connection: &mut AnyConnection, batch: &LogBatch, now: u64) -> Result<(i64, u64), ControlError> {
    let bytes: u64 = batch.events.iter().map(line_bytes).sum();
    let row = sqlx::query(
        "INSERT INTO log_groups (account, name, id, created_ms, next_sequence, stored_bytes)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, name) DO UPDATE SET
            next_sequence = log_groups.next_sequence + excluded.next_sequence,
            stored_bytes = log_groups.stored_bytes + excluded.stored_bytes
         RETURNING id, next_sequence",
    )
    .bind(batch.account.as_str())
    .bind(batch.group.as_str())
    .bind(new_id())
    .bind(signed(now))
    .bind(signed(batch.events.len() as u64))
    .bind(signed(bytes))
    .fetch_one(connection)
    .await?;
    let next = unsigned(&row, "next_sequence")?;
    Ok((signed(unsigned(&row, "id")?), next - batch.events.len() as u64))
}

/// Notes a batch in its stream, which is made if it is missing; gives its id.
async fn enter_stream(
    connection: &mut AnyConnection,
    group: i64,
    name: &str,
    (first, last): (u64, u64),
    now: u64,
) -> Result<i64, ControlError> {
    // MIN and MAX of two values are functions in SQLite alone, so this asks with CASE. An empty stream's times are null.
    let row = sqlx::query(
        "INSERT INTO log_streams (group_id, name, id, created_ms, first_ms, last_ms, ingested_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (group_id, name) DO UPDATE SET
            first_ms = CASE WHEN log_streams.first_ms <= excluded.first_ms THEN log_streams.first_ms
                ELSE excluded.first_ms END,
            last_ms = CASE WHEN log_streams.last_ms >= excluded.last_ms THEN log_streams.last_ms
                ELSE excluded.last_ms END,
            ingested_ms = excluded.ingested_ms
         RETURNING id",
    )
    .bind(group)
    .bind(name)
    .bind(new_id())
    .bind(signed(now))
    .bind(signed(first))
    .bind(signed(last))
    .bind(signed(now))
    .fetch_one(connection)
    .await?;
    Ok(signed(unsigned(&row, "id")?))
}

async fn insert_lines(connection: &mut AnyConnection, place: &Place, events: &[LogEvent]) -> Result<(), ControlError> {
    // Nothing but placeholders is put together here.
    let mut query = sqlx::query(AssertSqlSafe(insert_text(events.len())));
    for (sequence, event) in (place.sequence..).zip(events) {
        query = query
            .bind(place.group)
            .bind(signed(event.timestamp_ms))
            .bind(signed(sequence))
            .bind(place.stream)
            .bind(signed(place.ingested_ms))
            .bind(signed(line_bytes(event)))
            .bind(storable(&event.message));
    }
    // A full statement is the same text each time and stays prepared; others are rarely needed again.
    query
        .persistent(events.len() == LINES_OF_STATEMENT || events.len() == 1)
        .execute(connection)
        .await?;
    Ok(())
}

fn insert_text(lines: usize) -> String {
    let columns = "group_id, timestamp_ms, sequence, stream_id, ingested_ms, bytes, message";
    let rows: Vec<String> = (0..lines)
        .map(|line| {
            let places: Vec<String> = (1..=7).map(|column| format!("${}", line * 7 + column)).collect();
            format!("({})", places.join(", "))
        })
        .collect();
    format!("INSERT INTO log_events ({columns}) VALUES {}", rows.join(", "))
}

fn line_bytes(event: &LogEvent) -> u64 {
    event.message.len() as u64 + LINE_OVERHEAD_BYTES
}

/// PostgreSQL's TEXT holds every character but NUL, which a function may well print.
fn storable(message: &str) -> String {
    message.replace('\0', "\u{fffd}")
}

/// A positive random number: 63 bits, so two of a million groups meet with a probability of 5 in 10^8; then the UNIQUE
/// constraint refuses the batch, and the next try has another number.
fn new_id() -> i64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    signed(high >> 1)
}

/// Which group.
#[derive(Clone, Copy, Debug)]
pub struct LogGroupName<'a> {
    /// The owner.
    pub account: &'a Account,
    /// Such as `/aws/lambda/hello`.
    pub name: &'a str,
}
