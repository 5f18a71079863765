//! Provisioned concurrency: wishes for environments that are started ahead, of versions and aliases.

use super::{UNRESERVED_CONCURRENCY_MIN, below_minimum, provisioned_sum, reserved, taken_by_others};
use crate::column::{signed, unsigned};
use crate::function_record::LATEST;
use crate::qualified_table::QualifiedTable;
use crate::snap_start::check_provisioned;
use crate::{Control, ControlError, Page, PageRequest, QualifiedName};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

const TABLE: QualifiedTable = QualifiedTable {
    name: "provisioned_concurrency",
    columns: "qualifier, requested, modified_ms",
};

/// A wish for environments that are started ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionedConcurrency {
    /// A version's number or an alias's name.
    pub qualifier: String,
    /// How many.
    pub requested: u64,
    /// When it was asked for, milliseconds since 1970.
    pub modified_ms: u64,
}

impl Control {
    /// Records a wish for environments that are started ahead.
    ///
    /// Errors: no such version or alias; `$LATEST`; the version and an alias that points at it both ask; more than the
    /// function's share, or than the account may give.
    pub async fn put_provisioned_concurrency(
        &self,
        target: &QualifiedName<'_>,
        requested: u64,
        account_max: u64,
    ) -> Result<ProvisionedConcurrency, ControlError> {
        if target.qualifier == LATEST {
            return Err(latest_has_none());
        }
        self.check_alias_and_version(target).await?;
        let modified_ms = self.now_ms();
        let mut transaction = self.write().await?;
        check_room(&mut transaction, target, requested, account_max).await?;
        sqlx::query(
            "INSERT INTO provisioned_concurrency (account, name, qualifier, requested, modified_ms)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, name, qualifier)
             DO UPDATE SET requested = excluded.requested, modified_ms = excluded.modified_ms",
        )
        .bind(target.account.as_str())
        .bind(target.name)
        .bind(target.qualifier)
        .bind(signed(requested))
        .bind(signed(modified_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.function_changed(target.account, target.name);
        Ok(ProvisionedConcurrency {
            qualifier: target.qualifier.to_owned(),
            requested,
            modified_ms,
        })
    }

    /// The wish of a version or an alias.
    ///
    /// Errors: no such version or alias; `$LATEST`; it has none.
    pub async fn provisioned_concurrency(
        &self,
        target: &QualifiedName<'_>,
    ) -> Result<ProvisionedConcurrency, ControlError> {
        self.check_published(target).await?;
        let row = TABLE.row(self, target).await?;
        let row = row.ok_or_else(|| ControlError::ProvisionedConcurrencyConfigNotFound {
            what: "No Provisioned Concurrency Config found for this function".to_owned(),
        })?;
        from_row(&row)
    }

    /// Takes a wish back; that there is none is no error.
    pub async fn delete_provisioned_concurrency(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        self.check_published(target).await?;
        if TABLE.remove(self, target).await? {
            self.function_changed(target.account, target.name);
        }
        Ok(())
    }

    /// All wishes of a function, by version and alias.
    pub async fn provisioned_concurrencies(
        &self,
        account: &Account,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<ProvisionedConcurrency>, ControlError> {
        self.function(account, name, None).await?;
        let rows = TABLE.rows(self, (account, name), page).await?;
        page.page_of_rows(&rows, from_row, |item| item.qualifier.clone())
    }

    async fn check_published(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        if target.qualifier == LATEST {
            return Err(ControlError::invalid(
                "The function resource provided must be an alias or a published version.",
            ));
        }
        self.qualified(target).await?;
        Ok(())
    }

    /// A version and an alias that points at it cannot both ask.
    async fn check_alias_and_version(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        if !is_version(target.qualifier) {
            let alias = self.alias(target.account, target.name, target.qualifier).await;
            // One that is not there is found below, in Lambda's words for this operation.
            if alias.is_ok_and(|alias| alias.routing.is_some()) {
                return Err(ControlError::invalid(
                    "Alias with weights can not be used with Provisioned Concurrency",
                ));
            }
        }
        let record = self.qualified(target).await?;
        if record.version == LATEST {
            return Err(latest_has_none());
        }
        check_provisioned(&record)?;
        let version = record.version;
        let rows = sqlx::query("SELECT qualifier FROM provisioned_concurrency WHERE account = $1 AND name = $2")
            .bind(target.account.as_str())
            .bind(target.name)
            .fetch_all(self.pool())
            .await?;
        for row in rows {
            let other: String = row.try_get("qualifier")?;
            if other == target.qualifier || is_version(&other) == is_version(target.qualifier) {
                continue;
            }
            if self.function(target.account, target.name, Some(&other)).await?.version == version {
                return Err(ControlError::conflict(if is_version(target.qualifier) {
                    "Version is pointed by a Provisioned Concurrency alias"
                } else {
                    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
                }));
            }
        }
        Ok(())
    }
}

/// Whether a function's share, or else the account, has room for a wish.
async fn check_room(
    connection: &mut AnyConnection,
    target: &QualifiedName<'_>,
    requested: u64,
    account_max: u64,
) -> Result<(), ControlError> {
    let sum = provisioned_sum(connection, target.account, target.name, target.qualifier).await?;
    let sum = sum.saturating_add(requested);
    if let Some(share) = reserved(connection, target.account, target.name).await? {
        return if sum > share {
            Err(ControlError::invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
            ))
        } else {
            Ok(())
        };
    }
    let left = account_max.saturating_sub(taken_by_others(connection, target.account, target.name).await?);
    if sum > left {
        return Err(ControlError::invalid(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{left}]."
        )));
    }
    if left - sum < UNRESERVED_CONCURRENCY_MIN {
        return Err(below_minimum("ConcurrentExecutions"));
    }
    Ok(())
}

fn from_row(row: &AnyRow) -> Result<ProvisionedConcurrency, ControlError> {
    Ok(ProvisionedConcurrency {
        qualifier: row.try_get("qualifier")?,
        requested: unsigned(row, "requested")?,
        modified_ms: unsigned(row, "modified_ms")?,
    })
}

/// All wishes of a function.
pub(crate) async fn all_of_function(
    connection: &mut AnyConnection,
    account: &Account,
    name: &str,
) -> Result<Vec<ProvisionedConcurrency>, ControlError> {
    let rows = sqlx::query(
        "SELECT qualifier, requested, modified_ms FROM provisioned_concurrency WHERE account = $1 AND name = $2
         ORDER BY qualifier",
    )
    .bind(account.as_str())
    .bind(name)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn latest_has_none() -> ControlError {
    ControlError::invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
}

/// Versions are numbers; no alias is.
fn is_version(qualifier: &str) -> bool {
    qualifier.bytes().all(|byte| byte.is_ascii_digit())
}
