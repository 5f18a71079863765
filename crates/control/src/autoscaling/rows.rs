//! Rows: one table for all that is kept, since all of it is read, written and removed in one way.

use super::ScalableResource;
use crate::column::{document, document_text, signed, unsigned};
use crate::{Control, ControlError};
use chunk::Account;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

/// What Application Auto Scaling keeps.
///
/// | column | value |
/// |---|---|
/// | kind | `target`, `policy`, `action` or `activity` |
/// | account, name, qualifier | the version or alias |
/// | item | name of the policy or action, id of the activity; empty for a target |
/// | document | all else, as JSON |
/// | mark_ms | of an action: up to which due time it has run; of an activity: its begin; else 0 |
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS autoscaling (
    kind TEXT NOT NULL, account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL, item TEXT NOT NULL,
    document TEXT NOT NULL, mark_ms BIGINT NOT NULL, PRIMARY KEY (kind, account, name, qualifier, item))"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Target,
    Policy,
    Action,
    Activity,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Policy => "policy",
            Self::Action => "action",
            Self::Activity => "activity",
        }
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowKey<'a> {
    kind: Kind,
    resource: &'a ScalableResource,
    item: &'a str,
}

/// A row as it is read.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) resource: ScalableResource,
    pub(super) item: String,
    pub(super) document: T,
    pub(super) mark_ms: u64,
}

impl<'a> RowKey<'a> {
    pub(super) fn of(kind: Kind, resource: &'a ScalableResource, item: &'a str) -> Self {
        Self { kind, resource, item }
    }

    /// The document's text and the mark.
    pub(super) async fn read(self, connection: &mut AnyConnection) -> Result<Option<(String, u64)>, ControlError> {
        let row = sqlx::query(
            "SELECT document, mark_ms FROM autoscaling
             WHERE kind = $1 AND account = $2 AND name = $3 AND qualifier = $4 AND item = $5",
        )
        .bind(self.kind.name())
        .bind(self.resource.account.as_str())
        .bind(&self.resource.name)
        .bind(&self.resource.qualifier)
        .bind(self.item)
        .fetch_optional(connection)
        .await?;
        row.map(|row| Ok((row.try_get("document")?, unsigned(&row, "mark_ms")?)))
            .transpose()
    }

    /// Writes the row, or writes over it.
    pub(super) async fn write<T: Serialize>(
        self,
        connection: &mut AnyConnection,
        document: &T,
        mark_ms: u64,
    ) -> Result<(), ControlError> {
        sqlx::query(
            "INSERT INTO autoscaling (kind, account, name, qualifier, item, document, mark_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, account, name, qualifier, item)
             DO UPDATE SET document = excluded.document, mark_ms = excluded.mark_ms",
        )
        .bind(self.kind.name())
        .bind(self.resource.account.as_str())
        .bind(&self.resource.name)
        .bind(&self.resource.qualifier)
        .bind(self.item)
        .bind(document_text(document, self.kind.name())?)
        .bind(signed(mark_ms))
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Removes the row. Whether there was one.
    pub(super) async fn remove(self, connection: &mut AnyConnection) -> Result<bool, ControlError> {
        let done = sqlx::query(
            "DELETE FROM autoscaling
             WHERE kind = $1 AND account = $2 AND name = $3 AND qualifier = $4 AND item = $5",
        )
        .bind(self.kind.name())
        .bind(self.resource.account.as_str())
        .bind(&self.resource.name)
        .bind(&self.resource.qualifier)
        .bind(self.item)
        .execute(connection)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// How many rows of the kind the version or alias has, or, of targets, the account.
    pub(super) async fn count(self, connection: &mut AnyConnection) -> Result<u64, ControlError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS total FROM autoscaling
             WHERE kind = $1 AND account = $2 AND ($1 = 'target' OR (name = $3 AND qualifier = $4))",
        )
        .bind(self.kind.name())
        .bind(self.resource.account.as_str())
        .bind(&self.resource.name)
        .bind(&self.resource.qualifier)
        .fetch_one(connection)
        .await?;
        unsigned(&row, "total")
    }
}

impl Control {
    /// All rows of a kind, of an account or of all, by name, qualifier and item.
    pub(super) async fn scaling_rows<T: DeserializeOwned>(
        &self,
        kind: Kind,
        account: Option<&Account>,
    ) -> Result<Vec<Found<T>>, ControlError> {
        let rows = sqlx::query(
            "SELECT account, name, qualifier, item, document, mark_ms FROM autoscaling
             WHERE kind = $1 AND ($2 = '' OR account = $2) ORDER BY account, name, qualifier, item",
        )
        .bind(kind.name())
        .bind(account.map_or("", Account::as_str))
        .fetch_all(self.pool())
        .await?;
        let read = rows.iter().filter_map(|row| found(row, kind).transpose());
        read.collect()
    }
}

/// None for an account that does not read as one: this program did not write it.
fn found<T: DeserializeOwned>(row: &AnyRow, kind: Kind) -> Result<Option<Found<T>>, ControlError> {
    let account: String = row.try_get("account")?;
    let Ok(account) = account.parse() else {
        return Ok(None);
    };
    let text: String = row.try_get("document")?;
    Ok(Some(Found {
        resource: ScalableResource {
            account,
            name: row.try_get("name")?,
            qualifier: row.try_get("qualifier")?,
        },
        item: row.try_get("item")?,
        document: document(&text, kind.name())?,
        mark_ms: unsigned(row, "mark_ms")?,
    }))
}
