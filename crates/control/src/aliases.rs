//! Aliases: names for a version, or for two by weight.

use crate::column::unsigned;
use crate::function_record::{LATEST, VersionKey, new_revision};
use crate::functions::delete_qualified;
use crate::{Control, ControlError, Page, PageRequest};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

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

/// An alias.
#[derive(Clone, Debug, PartialEq)]
pub struct AliasRecord {
    /// With the alias as qualifier.
    pub arn: String,
    /// The alias.
    pub name: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// At most 256 characters.
    pub description: String,
    /// Another version and its part of the invocations, 0 to 1.
    pub routing: Option<(String, f64)>,
    /// A UUID; another with each change.
    pub revision_id: String,
}

/// What CreateAlias and UpdateAlias are asked for; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct AliasChange {
    /// `$LATEST` or a number.
    pub version: Option<String>,
    /// At most 256 characters.
    pub description: Option<String>,
    /// Weights of other versions, at most one; replaces all. Empty: none.
    pub routing: Option<BTreeMap<String, f64>>,
    /// The change is made only if this is the current one.
    pub revision_id: Option<String>,
}

const COLUMNS: &str = "alias, number, description, other_number, other_weight, revision_id";

impl Control {
    /// Makes an alias of a version that exists.
    pub async fn create_alias(
        &self,
        account: &Account,
        name: &str,
        alias: &str,
        change: AliasChange,
    ) -> Result<AliasRecord, ControlError> {
        let mut transaction = self.write().await?;
        let version = change.version.clone().unwrap_or_else(|| LATEST.to_owned());
        let checked = self.check_function(&mut transaction, account, name).await;
        checked.map_err(|error| match error {
            // Lambda's sentence names the version here.
            ControlError::NotFound { .. } => self.function_missing(account, name, Some(&version)),
            other => other,
        })?;
        let arn = self.qualified_arn(account, name, Some(alias));
        if self
            .read_alias(&mut transaction, (account, name), alias)
            .await?
            .is_some()
        {
            return Err(ControlError::conflict(format!("Alias already exists: {arn}")));
        }
        let mut record = AliasRecord {
            arn,
            name: alias.to_owned(),
            version,
            description: String::new(),
            routing: None,
            revision_id: new_revision(),
        };
        self.change_alias(&mut transaction, (account, name), &mut record, change)
            .await?;
        insert(&mut transaction, (account, name), &record).await?;
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(record)
    }

    /// One alias.
    pub async fn alias(&self, account: &Account, name: &str, alias: &str) -> Result<AliasRecord, ControlError> {
        let mut connection = self.pool().acquire().await?;
        self.check_function(&mut connection, account, name).await?;
        let found = self.read_alias(&mut connection, (account, name), alias).await?;
        found.ok_or_else(|| {
            let arn = self.qualified_arn(account, name, Some(alias));
            ControlError::not_found(format!("Cannot find alias arn: {arn}"))
        })
    }

    /// Changes an alias; the next invocation goes by it.
    pub async fn update_alias(
        &self,
        account: &Account,
        name: &str,
        alias: &str,
        change: AliasChange,
    ) -> Result<AliasRecord, ControlError> {
        let mut transaction = self.write().await?;
        self.check_function(&mut transaction, account, name).await?;
        let found = self.read_alias(&mut transaction, (account, name), alias).await?;
        let Some(mut record) = found else {
            let arn = self.qualified_arn(account, name, Some(alias));
            return Err(ControlError::not_found(format!("Alias not found: {arn}")));
        };
        let before = record.revision_id.clone();
        if change.revision_id.as_ref().is_some_and(|expected| *expected != before) {
            return Err(ControlError::revision_mismatch());
        }
        self.change_alias(&mut transaction, (account, name), &mut record, change)
            .await?;
        record.revision_id = new_revision();
        if !replace(&mut transaction, (account, name), &record, &before).await? {
            return Err(ControlError::revision_mismatch());
        }
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(record)
    }

    /// Deletes an alias; one that is not there is no error, as in Lambda.
    pub async fn delete_alias(&self, account: &Account, name: &str, alias: &str) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        self.check_function(&mut transaction, account, name).await?;
        sqlx::query("DELETE FROM aliases WHERE account = $1 AND name = $2 AND alias = $3")
            .bind(account.as_str())
            .bind(name)
            .bind(alias)
            .execute(&mut *transaction)
            .await?;
        delete_qualified(&mut transaction, account, name, alias).await?;
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(())
    }

    /// A function's aliases by name, all or those that name a version first.
    pub async fn aliases(
        &self,
        account: &Account,
        name: &str,
        version: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<AliasRecord>, ControlError> {
        let after = request.after()?.unwrap_or_default();
        let number = version.map(number_of).transpose()?;
        let mut connection = self.pool().acquire().await?;
        self.check_function(&mut connection, account, name).await?;
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM aliases WHERE account = $1 AND name = $2 AND alias > $3 AND ($4 < 0 OR number = $4)
             ORDER BY alias LIMIT $5"
        ));
        let rows = sqlx::query(sql)
            .bind(account.as_str())
            .bind(name)
            .bind(after)
            .bind(number.unwrap_or(-1))
            .bind(request.fetch_rows())
            .fetch_all(&mut *connection)
            .await?;
        let read: Result<Vec<_>, _> = rows.iter().map(|row| self.read_row((account, name), row)).collect();
        Ok(request.page(read?, |record| record.name.clone()))
    }

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
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM aliases WHERE account = $1 AND name = $2"
        ));
        let rows = sqlx::query(sql)
            .bind(account.as_str())
            .bind(name)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| self.read_row((account, name), row)).collect()
    }

    async fn change_alias(
        &self,
        connection: &mut AnyConnection,
        key: (&Account, &str),
        record: &mut AliasRecord,
        change: AliasChange,
    ) -> Result<(), ControlError> {
        record.description = change.description.unwrap_or_else(|| record.description.clone());
        record.version = change.version.unwrap_or_else(|| record.version.clone());
        self.check_version(connection, key, &record.version).await?;
        if let Some(weights) = change.routing {
            record.routing = check_weights(&weights)?;
        }
        let Some((other, _)) = &record.routing else {
            return Ok(());
        };
        check_routing(&record.version, other)?;
        self.check_version(connection, key, other).await
    }

    async fn check_function(
        &self,
        connection: &mut AnyConnection,
        account: &Account,
        name: &str,
    ) -> Result<(), ControlError> {
        self.check_version(connection, (account, name), LATEST)
            .await
            .map_err(|error| match error {
                ControlError::NotFound { .. } => self.function_missing(account, name, None),
                other => other,
            })
    }

    async fn check_version(
        &self,
        connection: &mut AnyConnection,
        (account, name): (&Account, &str),
        version: &str,
    ) -> Result<(), ControlError> {
        let number = u64::try_from(number_of(version)?).unwrap_or(0);
        let found = VersionKey { account, name, number }.read(self, connection).await?;
        let exact = found.filter(|record| record.version == version);
        exact
            .map(drop)
            .ok_or_else(|| self.function_missing(account, name, Some(version)))
    }

    async fn read_alias(
        &self,
        connection: &mut AnyConnection,
        key: (&Account, &str),
        alias: &str,
    ) -> Result<Option<AliasRecord>, ControlError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM aliases WHERE account = $1 AND name = $2 AND alias = $3"
        ));
        let row = sqlx::query(sql)
            .bind(key.0.as_str())
            .bind(key.1)
            .bind(alias)
            .fetch_optional(connection)
            .await?;
        row.map(|row| self.read_row(key, &row)).transpose()
    }

    fn read_row(&self, (account, name): (&Account, &str), row: &AnyRow) -> Result<AliasRecord, ControlError> {
        let alias: String = row.try_get("alias")?;
        let number = unsigned(row, "number")?;
        let other: Option<i64> = row.try_get("other_number")?;
        let weight: Option<String> = row.try_get("other_weight")?;
        let weight = weight.and_then(|text| text.parse().ok());
        Ok(AliasRecord {
            arn: self.qualified_arn(account, name, Some(&alias)),
            name: alias,
            version: if number == 0 {
                LATEST.to_owned()
            } else {
                number.to_string()
            },
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

async fn insert(
    connection: &mut AnyConnection,
    (account, name): (&Account, &str),
    record: &AliasRecord,
) -> Result<(), ControlError> {
    let done = sqlx::query(
        "INSERT INTO aliases (account, name, alias, number, description, other_number, other_weight, revision_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, name, alias) DO NOTHING",
    )
    .bind(account.as_str())
    .bind(name)
    .bind(record.name.as_str())
    .bind(number_of(&record.version)?)
    .bind(record.description.as_str())
    .bind(
        record
            .routing
            .as_ref()
            .map(|(version, _)| number_of(version))
            .transpose()?,
    )
    .bind(record.routing.as_ref().map(|(_, weight)| weight.to_string()))
    .bind(record.revision_id.as_str())
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::conflict(format!("Alias already exists: {}", record.arn)));
    }
    Ok(())
}

async fn replace(
    connection: &mut AnyConnection,
    (account, name): (&Account, &str),
    record: &AliasRecord,
    revision_before: &str,
) -> Result<bool, ControlError> {
    let done = sqlx::query(
        "UPDATE aliases SET number = $1, description = $2, other_number = $3, other_weight = $4, revision_id = $5
         WHERE account = $6 AND name = $7 AND alias = $8 AND revision_id = $9",
    )
    .bind(number_of(&record.version)?)
    .bind(record.description.as_str())
    .bind(
        record
            .routing
            .as_ref()
            .map(|(version, _)| number_of(version))
            .transpose()?,
    )
    .bind(record.routing.as_ref().map(|(_, weight)| weight.to_string()))
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
fn number_of(version: &str) -> Result<i64, ControlError> {
    if version == LATEST {
        return Ok(0);
    }
    let number = version.parse().ok().filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| ControlError::invalid(format!("Value '{version}' at 'functionVersion' is not a version.")))
}

/// At most one version, a number, with a weight of 0 to 1.
fn check_weights(weights: &BTreeMap<String, f64>) -> Result<Option<(String, f64)>, ControlError> {
    if weights.len() > 1 {
        let message = "Number of items in AdditionalVersionWeights cannot be greater than 1";
        return Err(ControlError::invalid(message));
    }
    let Some((version, weight)) = weights.first_key_value() else {
        return Ok(None);
    };
    if !(0.0..=1.0).contains(weight) {
        return Err(ControlError::out_of_model(format!(
            "1 validation error detected: Value '{{{version}={weight}}}' at 'routingConfig.additionalVersionWeights' \
             failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or \
             equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
        )));
    }
    if version == LATEST {
        return Err(latest_has_no_weights());
    }
    if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ControlError::out_of_model(format!(
            "1 validation error detected: Value '{{{version}={weight}}}' at 'routingConfig.additionalVersionWeights' \
             failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or \
             equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression \
             pattern: [0-9]+]"
        )));
    }
    Ok(Some((version.clone(), *weight)))
}

fn check_routing(version: &str, other: &str) -> Result<(), ControlError> {
    if version == other {
        return Err(ControlError::invalid(format!(
            "Invalid function version {version}. Function version {version} is already included in routing \
             configuration."
        )));
    }
    if version == LATEST {
        return Err(latest_has_no_weights());
    }
    Ok(())
}

fn latest_has_no_weights() -> ControlError {
    ControlError::invalid("$LATEST is not supported for an alias pointing to more than 1 version")
}
