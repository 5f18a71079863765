//! Reserved and provisioned concurrency: what is asked for, and what an account has left.
//!
//! Reserved concurrency is a function's own share of the account's limit and its ceiling at once. Provisioned
//! concurrency is a wish for environments that are started ahead. It is recorded here, and it counts against the account's
//! limit as in Lambda; the gateway compares it with what runs ([`Control::provision_plan`]) and says how far that is.

mod plan;
mod provisioned;

pub(crate) use plan::HeldAliases;
pub use plan::{ProvisionPart, ProvisionWish};
pub use provisioned::ProvisionedConcurrency;
pub(crate) use provisioned::all_of_function;

use crate::column::{signed, unsigned};
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::AnyConnection;

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

fn below_minimum(what: &str) -> ControlError {
    ControlError::invalid(format!(
        "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of \
         [{UNRESERVED_CONCURRENCY_MIN}]."
    ))
}
