//! Small settings of functions: when runtimes are replaced, and what happens to loops.

use crate::column::signed;
use crate::function_record::all_after;
use crate::qualified_table::QualifiedTable;
use crate::{Control, ControlError, QualifiedName};
use chunk::Account;
use sqlx::Row;

/// Settings that somebody wrote; what is not here has its default.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS runtime_management (
        account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL, update_on TEXT NOT NULL,
        runtime_version_arn TEXT, PRIMARY KEY (account, name, qualifier))",
    "CREATE TABLE IF NOT EXISTS function_recursion (
        account TEXT NOT NULL, name TEXT NOT NULL, recursive_loop TEXT NOT NULL, PRIMARY KEY (account, name))",
];

const RUNTIME_MANAGEMENT: QualifiedTable = QualifiedTable {
    name: "runtime_management",
    columns: "update_on, runtime_version_arn",
};

/// When a function's runtime is replaced. Recorded alone: Lambent's runtimes change when the operator changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeManagement {
    /// `Auto`, `FunctionUpdate` or `Manual`.
    pub update_on: String,
    /// The version that is kept; for `Manual` alone.
    pub runtime_version_arn: Option<String>,
}

/// What an account has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUsage {
    /// Functions, not their versions.
    pub functions: u64,
    /// Zips of all versions of functions and layers, bytes. Each counts as often as it is published, as in Lambda.
    pub code_bytes: u64,
}

/// Versions that are read at once.
const VERSIONS_OF_FETCH: i64 = 500;

impl Control {
    /// What an account has stored.
    pub async fn account_usage(&self, account: &Account) -> Result<AccountUsage, ControlError> {
        let mut usage = AccountUsage {
            functions: 0,
            code_bytes: self.layer_bytes(account).await?,
        };
        let mut after = (String::new(), -1);
        loop {
            let records = all_after(self, account, (&after.0, after.1), VERSIONS_OF_FETCH).await?;
            let Some(last) = records.last() else { return Ok(usage) };
            after = (last.name.clone(), signed(last.number));
            usage.functions += records.iter().filter(|record| record.number == 0).count() as u64;
            usage.code_bytes += records.iter().map(|record| record.code.bytes()).sum::<u64>();
        }
    }

    /// When the runtime of a version (`$LATEST` or a number) is replaced.
    ///
    /// Errors: no such function or version.
    pub async fn runtime_management(&self, target: &QualifiedName<'_>) -> Result<RuntimeManagement, ControlError> {
        self.qualified(target).await?;
        let Some(row) = RUNTIME_MANAGEMENT.row(self, target).await? else {
            return Ok(RuntimeManagement {
                update_on: "Auto".to_owned(),
                runtime_version_arn: None,
            });
        };
        Ok(RuntimeManagement {
            update_on: row.try_get("update_on")?,
            runtime_version_arn: row.try_get("runtime_version_arn")?,
        })
    }

    /// Writes when the runtime of a version is replaced.
    ///
    /// Errors: no such function or version; `Manual` without a version to keep, or another mode with one.
    pub async fn put_runtime_management(
        &self,
        target: &QualifiedName<'_>,
        setting: &RuntimeManagement,
    ) -> Result<(), ControlError> {
        self.qualified(target).await?;
        match (setting.update_on.as_str(), &setting.runtime_version_arn) {
            ("Manual", None) => {
                return Err(ControlError::invalid(
                    "RuntimeVersionArn is required when UpdateRuntimeOn is Manual.",
                ));
            }
            ("Manual", Some(_)) | (_, None) => {}
            (mode, Some(_)) => {
                return Err(ControlError::invalid(format!(
                    "RuntimeVersionArn can only be given when UpdateRuntimeOn is Manual, not {mode}."
                )));
            }
        }
        sqlx::query(
            "INSERT INTO runtime_management (account, name, qualifier, update_on, runtime_version_arn)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, name, qualifier)
             DO UPDATE SET update_on = excluded.update_on, runtime_version_arn = excluded.runtime_version_arn",
        )
        .bind(target.account.as_str())
        .bind(target.name)
        .bind(target.qualifier)
        .bind(setting.update_on.as_str())
        .bind(setting.runtime_version_arn.clone())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What becomes of a function that its own events lead back to: `Terminate` (the default) or `Allow`.
    ///
    /// Errors: no such function.
    pub async fn recursive_loop(&self, account: &Account, name: &str) -> Result<String, ControlError> {
        self.function(account, name, None).await?;
        let row = sqlx::query("SELECT recursive_loop FROM function_recursion WHERE account = $1 AND name = $2")
            .bind(account.as_str())
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(row
            .map(|row| row.try_get("recursive_loop"))
            .transpose()?
            .unwrap_or_else(|| "Terminate".to_owned()))
    }

    /// Writes `Terminate` or `Allow`.
    ///
    /// Errors: no such function.
    pub async fn put_recursive_loop(&self, account: &Account, name: &str, setting: &str) -> Result<(), ControlError> {
        self.function(account, name, None).await?;
        sqlx::query(
            "INSERT INTO function_recursion (account, name, recursive_loop) VALUES ($1, $2, $3)
             ON CONFLICT (account, name) DO UPDATE SET recursive_loop = excluded.recursive_loop",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(setting)
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
