//! Aliases: names for a version, or for two by weight.

mod routing;
mod rows;

pub(crate) use rows::{SCHEMA, names_of_version};

use crate::function_record::{LATEST, VersionKey, new_revision};
use crate::functions::delete_qualified;
use crate::{Control, ControlError, Page, PageRequest};
use chunk::Account;
use routing::{check_routing, check_weights};
use rows::{insert, number_of, replace, select};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

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
        // Lambda's sentence names the version here.
        checked.map_err(|error| error.if_not_found(|| self.function_missing(account, name, Some(&version))))?;
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
        let (before, version_before) = (record.revision_id.clone(), record.version.clone());
        if change.revision_id.as_ref().is_some_and(|expected| *expected != before) {
            return Err(ControlError::revision_mismatch());
        }
        self.change_alias(&mut transaction, (account, name), &mut record, change)
            .await?;
        record.revision_id = new_revision();
        if !replace(&mut transaction, (account, name), &record, &before).await? {
            return Err(ControlError::revision_mismatch());
        }
        self.hold_alias(&mut transaction, (account, name), &record, &version_before)
            .await?;
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
        let sql =
            select("account = $1 AND name = $2 AND alias > $3 AND ($4 < 0 OR number = $4) ORDER BY alias LIMIT $5");
        let rows = sqlx::query(sql)
            .bind(account.as_str())
            .bind(name)
            .bind(after)
            .bind(number.unwrap_or(-1))
            .bind(request.fetch_rows())
            .fetch_all(&mut *connection)
            .await?;
        let read = |row: &AnyRow| self.read_alias_row((account, name), row);
        request.page_of_rows(&rows, read, |record| record.name.clone())
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
            .map_err(|error| error.if_not_found(|| self.function_missing(account, name, None)))
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
}
