//! Reserved and provisioned concurrency: what is asked for, and what an account has left.
//!
//! Reserved concurrency is a function's own share of the account's limit and its ceiling at once. Provisioned
//! concurrency is a wish for environments that are started ahead. It is recorded, and it counts against the account's
//! limit as in Lambda, but nothing starts environments ahead yet: each wish says so in its status.

use crate::column::{signed, unsigned};
use crate::{Control, ControlError, Page, PageRequest, QualifiedName};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

/// Shares of functions, and wishes for versions and aliases. `qualifier` is a version's number or an alias's name.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS function_concurrency (
        account TEXT NOT NULL, name TEXT NOT NULL, reserved BIGINT NOT NULL, PRIMARY KEY (account, name))",
    "CREATE TABLE IF NOT EXISTS provisioned_concurrency (
        account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL,
        requested BIGINT NOT NULL, modified_ms BIGINT NOT NULL, PRIMARY KEY (account, name, qualifier))",
];

/// What reservations must leave to functions without one. Lambda's figure.
pub const UNRESERVED_CONCURRENCY_MIN: u64 = 100;

/// Why no wish is fulfilled.
const NOT_STARTED: &str = "Lambent does not start environments ahead of invocations yet; the request is recorded.";

/// A wish for environments that are started ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionedConcurrency {
    /// A version's number or an alias's name.
    pub qualifier: String,
    /// How many.
    pub requested: u64,
    /// How many of them are there.
    pub allocated: u64,
    /// `IN_PROGRESS`, `READY` or `FAILED`.
    pub status: &'static str,
    /// What failed.
    pub status_reason: &'static str,
    /// When it was asked for, milliseconds since 1970.
    pub modified_ms: u64,
}

impl Control {
    /// A function's own share; none if it takes from what is left.
    pub async fn reserved_concurrency(&self, account: &Account, name: &str) -> Result<Option<u64>, ControlError> {
        let mut connection = self.pool().acquire().await?;
        reserved(&mut connection, account, name).await
    }

    /// Gives a function its own share. `account_max` is how many invocations the account may have at once.
    ///
    /// Errors: no such function; too little would be left to the others; provisioned concurrency needs more.
    pub async fn put_reserved_concurrency(
        &self,
        account: &Account,
        name: &str,
        share: u64,
        account_max: u64,
    ) -> Result<(), ControlError> {
        self.function(account, name, None).await?;
        let mut transaction = self.write().await?;
        let provisioned = provisioned_sum(&mut transaction, account, name, "").await?;
        let others = taken_by_others(&mut transaction, account, name).await?;
        if others.saturating_add(share) > account_max.saturating_sub(UNRESERVED_CONCURRENCY_MIN) {
            return Err(below_minimum("ReservedConcurrentExecutions"));
        }
        if provisioned > share {
            return Err(ControlError::invalid(format!(
                " ReservedConcurrentExecutions  {share} should not be lower than function's total provisioned \
                 concurrency [{provisioned}]."
            )));
        }
        sqlx::query(
            "INSERT INTO function_concurrency (account, name, reserved) VALUES ($1, $2, $3)
             ON CONFLICT (account, name) DO UPDATE SET reserved = excluded.reserved",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(signed(share))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(())
    }

    /// Takes a function's share back; that it had none is no error.
    pub async fn delete_reserved_concurrency(&self, account: &Account, name: &str) -> Result<(), ControlError> {
        self.function(account, name, None).await?;
        sqlx::query("DELETE FROM function_concurrency WHERE account = $1 AND name = $2")
            .bind(account.as_str())
            .bind(name)
            .execute(self.pool())
            .await?;
        self.function_changed(account, name);
        Ok(())
    }

    /// What functions without a share have left of the account's limit.
    pub async fn unreserved_concurrency(&self, account: &Account, account_max: u64) -> Result<u64, ControlError> {
        let mut connection = self.pool().acquire().await?;
        let taken = taken_by_others(&mut connection, account, "").await?;
        Ok(account_max.saturating_sub(taken))
    }

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
        if target.qualifier == "$LATEST" {
            return Err(ControlError::invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            ));
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
        Ok(recorded(target.qualifier.to_owned(), requested, modified_ms))
    }

    /// The wish of a version or an alias.
    ///
    /// Errors: no such version or alias; `$LATEST`; it has none.
    pub async fn provisioned_concurrency(
        &self,
        target: &QualifiedName<'_>,
    ) -> Result<ProvisionedConcurrency, ControlError> {
        self.check_published(target).await?;
        let row = sqlx::query(
            "SELECT qualifier, requested, modified_ms FROM provisioned_concurrency
             WHERE account = $1 AND name = $2 AND qualifier = $3",
        )
        .bind(target.account.as_str())
        .bind(target.name)
        .bind(target.qualifier)
        .fetch_optional(self.pool())
        .await?;
        let row = row.ok_or_else(|| ControlError::ProvisionedConcurrencyConfigNotFound {
            what: "No Provisioned Concurrency Config found for this function".to_owned(),
        })?;
        from_row(&row)
    }

    /// Takes a wish back; that there is none is no error.
    pub async fn delete_provisioned_concurrency(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        self.check_published(target).await?;
        sqlx::query("DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2 AND qualifier = $3")
            .bind(target.account.as_str())
            .bind(target.name)
            .bind(target.qualifier)
            .execute(self.pool())
            .await?;
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
        let rows = sqlx::query(
            "SELECT qualifier, requested, modified_ms FROM provisioned_concurrency
             WHERE account = $1 AND name = $2 AND qualifier > $3 ORDER BY qualifier LIMIT $4",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(page.after()?.unwrap_or_default())
        .bind(page.fetch_rows())
        .fetch_all(self.pool())
        .await?;
        let items = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(page.page(items, |item: &ProvisionedConcurrency| item.qualifier.clone()))
    }

    async fn check_published(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        if target.qualifier == "$LATEST" {
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
        let version = self.qualified(target).await?.version;
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

async fn reserved(connection: &mut AnyConnection, account: &Account, name: &str) -> Result<Option<u64>, ControlError> {
    let row = sqlx::query("SELECT reserved FROM function_concurrency WHERE account = $1 AND name = $2")
        .bind(account.as_str())
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| unsigned(&row, "reserved")).transpose()
}

/// What a function's versions and aliases ask for, one of them left out.
async fn provisioned_sum(
    connection: &mut AnyConnection,
    account: &Account,
    name: &str,
    except: &str,
) -> Result<u64, ControlError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(requested), 0) AS BIGINT) AS total FROM provisioned_concurrency
         WHERE account = $1 AND name = $2 AND qualifier <> $3",
    )
    .bind(account.as_str())
    .bind(name)
    .bind(except)
    .fetch_one(connection)
    .await?;
    unsigned(&row, "total")
}

/// What the account's other functions take: their shares, and the wishes of those without a share.
async fn taken_by_others(connection: &mut AnyConnection, account: &Account, name: &str) -> Result<u64, ControlError> {
    let row = sqlx::query(
        "SELECT CAST((SELECT COALESCE(SUM(reserved), 0) FROM function_concurrency WHERE account = $1 AND name <> $2)
            + (SELECT COALESCE(SUM(requested), 0) FROM provisioned_concurrency p WHERE p.account = $3 AND p.name <> $4
               AND NOT EXISTS (SELECT 1 FROM function_concurrency r WHERE r.account = p.account AND r.name = p.name))
            AS BIGINT) AS total",
    )
    .bind(account.as_str())
    .bind(name)
    .bind(account.as_str())
    .bind(name)
    .fetch_one(connection)
    .await?;
    unsigned(&row, "total")
}

fn from_row(row: &AnyRow) -> Result<ProvisionedConcurrency, ControlError> {
    Ok(recorded(
        row.try_get("qualifier")?,
        unsigned(row, "requested")?,
        unsigned(row, "modified_ms")?,
    ))
}

fn recorded(qualifier: String, requested: u64, modified_ms: u64) -> ProvisionedConcurrency {
    ProvisionedConcurrency {
        qualifier,
        requested,
        allocated: 0,
        status: "FAILED",
        status_reason: NOT_STARTED,
        modified_ms,
    }
}

fn below_minimum(what: &str) -> ControlError {
    ControlError::invalid(format!(
        "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of \
         [{UNRESERVED_CONCURRENCY_MIN}]."
    ))
}

/// Versions are numbers; no alias is.
fn is_version(qualifier: &str) -> bool {
    qualifier.bytes().all(|byte| byte.is_ascii_digit())
}
