//! The record of one version of a function, and how it lies in the database.

use crate::code::PreparedCode;
use crate::column::{document, document_text, signed, unsigned};
use crate::{CodeRecord, Configuration, Control, ControlError, Lifecycle, State};
use api::Lease;
use chunk::Account;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::sync::Arc;
use uuid::Uuid;

/// Versions and the numbers that they have had.
///
/// | column | value |
/// |---|---|
/// | functions.number | 0 for `$LATEST`, else the version |
/// | functions.revision_id | UUID, new with each change that a client makes |
/// | functions.writes | counts all writes: who writes must have read the newest |
/// | functions.preparing | 1 while code is to be prepared, else 0 |
/// | functions.document | JSON of [`Document`] |
/// | function_numbers.last | the newest number ever published under a name; it outlives the function, because Lambda never gives a number twice |
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS functions (
    account TEXT NOT NULL, name TEXT NOT NULL, number BIGINT NOT NULL, revision_id TEXT NOT NULL,
    writes BIGINT NOT NULL, preparing BIGINT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (account, name, number))",
    "CREATE INDEX IF NOT EXISTS functions_preparing ON functions (account, name, number) WHERE preparing = 1",
    "CREATE TABLE IF NOT EXISTS function_numbers (
    account TEXT NOT NULL, name TEXT NOT NULL, last BIGINT NOT NULL, PRIMARY KEY (account, name))",
];

/// The version of `$LATEST`.
pub(crate) const LATEST: &str = "$LATEST";

/// One version of one function.
#[derive(Clone, Debug)]
pub struct FunctionRecord {
    /// Its owner.
    pub account: Account,
    /// The bare name.
    pub name: String,
    /// Without a qualifier.
    pub arn: String,
    /// `$LATEST`, or a number.
    pub version: String,
    /// A UUID; another with each change that a client makes.
    pub revision_id: String,
    /// Settings.
    pub configuration: Configuration,
    /// Code.
    pub code: CodeRecord,
    /// States that waiters poll.
    pub lifecycle: Lifecycle,
    /// Milliseconds since 1970.
    pub last_modified_ms: u64,
    /// What invocations run: from before a change until it is prepared.
    pub(crate) lease: Option<Arc<Lease>>,
    /// The code made ready; none while it has to be made again.
    pub(crate) prepared: Option<PreparedCode>,
    /// 0 for `$LATEST`.
    pub(crate) number: u64,
    writes: u64,
}

/// What a row holds beside its key.
#[derive(Serialize, Deserialize)]
struct Document {
    configuration: Configuration,
    code: CodeRecord,
    lifecycle: Lifecycle,
    last_modified_ms: u64,
    lease: Option<Lease>,
    prepared: Option<PreparedCode>,
}

/// Names a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionKey<'a> {
    pub(crate) account: &'a Account,
    pub(crate) name: &'a str,
    pub(crate) number: u64,
}

const COLUMNS: &str = "account, name, number, revision_id, writes, document";

impl FunctionRecord {
    /// A new `$LATEST` whose code has yet to be prepared.
    pub(crate) fn new(control: &Control, key: VersionKey<'_>, configuration: Configuration, code: CodeRecord) -> Self {
        Self {
            account: key.account.clone(),
            name: key.name.to_owned(),
            arn: control.function_arn(key.account, key.name),
            version: version_of(key.number),
            revision_id: new_revision(),
            configuration,
            code,
            lifecycle: Lifecycle::created(),
            last_modified_ms: control.now_ms(),
            lease: None,
            prepared: None,
            number: key.number,
            writes: 0,
        }
    }

    /// Whether it can be invoked now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.lifecycle.state == State::Active
    }

    /// The ARN with the version.
    #[must_use]
    pub fn qualified_arn(&self) -> String {
        format!("{}:{}", self.arn, self.version)
    }

    pub(crate) fn key(&self) -> VersionKey<'_> {
        VersionKey {
            account: &self.account,
            name: &self.name,
            number: self.number,
        }
    }

    /// The same under another number, as a row that is not written yet.
    pub(crate) fn published_as(&self, number: u64) -> Self {
        let revision_id = new_revision();
        Self {
            number,
            version: version_of(number),
            revision_id,
            lease: None,
            writes: 0,
            ..self.clone()
        }
    }

    fn document(&self) -> Document {
        Document {
            configuration: self.configuration.clone(),
            code: self.code.clone(),
            lifecycle: self.lifecycle.clone(),
            last_modified_ms: self.last_modified_ms,
            lease: self.lease.as_deref().cloned(),
            prepared: self.prepared.clone(),
        }
    }

    fn read(control: &Control, row: &AnyRow) -> Result<Self, ControlError> {
        let name: String = row.try_get("name")?;
        let text: String = row.try_get("document")?;
        let stored: Document = document(&text, &format!("function {name}"))?;
        let account = account_of(row)?;
        let number = unsigned(row, "number")?;
        Ok(Self {
            arn: control.function_arn(&account, &name),
            version: version_of(number),
            account,
            name,
            revision_id: row.try_get("revision_id")?,
            configuration: stored.configuration,
            code: stored.code,
            lifecycle: stored.lifecycle,
            last_modified_ms: stored.last_modified_ms,
            lease: stored.lease.map(Arc::new),
            prepared: stored.prepared,
            number,
            writes: unsigned(row, "writes")?,
        })
    }
}

impl VersionKey<'_> {
    /// Reads a version.
    pub(crate) async fn read(
        self,
        control: &Control,
        connection: &mut AnyConnection,
    ) -> Result<Option<FunctionRecord>, ControlError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM functions WHERE account = $1 AND name = $2 AND number = $3"
        ));
        let row = sqlx::query(sql)
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
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM functions WHERE account = $1 AND name = $2 AND number > $3 ORDER BY number LIMIT $4"
    ));
    let rows = sqlx::query(sql)
        .bind(key.0.as_str())
        .bind(key.1)
        .bind(after.map_or(-1, signed))
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    rows.iter().map(|row| FunctionRecord::read(control, row)).collect()
}

/// Functions' `$LATEST` by name, after a name.
pub(crate) async fn latest_after(
    control: &Control,
    account: &Account,
    after: &str,
    rows_max: i64,
) -> Result<Vec<FunctionRecord>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM functions WHERE account = $1 AND number = 0 AND name > $2 ORDER BY name LIMIT $3"
    ));
    let rows = sqlx::query(sql)
        .bind(account.as_str())
        .bind(after)
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    rows.iter().map(|row| FunctionRecord::read(control, row)).collect()
}

/// All versions of all functions by name and number, after one of them.
pub(crate) async fn all_after(
    control: &Control,
    account: &Account,
    after: (&str, i64),
    rows_max: i64,
) -> Result<Vec<FunctionRecord>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM functions WHERE account = $1 AND (name > $2 OR (name = $2 AND number > $3))
         ORDER BY name, number LIMIT $4"
    ));
    let rows = sqlx::query(sql)
        .bind(account.as_str())
        .bind(after.0)
        .bind(after.1)
        .bind(rows_max)
        .fetch_all(control.pool())
        .await?;
    rows.iter().map(|row| FunctionRecord::read(control, row)).collect()
}

/// The versions whose preparation has not ended.
pub(crate) async fn unprepared(control: &Control) -> Result<Vec<(Account, String, u64)>, ControlError> {
    let rows = sqlx::query("SELECT account, name, number FROM functions WHERE preparing = 1")
        .fetch_all(control.pool())
        .await?;
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

/// A fresh RevisionId.
pub(crate) fn new_revision() -> String {
    Uuid::new_v4().to_string()
}

fn version_of(number: u64) -> String {
    if number == 0 {
        LATEST.to_owned()
    } else {
        number.to_string()
    }
}

/// The column `account`, which only this program writes.
pub(crate) fn account_of(row: &AnyRow) -> Result<Account, ControlError> {
    let text: String = row.try_get("account")?;
    text.parse().map_err(|_| ControlError::Account { text })
}
