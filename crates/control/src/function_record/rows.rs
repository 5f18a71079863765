//! Rows of versions: read, listed and written.

use super::{FunctionRecord, VersionKey, account_of};
use crate::column::{document_text, signed, unsigned};
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

impl VersionKey<'_> {
    /// Reads a version.
    pub(crate) async fn read(
        self,
        control: &Control,
        connection: &mut AnyConnection,
    ) -> Result<Option<FunctionRecord>, ControlError> {
        let row = sqlx::query(select("account = $1 AND name = $2 AND number = $3"))
            .bind(self.account.as_str())
            .bind(self.name)
            .bind(signed(self.number))
            .fetch_optional(connection)
            .await?;
        row.map(|row| FunctionRecord::read(control, &row)).transpose()
    }
}

/// Writes a version that is not there yet. False if it is.
pub(crate) async fn insert(connection: &mut AnyConnection, record: &FunctionRecord) -> Result<bool, ControlError> {
    let done = sqlx::query(
        "INSERT INTO functions (account, name, number, revision_id, writes, preparing, document)
         VALUES ($1, $2, $3, $4, 1, $5, $6) ON CONFLICT (account, name, number) DO NOTHING",
    )
    .bind(record.account.as_str())
    .bind(record.name.as_str())
    .bind(signed(record.number))
    .bind(record.revision_id.as_str())
    .bind(i64::from(record.lifecycle.is_preparing()))
    .bind(document_text(&record.document(), "a function")?)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a version over what was read. False if somebody wrote it in between, or deleted it.
pub(crate) async fn replace(connection: &mut AnyConnection, record: &FunctionRecord) -> Result<bool, ControlError> {
    let done = sqlx::query(
        "UPDATE functions SET revision_id = $1, preparing = $2, document = $3, writes = writes + 1
         WHERE account = $4 AND name = $5 AND number = $6 AND writes = $7",
    )
    .bind(record.revision_id.as_str())
    .bind(i64::from(record.lifecycle.is_preparing()))
    .bind(document_text(&record.document(), "a function")?)
    .bind(record.account.as_str())
    .bind(record.name.as_str())
    .bind(signed(record.number))
    .bind(signed(record.writes))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Versions of one function with numbers above `after`, oldest first; `$LATEST`, which is 0, comes with none.
pub(crate) async fn versions_after(
    control: &Control,
    key: (&Account, &str),
    after: Option<u64>,
    rows_max: i64,
) -> Result<Vec<FunctionRecord>, ControlError> {
    let sql = select("account = $1 AND name = $2 AND number > $3 ORDER BY number LIMIT $4");
    let rows = sqlx::query(sql)
        .bind(key.0.as_str())
        .bind(key.1)
        .bind(after.map_or(-1, signed))
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    records(control, &rows)
}

/// Functions' `$LATEST` by name, after a name.
pub(crate) async fn latest_after(
    control: &Control,
    account: &Account,
    after: &str,
    rows_max: i64,
) -> Result<Vec<FunctionRecord>, ControlError> {
    let sql = select("account = $1 AND number = 0 AND name > $2 ORDER BY name LIMIT $3");
    let rows = sqlx::query(sql)
        .bind(account.as_str())
        .bind(after)
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    records(control, &rows)
}

/// All versions of all functions by name and number, after one of them.
pub(crate) async fn all_after(
    control: &Control,
    account: &Account,
    after: (&str, i64),
    rows_max: i64,
) -> Result<Vec<FunctionRecord>, ControlError> {
    let sql = select("account = $1 AND (name > $2 OR (name = $2 AND number > $3)) ORDER BY name, number LIMIT $4");
    let rows = sqlx::query(sql)
        .bind(account.as_str())
        .bind(after.0)
        .bind(after.1)
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    records(control, &rows)
}

/// The versions whose preparation has not ended: of one function, or of all.
pub(crate) async fn unprepared(
    control: &Control,
    of: Option<(&Account, &str)>,
) -> Result<Vec<(Account, String, u64)>, ControlError> {
    let all = "SELECT account, name, number FROM functions WHERE preparing = 1";
    let query = match of {
        None => sqlx::query(all).fetch_all(control.pool()).await,
        Some((account, name)) => {
            sqlx::query(AssertSqlSafe(format!("{all} AND account = $1 AND name = $2")))
                .bind(account.as_str())
                .bind(name)
                .fetch_all(control.pool())
                .await
        }
    };
    let rows = query?;
    rows.iter()
        .map(|row| Ok((account_of(row)?, row.try_get("name")?, unsigned(row, "number")?)))
        .collect()
}

/// Takes the next number of a function's versions. They begin at 1.
pub(crate) async fn next_number(
    connection: &mut AnyConnection,
    account: &Account,
    name: &str,
) -> Result<u64, ControlError> {
    let row = sqlx::query(
        "INSERT INTO function_numbers (account, name, last) VALUES ($1, $2, 1)
         ON CONFLICT (account, name) DO UPDATE SET last = function_numbers.last + 1 RETURNING last",
    )
    .bind(account.as_str())
    .bind(name)
    .fetch_one(connection)
    .await?;
    unsigned(&row, "last")
}

/// A query for records, with the condition and the order.
fn select(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT account, name, number, revision_id, writes, document FROM functions WHERE {condition}"
    ))
}

fn records(control: &Control, rows: &[AnyRow]) -> Result<Vec<FunctionRecord>, ControlError> {
    rows.iter().map(|row| FunctionRecord::read(control, row)).collect()
}
