//! Cold starts that happened, with their parts.

use crate::column::{document, document_text, signed};
use crate::{Control, ControlError};
use api::ColdStart;
use chunk::Account;
use sqlx::Row;

/// Cold starts; `record` is an [`api::ColdStart`] as JSON.
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS cold_starts (
    account TEXT NOT NULL, name TEXT NOT NULL, begin_ms BIGINT NOT NULL, request_id TEXT NOT NULL,
    version TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (account, name, begin_ms, request_id))"];

/// Cold starts that are kept of each function. A thousand make a p99 that ten of them have seen; older ones are the
/// histograms' task.
pub const STARTS_MAX: u32 = 1_000;

/// One cold start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRecord {
    /// Of the function: `$LATEST` or a number.
    pub version: String,
    /// The invocation that waited for it.
    pub request_id: String,
    /// Its parts.
    pub start: ColdStart,
}

impl Control {
    /// Keeps a cold start and forgets the function's oldest beyond [`STARTS_MAX`].
    pub async fn append_start(&self, account: &Account, name: &str, record: &StartRecord) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO cold_starts (account, name, begin_ms, request_id, version, record)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, name, begin_ms, request_id) DO NOTHING",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(signed(record.start.begin_ms))
        .bind(record.request_id.as_str())
        .bind(record.version.as_str())
        .bind(document_text(&record.start, "a cold start")?)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM cold_starts WHERE account = $1 AND name = $2 AND begin_ms <= (
                SELECT begin_ms FROM cold_starts WHERE account = $3 AND name = $4
                ORDER BY begin_ms DESC, request_id DESC LIMIT 1 OFFSET $5)",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(account.as_str())
        .bind(name)
        .bind(i64::from(STARTS_MAX))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// A function's last cold starts, newest first.
    pub async fn starts(&self, account: &Account, name: &str, limit: u32) -> Result<Vec<StartRecord>, ControlError> {
        let rows = sqlx::query(
            "SELECT version, request_id, record FROM cold_starts WHERE account = $1 AND name = $2
             ORDER BY begin_ms DESC, request_id DESC LIMIT $3",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(i64::from(limit.min(STARTS_MAX)))
        .fetch_all(self.pool())
        .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(StartRecord {
                version: row.try_get("version")?,
                request_id: row.try_get("request_id")?,
                start: document(&row.try_get::<String, _>("record")?, "a cold start")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
