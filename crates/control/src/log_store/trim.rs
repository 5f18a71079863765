//! What groups forget.

use crate::column::{signed, unsigned, unsigned_or_none};
use crate::{Control, ControlError};
use sqlx::AnyConnection;

/// Bytes of lines that a group keeps: 1 GiB, some four million lines of 256 bytes. A function that prints without end
/// must not fill the disk of everybody. Beyond it the oldest lines go.
pub(crate) const GROUP_BYTES_MAX: u64 = 1 << 30;
/// Days that a group keeps lines if nobody set a retention. CloudWatch keeps them for ever; on a machine of one's own a
/// month is what people look back for.
pub(crate) const RETENTION_DAYS_DEFAULT: u64 = 30;
const DAY_MS: u64 = 86_400_000;
/// Lines that one pass removes at most: it runs within a write of lines, which must not take long. What is left over
/// goes with the next writes.
const LINES_OF_PASS: i64 = 8_192;

impl Control {
    /// Lets every group forget what is too old. Groups that are written to do this by themselves; this is for those
    /// that no longer are, some times a day.
    pub async fn trim_logs(&self) -> Result<(), ControlError> {
        let now = self.now_ms();
        let rows = sqlx::query("SELECT id FROM log_groups").fetch_all(self.pool()).await?;
        for row in rows {
            let mut transaction = self.write().await?;
            trim_group(&mut transaction, signed(unsigned(&row, "id")?), now).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// Removes a group's oldest lines that are too old or too many, some thousands at most, and streams that are then
/// empty.
pub(super) async fn trim_group(connection: &mut AnyConnection, group: i64, now: u64) -> Result<(), ControlError> {
    let row = sqlx::query("SELECT retention_days, stored_bytes FROM log_groups WHERE id = $1")
        .bind(group)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let days = unsigned_or_none(&row, "retention_days")?.unwrap_or(RETENTION_DAYS_DEFAULT);
    let limits = Limits {
        oldest_ms: now.saturating_sub(days.saturating_mul(DAY_MS)),
        excess_bytes: unsigned(&row, "stored_bytes")?.saturating_sub(GROUP_BYTES_MAX),
    };
    let Some(cut) = find_cut(connection, group, &limits).await? else {
        return Ok(());
    };
    sqlx::query(
        "DELETE FROM log_events WHERE group_id = $1 AND (timestamp_ms < $2 OR (timestamp_ms = $3 AND sequence <= $4))",
    )
    .bind(group)
    .bind(cut.timestamp_ms)
    .bind(cut.timestamp_ms)
    .bind(cut.sequence)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE log_groups SET stored_bytes = stored_bytes - $1 WHERE id = $2")
        .bind(signed(cut.bytes))
        .bind(group)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM log_streams WHERE group_id = $1 AND last_ms <= $2
         AND NOT EXISTS (SELECT 1 FROM log_events WHERE log_events.stream_id = log_streams.id)",
    )
    .bind(group)
    .bind(cut.timestamp_ms)
    .execute(connection)
    .await?;
    Ok(())
}

struct Limits {
    oldest_ms: u64,
    excess_bytes: u64,
}

/// The newest line that goes, and the bytes of all that go.
struct Cut {
    timestamp_ms: i64,
    sequence: i64,
    bytes: u64,
}

async fn find_cut(connection: &mut AnyConnection, group: i64, limits: &Limits) -> Result<Option<Cut>, ControlError> {
    let rows_max = if limits.excess_bytes > 0 {
        LINES_OF_PASS
    } else {
        first_look(connection, group, limits).await?
    };
    let rows = sqlx::query(
        "SELECT timestamp_ms, sequence, bytes FROM log_events WHERE group_id = $1 ORDER BY timestamp_ms, sequence LIMIT $2",
    )
    .bind(group)
    .bind(rows_max)
    .fetch_all(connection)
    .await?;
    let mut cut = None;
    let mut bytes = 0;
    for row in &rows {
        let timestamp_ms = unsigned(row, "timestamp_ms")?;
        if timestamp_ms >= limits.oldest_ms && bytes >= limits.excess_bytes {
            break;
        }
        bytes += unsigned(row, "bytes")?;
        cut = Some(Cut {
            timestamp_ms: signed(timestamp_ms),
            sequence: signed(unsigned(row, "sequence")?),
            bytes,
        });
    }
    Ok(cut)
}

/// Nearly always the oldest line is young enough, and looking at it is all that is needed.
async fn first_look(connection: &mut AnyConnection, group: i64, limits: &Limits) -> Result<i64, ControlError> {
    let row =
        sqlx::query("SELECT timestamp_ms FROM log_events WHERE group_id = $1 ORDER BY timestamp_ms, sequence LIMIT 1")
            .bind(group)
            .fetch_optional(connection)
            .await?;
    let oldest = row.map(|row| unsigned(&row, "timestamp_ms")).transpose()?;
    Ok(if oldest.is_some_and(|oldest| oldest < limits.oldest_ms) {
        LINES_OF_PASS
    } else {
        0
    })
}
