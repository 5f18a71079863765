//! Rows of aliases: read and written.

use super::AliasRecord;
use crate::column::unsigned;
use crate::function_record::{LATEST, version_of};
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// Aliases.
///
/// | column | value |
/// |---|---|
/// | number | the version; 0 for `$LATEST` |
/// | other_number | the version with a weight; null where there is none |
/// | other_weight | as decimal text, 0 to 1 |
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS aliases (
    account TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL, number BIGINT NOT NULL,
    description TEXT NOT NULL, other_number BIGINT, other_weight TEXT, revision_id TEXT NOT NULL,
    PRIMARY KEY (account, name, alias))"];

impl Control {
    /// The version that an alias names first.
    pub(crate) async fn alias_version(
        &self,
        account: &Account,
        name: &str,
        alias: &str,
    ) -> Result<Option<u64>, ControlError> {
        let row = sqlx::query("SELECT number FROM aliases WHERE account = $1 AND name = $2 AND alias = $3")
            .bind(account.as_str())
            .bind(name)
            .bind(alias)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| unsigned(&row, "number")).transpose()
    }

    /// All aliases of a function, for the index.
    pub(crate) async fn all_aliases(&self, account: &Account, name: &str) -> Result<Vec<AliasRecord>, ControlError> {
        let rows = sqlx::query(select("account = $1 AND name = $2"))
            .bind(account.as_str())
            .bind(name)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| self.read_alias_row((account, name), row))
            .collect()
    }

    pub(super) async fn read_alias(
        &self,
        connection: &mut AnyConnection,
        key: (&Account, &str),
        alias: &str,
    ) -> Result<Option<AliasRecord>, ControlError> {
        let row = sqlx::query(select("account = $1 AND name = $2 AND alias = $3"))
            .bind(key.0.as_str())
            .bind(key.1)
            .bind(alias)
            .fetch_optional(connection)
            .await?;
        row.map(|row| self.read_alias_row(key, &row)).transpose()
    }

    pub(super) fn read_alias_row(
        &self,
        (account, name): (&Account, &str),
        row: &AnyRow,
    ) -> Result<AliasRecord, ControlError> {
        let alias: String = row.try_get("alias")?;
        let number = unsigned(row, "number")?;
        let other: Option<i64> = row.try_get("other_number")?;
        let weight: Option<String> = row.try_get("other_weight")?;
        let weight = weight.and_then(|text| text.parse().ok());
        Ok(AliasRecord {
            arn: self.qualified_arn(account, name, Some(&alias)),
            name: alias,
            version: version_of(number),
            description: row.try_get("description")?,
            routing: other.map(|number| number.to_string()).zip(weight),
            revision_id: row.try_get("revision_id")?,
        })
    }
}

/// Aliases that send invocations to a version, first or by weight.
pub(crate) async fn names_of_version(
    connection: &mut AnyConnection,
    account: &Account,
    name: &str,
    version: &str,
) -> Result<Vec<String>, ControlError> {
    let rows = sqlx::query(
        "SELECT alias FROM aliases WHERE account = $1 AND name = $2 AND (number = $3 OR other_number = $3) ORDER BY alias",
    )
    .bind(account.as_str())
    .bind(name)
    .bind(number_of(version)?)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("alias")?)).collect()
}

/// Writes an alias that is not there yet.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    (account, name): (&Account, &str),
    record: &AliasRecord,
) -> Result<(), ControlError> {
    let (other_number, other_weight) = routing_columns(record)?;
    let done = sqlx::query(
        "INSERT INTO aliases (account, name, alias, number, description, other_number, other_weight, revision_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, name, alias) DO NOTHING",
    )
    .bind(account.as_str())
    .bind(name)
    .bind(record.name.as_str())
    .bind(number_of(&record.version)?)
    .bind(record.description.as_str())
    .bind(other_number)
    .bind(other_weight)
    .bind(record.revision_id.as_str())
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::conflict(format!("Alias already exists: {}", record.arn)));
    }
    Ok(())
}

/// Writes an alias over what was read. False if somebody wrote it in between, or deleted it.
pub(super) async fn replace(
    connection: &mut AnyConnection,
    (account, name): (&Account, &str),
    record: &AliasRecord,
    revision_before: &str,
) -> Result<bool, ControlError> {
    let (other_number, other_weight) = routing_columns(record)?;
    let done = sqlx::query(
        "UPDATE aliases SET number = $1, description = $2, other_number = $3, other_weight = $4, revision_id = $5
         WHERE account = $6 AND name = $7 AND alias = $8 AND revision_id = $9",
    )
    .bind(number_of(&record.version)?)
    .bind(record.description.as_str())
    .bind(other_number)
    .bind(other_weight)
    .bind(record.revision_id.as_str())
    .bind(account.as_str())
    .bind(name)
    .bind(record.name.as_str())
    .bind(revision_before)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The number of `$LATEST` or of a version, as columns hold it.
pub(super) fn number_of(version: &str) -> Result<i64, ControlError> {
    if version == LATEST {
        return Ok(0);
    }
    let number = version.parse().ok().filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| ControlError::invalid(format!("Value '{version}' at 'functionVersion' is not a version.")))
}

/// A query for aliases, with the condition and the order.
pub(super) fn select(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT alias, number, description, other_number, other_weight, revision_id FROM aliases WHERE {condition}"
    ))
}

fn routing_columns(record: &AliasRecord) -> Result<(Option<i64>, Option<String>), ControlError> {
    let Some((version, weight)) = &record.routing else {
        return Ok((None, None));
    };
    Ok((Some(number_of(version)?), Some(weight.to_string())))
}
