//! Tables whose rows hang on a function, a version or an alias: read, listed and removed in one way.
//!
//! From one setting to the next the columns differ and what a row means. The key (`account`, `name`, `qualifier`), the
//! order of a list (by qualifier, so that `$LATEST` comes first) and its pages do not. Writing stays with each setting:
//! statements that write differ in every line, and one that is built from parts could no longer be read.

use crate::{Control, ControlError, PageRequest, QualifiedName};
use chunk::Account;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

/// A table with the columns `account`, `name` and `qualifier`, which together are unique.
pub(crate) struct QualifiedTable {
    /// The table.
    pub(crate) name: &'static str,
    /// What is read of a row, with commas.
    pub(crate) columns: &'static str,
}

impl QualifiedTable {
    /// The row of a function, a version or an alias.
    pub(crate) async fn row(
        &self,
        control: &Control,
        target: &QualifiedName<'_>,
    ) -> Result<Option<AnyRow>, ControlError> {
        let Self { name, columns } = self;
        let sql = format!("SELECT {columns} FROM {name} WHERE account = $1 AND name = $2 AND qualifier = $3");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(target.account.as_str())
            .bind(target.name)
            .bind(target.qualifier)
            .fetch_optional(control.pool())
            .await?;
        Ok(row)
    }

    /// The rows of a function that a page needs, by qualifier.
    pub(crate) async fn rows(
        &self,
        control: &Control,
        (account, function): (&Account, &str),
        page: &PageRequest,
    ) -> Result<Vec<AnyRow>, ControlError> {
        let Self { name, columns } = self;
        let sql = format!(
            "SELECT {columns} FROM {name} WHERE account = $1 AND name = $2 AND qualifier > $3 ORDER BY qualifier LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.as_str())
            .bind(function)
            .bind(page.after()?.unwrap_or_default())
            .bind(page.fetch_rows())
            .fetch_all(control.pool())
            .await?;
        Ok(rows)
    }

    /// Removes a row. Whether there was one.
    pub(crate) async fn remove(&self, control: &Control, target: &QualifiedName<'_>) -> Result<bool, ControlError> {
        let sql = format!(
            "DELETE FROM {} WHERE account = $1 AND name = $2 AND qualifier = $3",
            self.name
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(target.account.as_str())
            .bind(target.name)
            .bind(target.qualifier)
            .execute(control.pool())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
