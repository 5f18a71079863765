//! Functions: deleted, whole or one version.

use crate::database::{FUNCTION_DELETES, QUALIFIER_DELETES, WriteTransaction};
use crate::function_record::{LATEST, VersionKey};
use crate::{Control, ControlError};
use chunk::Account;
use sqlx::AssertSqlSafe;

impl Control {
    /// Deletes a function with all that hangs on it, or one version. A version that is not there is no error, as in
    /// Lambda.
    pub async fn delete_function(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let found = VersionKey::latest(account, name).read(self, &mut transaction).await?;
        if found.is_none() {
            return Err(self.function_missing(account, name, None));
        }
        match qualifier {
            None => {
                for statement in FUNCTION_DELETES {
                    let query = sqlx::query(AssertSqlSafe(*statement)).bind(account.as_str()).bind(name);
                    query.execute(&mut *transaction).await?;
                }
            }
            Some(qualifier) => self.delete_version(&mut transaction, account, name, qualifier).await?,
        }
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(())
    }

    async fn delete_version(
        &self,
        transaction: &mut WriteTransaction,
        account: &Account,
        name: &str,
        qualifier: &str,
    ) -> Result<(), ControlError> {
        if qualifier == LATEST {
            let message = "$LATEST version cannot be deleted without deleting the function.";
            return Err(ControlError::invalid(message));
        }
        let Ok(number) = qualifier.parse::<i64>() else {
            return Err(ControlError::invalid("Deletion of aliases is not currently supported."));
        };
        let aliases = crate::aliases::names_of_version(transaction, account, name, qualifier).await?;
        if !aliases.is_empty() {
            return Err(ControlError::conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                aliases.join(", ")
            )));
        }
        sqlx::query("DELETE FROM functions WHERE account = $1 AND name = $2 AND number = $3 AND number > 0")
            .bind(account.as_str())
            .bind(name)
            .bind(number)
            .execute(&mut **transaction)
            .await?;
        delete_qualified(transaction, account, name, qualifier).await
    }
}

/// Removes what other areas keep of one version or alias.
pub(crate) async fn delete_qualified(
    transaction: &mut WriteTransaction,
    account: &Account,
    name: &str,
    qualifier: &str,
) -> Result<(), ControlError> {
    for statement in QUALIFIER_DELETES {
        let query = sqlx::query(AssertSqlSafe(*statement))
            .bind(account.as_str())
            .bind(name)
            .bind(qualifier);
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}
