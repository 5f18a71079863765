//! The record of one version of a function, and how it is made from a row of the database.

mod rows;

pub(crate) use rows::{all_after, insert, latest_after, next_number, replace, unprepared, versions_after};

use crate::code::PreparedCode;
use crate::column::{document, unsigned};
use crate::{CodeRecord, Configuration, Control, ControlError, Lifecycle, Optimization, State};
use api::Lease;
use chunk::Account;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;
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
    /// How far its snapshot is.
    pub optimization: Optimization,
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
    /// Not in records from before there were snapshots.
    #[serde(default)]
    optimization: Optimization,
}

/// Names a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionKey<'a> {
    pub(crate) account: &'a Account,
    pub(crate) name: &'a str,
    pub(crate) number: u64,
}

impl<'a> VersionKey<'a> {
    /// Of `$LATEST`.
    pub(crate) fn latest(account: &'a Account, name: &'a str) -> Self {
        Self {
            account,
            name,
            number: 0,
        }
    }
}

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
            optimization: Optimization::Unasked,
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
            optimization: Optimization::of_version(&self.configuration),
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
            optimization: self.optimization.clone(),
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
            optimization: stored.optimization,
            number,
            writes: unsigned(row, "writes")?,
        })
    }
}

/// A fresh RevisionId.
pub(crate) fn new_revision() -> String {
    Uuid::new_v4().to_string()
}

/// `$LATEST` or the number, as clients read it.
pub(crate) fn version_of(number: u64) -> String {
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
