//! Rows of policies: read and written.

use super::PolicyRecord;
use crate::ControlError;
use crate::column::{document, document_text};
use chunk::Account;
use sqlx::{AnyConnection, Row};

/// Policies, one for each resource that has one.
///
/// | column | value |
/// |---|---|
/// | kind | `function` or `layer` |
/// | qualifier | `$LATEST`, a version's number or an alias's name |
/// | statements | JSON list, oldest first, never empty |
/// | revision | UUID, new with each change |
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS policies (
    account TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL,
    statements TEXT NOT NULL, revision TEXT NOT NULL, PRIMARY KEY (account, kind, name, qualifier))"];

/// The resource that a policy hangs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyKey<'a> {
    pub(crate) account: &'a Account,
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) qualifier: &'a str,
}

/// Value of the column `kind`.
pub(crate) const KIND_FUNCTION: &str = "function";
/// Value of the column `kind`.
pub(crate) const KIND_LAYER: &str = "layer";

/// The policy of a resource; none if it has none.
pub(super) async fn read(
    connection: &mut AnyConnection,
    key: PolicyKey<'_>,
) -> Result<Option<PolicyRecord>, ControlError> {
    let row = sqlx::query(
        "SELECT statements, revision FROM policies
         WHERE account = $1 AND kind = $2 AND name = $3 AND qualifier = $4",
    )
    .bind(key.account.as_str())
    .bind(key.kind)
    .bind(key.name)
    .bind(key.qualifier)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let statements = document(&row.try_get::<String, _>("statements")?, "a policy")?;
    Ok(Some(PolicyRecord {
        statements,
        revision_id: row.try_get("revision")?,
    }))
}

/// Writes a policy; one without statements is removed.
pub(super) async fn store(
    connection: &mut AnyConnection,
    key: PolicyKey<'_>,
    policy: &PolicyRecord,
) -> Result<(), ControlError> {
    if policy.statements.is_empty() {
        return delete(connection, key).await;
    }
    sqlx::query(
        "INSERT INTO policies (account, kind, name, qualifier, statements, revision) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (account, kind, name, qualifier)
         DO UPDATE SET statements = excluded.statements, revision = excluded.revision",
    )
    .bind(key.account.as_str())
    .bind(key.kind)
    .bind(key.name)
    .bind(key.qualifier)
    .bind(document_text(&policy.statements, "a policy")?)
    .bind(policy.revision_id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a policy, if there is one.
pub(crate) async fn delete(connection: &mut AnyConnection, key: PolicyKey<'_>) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM policies WHERE account = $1 AND kind = $2 AND name = $3 AND qualifier = $4")
        .bind(key.account.as_str())
        .bind(key.kind)
        .bind(key.name)
        .bind(key.qualifier)
        .execute(connection)
        .await?;
    Ok(())
}
