//! What changes a mapping. Each change reads the row, changes it and writes it with nobody between: what one client said
//! is never written over by what another had read before.

use super::{COLUMNS, EventSource, EventSourceSettings, RECORD, from_row};
use crate::column::{document_text, signed};
use crate::{Control, ControlError, TAGS_MAX};
use chunk::Account;
use sqlx::{AnyConnection, AssertSqlSafe};
use std::collections::BTreeMap;

impl Control {
    /// Changes a mapping: gives it to another function, if one is named, and sets what `settings` makes of it.
    ///
    /// Errors: there is none; another change of it, or its removal, is not done yet; no such function; the function has a
    /// mapping of this queue already; what `settings` says.
    pub async fn update_event_source(
        &self,
        account: &Account,
        id: &str,
        function: Option<(String, Option<String>)>,
        settings: impl FnOnce(&EventSource) -> Result<EventSourceSettings, ControlError>,
    ) -> Result<EventSource, ControlError> {
        if let Some((name, qualifier)) = &function {
            self.function(account, name, qualifier.as_deref()).await?;
        }
        let now_ms = self.now_ms();
        let change = |source: &mut EventSource| {
            let settings = settings(source)?;
            let state = source.state.updated(source.settings.enabled, settings.enabled);
            source.state = state.ok_or_else(in_use)?;
            if let Some((name, qualifier)) = function {
                (source.function, source.qualifier) = (name, qualifier);
            }
            (source.settings, source.modified_ms) = (settings, now_ms);
            source.writes += 1;
            Ok(())
        };
        self.change_event_source(account, id, change).await
    }

    /// Begins a mapping's removal.
    ///
    /// Errors: there is none; it is being created or changed.
    pub async fn delete_event_source(&self, account: &Account, id: &str) -> Result<EventSource, ControlError> {
        let now_ms = self.now_ms();
        let change = |source: &mut EventSource| {
            source.state = source.state.deleted().ok_or_else(in_use)?;
            source.modified_ms = now_ms;
            source.writes += 1;
            Ok(())
        };
        self.change_event_source(account, id, change).await
    }

    /// Changes a mapping's tags, which nobody polls by.
    ///
    /// Errors: there is none; it would have more than [`TAGS_MAX`].
    pub async fn tag_event_source(
        &self,
        account: &Account,
        id: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<(), ControlError> {
        let change = |source: &mut EventSource| {
            change(&mut source.settings.tags);
            if source.settings.tags.len() > TAGS_MAX {
                let message = format!("Tags must be a map of length less or equal to {TAGS_MAX}.");
                return Err(ControlError::invalid(message));
            }
            Ok(())
        };
        self.change_event_source(account, id, change).await.map(drop)
    }

    async fn change_event_source(
        &self,
        account: &Account,
        id: &str,
        change: impl FnOnce(&mut EventSource) -> Result<(), ControlError>,
    ) -> Result<EventSource, ControlError> {
        let mut transaction = self.write().await?;
        let mut source = hold(&mut transaction, account, id).await?;
        let followed = source.writes;
        change(&mut source)?;
        match write(&mut transaction, &source).await {
            Err(ControlError::Database(error)) if is_taken(&error) => {
                drop(transaction);
                return Err(self.event_source_exists(&source).await?);
            }
            written => written?,
        }
        transaction.commit().await?;
        if source.writes != followed {
            self.event_source_bell().notify_one();
        }
        Ok(source)
    }

    /// Says that a mapping's last change, the one with so many writes, has been followed: it becomes `Enabled` or
    /// `Disabled`, or goes. A change that came meanwhile is left to be followed.
    pub async fn settle_event_source(&self, source: &EventSource) -> Result<(), ControlError> {
        let (id, writes) = (source.id.as_str(), signed(source.writes));
        match source.state.settled(source.settings.enabled) {
            None => {
                sqlx::query("DELETE FROM event_sources WHERE id = $1 AND writes = $2")
                    .bind(id)
                    .bind(writes)
                    .execute(self.pool())
                    .await?;
            }
            Some(state) => {
                sqlx::query("UPDATE event_sources SET state = $1 WHERE id = $2 AND writes = $3")
                    .bind(state.as_str())
                    .bind(id)
                    .bind(writes)
                    .execute(self.pool())
                    .await?;
            }
        }
        Ok(())
    }
}

/// Reads a row that is to be written. PostgreSQL would let others write it before the transaction ends, but for the write
/// that comes first here; SQLite lets nobody.
async fn hold(connection: &mut AnyConnection, account: &Account, id: &str) -> Result<EventSource, ControlError> {
    sqlx::query("UPDATE event_sources SET writes = writes WHERE account = $1 AND id = $2")
        .bind(account.as_str())
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let sql = format!("SELECT {COLUMNS} FROM event_sources WHERE account = $1 AND id = $2");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(account.as_str())
        .bind(id)
        .fetch_optional(connection)
        .await?;
    from_row(&row.ok_or_else(ControlError::no_such_resource)?)
}

async fn write(connection: &mut AnyConnection, source: &EventSource) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE event_sources SET name = $1, qualifier = $2, state = $3, document = $4, modified_ms = $5, writes = $6
         WHERE id = $7",
    )
    .bind(source.function.as_str())
    .bind(source.qualifier.as_deref().unwrap_or_default())
    .bind(source.state.as_str())
    .bind(document_text(&source.settings, RECORD)?)
    .bind(signed(source.modified_ms))
    .bind(signed(source.writes))
    .bind(source.id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a function has a mapping of the queue already.
fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn in_use() -> ControlError {
    ControlError::InUse {
        message: "Cannot update the event source mapping because it is in use.".to_owned(),
    }
}
