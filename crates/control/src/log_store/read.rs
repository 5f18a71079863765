//! Lines of a group, read in order.

use super::LogGroup;
use crate::column::{signed, unsigned};
use crate::{Control, ControlError};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// A line's place in its group's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Its time, milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Its number in the group.
    pub sequence: u64,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Where it stands; unique in its group.
    pub position: LogPosition,
    /// Its stream's name.
    pub stream: String,
    /// When it came, milliseconds since 1970.
    pub ingested_ms: u64,
    /// Its text.
    pub message: String,
}

/// Which lines, and from where.
#[derive(Clone, Copy, Debug)]
pub struct LogRead<'a> {
    /// Names of streams; none is all of them.
    pub streams: Option<&'a [String]>,
    /// How the stream's name begins.
    pub stream_prefix: &'a str,
    /// The earliest time, inclusive.
    pub from_ms: u64,
    /// The time before which lines are, exclusive.
    pub until_ms: u64,
    /// Lines after this place; none begins with the first.
    pub after: Option<LogPosition>,
    /// Lines before this place; then the last ones before it are read.
    pub before: Option<LogPosition>,
    /// The last lines instead of the first, where no place is given.
    pub from_end: bool,
    /// Lines at most.
    pub lines_max: usize,
    /// Bytes of text at most, but one line always.
    pub bytes_max: usize,
}

/// What a read found.
#[derive(Clone, Debug, Default)]
pub struct LogScan {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// The last place that was looked at, if there may be more behind it (before it, for a read backwards).
    pub more: Option<LogPosition>,
}

impl Default for LogRead<'_> {
    fn default() -> Self {
        Self {
            streams: None,
            stream_prefix: "",
            from_ms: 0,
            until_ms: u64::MAX,
            after: None,
            before: None,
            from_end: false,
            lines_max: LINES_MAX,
            bytes_max: usize::MAX,
        }
    }
}

/// Lines of one answer. CloudWatch Logs' limit.
const LINES_MAX: usize = 10_000;
/// Lines that one read looks at: one that finds little among many gives up and says where it was, so that no request
/// holds a connection for long.
const LINES_LOOKED_AT_MAX: usize = 100_000;
/// Lines fetched at once.
const LINES_OF_FETCH: usize = 1_000;

impl Control {
    /// Reads lines of a group that `wanted` admits.
    pub async fn read_logs(
        &self,
        group: &LogGroup,
        read: &LogRead<'_>,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<LogScan, ControlError> {
        let only = self.only_stream(group, read).await?;
        let backward = read.before.is_some() || (read.from_end && read.after.is_none());
        let mut scan = LogScan::default();
        let mut cursor = if backward { read.before } else { read.after };
        let mut bytes = 0;
        let mut looked_at = 0;
        'fetches: while looked_at < LINES_LOOKED_AT_MAX {
            let rows = self.fetch_lines(group, read, only, Step { backward, cursor }).await?;
            let exhausted = rows.len() < LINES_OF_FETCH;
            looked_at += rows.len();
            for row in &rows {
                let position = position_of(row)?;
                let message: String = row.try_get("message")?;
                let stream: String = row.try_get("stream")?;
                if read.takes(&stream) && wanted(&message) {
                    let full = scan.lines.len() >= read.lines_max || bytes + message.len() > read.bytes_max;
                    if full && !scan.lines.is_empty() {
                        scan.more = cursor;
                        break 'fetches;
                    }
                    bytes += message.len();
                    let ingested_ms = unsigned(row, "ingested_ms")?;
                    scan.lines.push(LogLine {
                        position,
                        stream,
                        ingested_ms,
                        message,
                    });
                }
                cursor = Some(position);
            }
            scan.more = cursor;
            if exhausted {
                scan.more = None;
                break;
            }
        }
        if backward {
            scan.lines.reverse();
        }
        Ok(scan)
    }

    async fn fetch_lines(
        &self,
        group: &LogGroup,
        read: &LogRead<'_>,
        only: Option<i64>,
        step: Step,
    ) -> Result<Vec<AnyRow>, ControlError> {
        let (comparison, direction) = if step.backward { ("<", "DESC") } else { (">", "ASC") };
        let (column, id) = only.map_or(("group_id", group.id), |stream| ("stream_id", stream));
        // Places before the first and behind the last: no line has such a number.
        let place = match (step.cursor, step.backward) {
            (Some(place), _) => (signed(place.timestamp_ms), signed(place.sequence)),
            (None, true) => (i64::MAX, i64::MAX),
            (None, false) => (-1, -1),
        };
        // Put together from the constants above alone.
        let sql = AssertSqlSafe(format!(
            "SELECT timestamp_ms, sequence, log_events.ingested_ms AS ingested_ms, message, log_streams.name AS stream
             FROM log_events JOIN log_streams ON log_streams.id = log_events.stream_id
             WHERE log_events.{column} = $1 AND timestamp_ms >= $2 AND timestamp_ms < $3
             AND (timestamp_ms, sequence) {comparison} ($4, $5)
             ORDER BY timestamp_ms {direction}, sequence {direction} LIMIT $6"
        ));
        let rows = sqlx::query(sql)
            .bind(id)
            .bind(signed(read.from_ms))
            .bind(signed(read.until_ms))
            .bind(place.0)
            .bind(place.1)
            .bind(LINES_OF_FETCH as i64)
            .fetch_all(self.pool())
            .await?;
        Ok(rows)
    }

    /// The stream, if one alone is asked for: its lines have an index of their own.
    ///
    /// Errors: a stream that is asked for is not there.
    async fn only_stream(&self, group: &LogGroup, read: &LogRead<'_>) -> Result<Option<i64>, ControlError> {
        let mut only = None;
        for name in read.streams.unwrap_or_default() {
            let row = sqlx::query("SELECT id FROM log_streams WHERE group_id = $1 AND name = $2")
                .bind(group.id)
                .bind(name.as_str())
                .fetch_optional(self.pool())
                .await?;
            let row = row.ok_or_else(|| ControlError::not_found("The specified log stream does not exist."))?;
            only = Some(row.try_get("id")?);
        }
        Ok(only.filter(|_| read.streams.is_some_and(|streams| streams.len() == 1)))
    }
}

impl LogRead<'_> {
    fn takes(&self, stream: &str) -> bool {
        stream.starts_with(self.stream_prefix)
            && self
                .streams
                .is_none_or(|streams| streams.iter().any(|name| name == stream))
    }
}

/// Where a fetch goes on.
#[derive(Clone, Copy)]
struct Step {
    backward: bool,
    cursor: Option<LogPosition>,
}

fn position_of(row: &AnyRow) -> Result<LogPosition, ControlError> {
    Ok(LogPosition {
        timestamp_ms: unsigned(row, "timestamp_ms")?,
        sequence: unsigned(row, "sequence")?,
    })
}
