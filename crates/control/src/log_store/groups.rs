//! Groups and streams.

use super::{LogGroupName, new_id};
use crate::column::{signed, unsigned, unsigned_or_none};
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGroup {
    /// Such as `/aws/lambda/hello`.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Days; none if nobody set it.
    pub retention_days: Option<u64>,
    /// What its lines count.
    pub stored_bytes: u64,
    pub(crate) id: i64,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStream {
    /// Such as `2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef`.
    pub name: String,
    /// Milliseconds since 1970, as all its times.
    pub created_ms: u64,
    /// Of its oldest line; none if it never had one.
    pub first_ms: Option<u64>,
    /// Of its newest line.
    pub last_ms: Option<u64>,
    /// When the last lines came.
    pub ingested_ms: Option<u64>,
}

/// Which streams, in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamList<'a> {
    /// How their names begin.
    pub prefix: &'a str,
    /// By their newest line instead of by name.
    pub by_time: bool,
    /// The greatest first.
    pub descending: bool,
    /// How many at most.
    pub limit: u32,
    /// The last of the page before: its newest line's time (0 if it has none) and its name.
    pub after: Option<(u64, &'a str)>,
}

impl Control {
    /// Groups by name. `after` is the last of the page before.
    pub async fn log_groups(
        &self,
        account: &Account,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<LogGroup>, ControlError> {
        let rows = sqlx::query(
            "SELECT name, id, created_ms, retention_days, stored_bytes FROM log_groups
             WHERE account = $1 AND substr(name, 1, length($2)) = $3 AND name > $4 ORDER BY name LIMIT $5",
        )
        .bind(account.as_str())
        .bind(prefix)
        .bind(prefix)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(group_from_row).collect()
    }

    /// One group.
    ///
    /// Errors: there is none.
    pub async fn log_group(&self, group: LogGroupName<'_>) -> Result<LogGroup, ControlError> {
        let row = sqlx::query(
            "SELECT name, id, created_ms, retention_days, stored_bytes FROM log_groups WHERE account = $1 AND name = $2",
        )
        .bind(group.account.as_str())
        .bind(group.name)
        .fetch_optional(self.pool())
        .await?;
        group_from_row(&row.ok_or_else(no_group)?)
    }

    /// Makes an empty group.
    ///
    /// Errors: there is one.
    pub async fn create_log_group(&self, group: LogGroupName<'_>) -> Result<(), ControlError> {
        let done = sqlx::query(
            "INSERT INTO log_groups (account, name, id, created_ms, next_sequence, stored_bytes)
             VALUES ($1, $2, $3, $4, 0, 0) ON CONFLICT (account, name) DO NOTHING",
        )
        .bind(group.account.as_str())
        .bind(group.name)
        .bind(new_id())
        .bind(signed(self.now_ms()))
        .execute(self.pool())
        .await?;
        if done.rows_affected() == 0 {
            return Err(ControlError::conflict("The specified log group already exists"));
        }
        Ok(())
    }

    /// Deletes a group with all that is in it.
    ///
    /// Errors: there is none.
    pub async fn delete_log_group(&self, group: LogGroupName<'_>) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let row = sqlx::query("DELETE FROM log_groups WHERE account = $1 AND name = $2 RETURNING id")
            .bind(group.account.as_str())
            .bind(group.name)
            .fetch_optional(&mut *transaction)
            .await?;
        let id: i64 = row.ok_or_else(no_group)?.try_get("id")?;
        for statement in [
            "DELETE FROM log_events WHERE group_id = $1",
            "DELETE FROM log_streams WHERE group_id = $1",
        ] {
            sqlx::query(statement).bind(id).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Sets for how many days a group keeps lines; none is the default.
    ///
    /// Errors: there is no such group.
    pub async fn set_log_retention(&self, group: LogGroupName<'_>, days: Option<u64>) -> Result<(), ControlError> {
        let done = sqlx::query("UPDATE log_groups SET retention_days = $1 WHERE account = $2 AND name = $3")
            .bind(days.map(signed))
            .bind(group.account.as_str())
            .bind(group.name)
            .execute(self.pool())
            .await?;
        if done.rows_affected() == 0 {
            Err(no_group())
        } else {
            Ok(())
        }
    }

    /// Streams of a group.
    pub async fn log_streams(&self, group: &LogGroup, list: &StreamList<'_>) -> Result<Vec<LogStream>, ControlError> {
        let (comparison, direction) = if list.descending { ("<", "DESC") } else { (">", "ASC") };
        let key = if list.by_time {
            "(COALESCE(last_ms, 0), name)"
        } else {
            "(0, name)"
        };
        let order = if list.by_time {
            format!("COALESCE(last_ms, 0) {direction}, name {direction}")
        } else {
            format!("name {direction}")
        };
        // Where no page came before: a time that no stream has, and that stands before all of them.
        let first = (if list.descending { i64::MAX } else { -1 }, "");
        let (time, name) = match list.after {
            Some((time, name)) => (if list.by_time { signed(time) } else { 0 }, name),
            None => first,
        };
        // Put together from the constants above alone.
        let sql = AssertSqlSafe(format!(
            "SELECT name, created_ms, first_ms, last_ms, ingested_ms FROM log_streams
             WHERE group_id = $1 AND substr(name, 1, length($2)) = $3 AND {key} {comparison} ($4, $5) ORDER BY {order} LIMIT $6"
        ));
        let rows = sqlx::query(sql)
            .bind(group.id)
            .bind(list.prefix)
            .bind(list.prefix)
            .bind(time)
            .bind(name)
            .bind(i64::from(list.limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(stream_from_row).collect()
    }
}

pub(super) fn no_group() -> ControlError {
    ControlError::not_found("The specified log group does not exist.")
}

fn group_from_row(row: &AnyRow) -> Result<LogGroup, ControlError> {
    Ok(LogGroup {
        name: row.try_get("name")?,
        created_ms: unsigned(row, "created_ms")?,
        retention_days: unsigned_or_none(row, "retention_days")?,
        stored_bytes: unsigned(row, "stored_bytes")?,
        id: row.try_get("id")?,
    })
}

fn stream_from_row(row: &AnyRow) -> Result<LogStream, ControlError> {
    Ok(LogStream {
        name: row.try_get("name")?,
        created_ms: unsigned(row, "created_ms")?,
        first_ms: unsigned_or_none(row, "first_ms")?,
        last_ms: unsigned_or_none(row, "last_ms")?,
        ingested_ms: unsigned_or_none(row, "ingested_ms")?,
    })
}
