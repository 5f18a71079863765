//! Event source mappings: which queues feed which functions.
//!
//! The record holds what was asked for and how far the gateway's pollers have followed. A client's change moves a mapping
//! to a state that ends in -ing and rings a bell; whoever polls brings it about and says so with
//! [`Control::settle_event_source`]. What a crash interrupted is still in its state and followed at the next start.

mod change;
mod state;

pub use state::EventSourceState;

use crate::column::{document, document_text, signed, unsigned};
use crate::function_record::account_of;
use crate::{Control, ControlError, Page, PageRequest};
use chunk::Account;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// Mappings. They outlive their function, as in Lambda.
///
/// | column | value |
/// |---|---|
/// | name, qualifier | the function; the qualifier is empty for the function itself |
/// | source | ARN of the queue |
/// | state | see [`EventSourceState`] |
/// | document | JSON of [`EventSourceSettings`] |
/// | modified_ms | when a client last changed it |
/// | writes | counts clients' changes: whoever follows one says which |
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS event_sources (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL, source TEXT NOT NULL,
    state TEXT NOT NULL, document TEXT NOT NULL, modified_ms BIGINT NOT NULL, writes BIGINT NOT NULL,
    UNIQUE (account, name, qualifier, source))"];

/// Most mappings of an account. Each enabled one is a task and a long poll. Lambda says no figure; this is as many as its
/// account has invocations at once.
pub const EVENT_SOURCES_MAX: i64 = 1_000;

/// What a client chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSourceSettings {
    /// Whether events are to flow.
    pub enabled: bool,
    /// Most messages of one invocation, 1 to 10,000.
    pub batch_messages_max: u32,
    /// How long a batch is gathered, seconds, 0 to 300.
    pub window_s: u32,
    /// Most invocations at once, 2 to 1,000; none is as many as there is room for.
    pub concurrency_max: Option<u32>,
    /// Whether answers name the messages that failed.
    pub reports_failures: bool,
    /// Event patterns, JSON; a message that matches none is dropped. Empty: all match.
    pub filters: Vec<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSource {
    /// A UUID.
    pub id: String,
    /// Whose.
    pub account: Account,
    /// The function.
    pub function: String,
    /// A version or an alias, resolved with each invocation.
    pub qualifier: Option<String>,
    /// ARN of the queue.
    pub source: String,
    /// How far it is.
    pub state: EventSourceState,
    /// What a client chose.
    pub settings: EventSourceSettings,
    /// When a client last changed it, milliseconds since 1970.
    pub modified_ms: u64,
    /// Changes so far.
    pub writes: u64,
}

/// A mapping to be made.
#[derive(Clone, Debug)]
pub struct NewEventSource {
    /// Whose.
    pub account: Account,
    /// The function.
    pub function: String,
    /// A version or an alias.
    pub qualifier: Option<String>,
    /// ARN of the queue.
    pub source: String,
    /// What a client chose.
    pub settings: EventSourceSettings,
}

/// Which mappings a list has.
#[derive(Clone, Debug, Default)]
pub struct EventSourceFilter {
    /// Of this function, and of this qualifier; of any if none is given.
    pub function: Option<(String, Option<String>)>,
    /// Of this queue.
    pub source: Option<String>,
}

/// What cannot be read, in errors.
const RECORD: &str = "an event source mapping";

const COLUMNS: &str = "id, account, name, qualifier, source, state, document, modified_ms, writes";

impl Control {
    /// Makes a mapping; it is `Creating` until somebody polls.
    ///
    /// Errors: no such function, version or alias; the function has one of this queue already; the account has
    /// [`EVENT_SOURCES_MAX`].
    pub async fn create_event_source(&self, new: NewEventSource) -> Result<EventSource, ControlError> {
        self.function(&new.account, &new.function, new.qualifier.as_deref())
            .await?;
        let source = EventSource {
            id: Uuid::new_v4().to_string(),
            account: new.account,
            function: new.function,
            qualifier: new.qualifier,
            source: new.source,
            state: EventSourceState::Creating,
            settings: new.settings,
            modified_ms: self.now_ms(),
            writes: 1,
        };
        let mut transaction = self.write().await?;
        if !insert(&mut transaction, &source).await? {
            drop(transaction);
            return Err(self.event_source_exists(&source).await?);
        }
        // Its own row is among them.
        if count(&mut transaction, &source.account).await? > EVENT_SOURCES_MAX {
            let message =
                format!("An account has at most {EVENT_SOURCES_MAX} event source mappings. Delete some first.");
            return Err(ControlError::LimitExceeded { message });
        }
        transaction.commit().await?;
        self.event_source_bell().notify_one();
        Ok(source)
    }

    /// That another mapping is of the same function, qualifier and queue.
    async fn event_source_exists(&self, source: &EventSource) -> Result<ControlError, ControlError> {
        let row = sqlx::query(
            "SELECT id FROM event_sources WHERE account = $1 AND name = $2 AND qualifier = $3 AND source = $4",
        )
        .bind(source.account.as_str())
        .bind(source.function.as_str())
        .bind(source.qualifier.as_deref().unwrap_or_default())
        .bind(source.source.as_str())
        .fetch_optional(self.pool())
        .await?;
        // It may have gone meanwhile.
        let id: String = row.map(|row| row.try_get("id")).transpose()?.unwrap_or_default();
        Ok(ControlError::conflict(format!(
            "An event source mapping with SQS arn (\" {} \") and function (\" {} \") already exists. Please update or delete \
             the existing mapping with UUID {id}",
            source.source, source.function
        )))
    }

    /// A mapping by its UUID.
    ///
    /// Errors: there is none.
    pub async fn event_source(&self, account: &Account, id: &str) -> Result<EventSource, ControlError> {
        let sql = format!("SELECT {COLUMNS} FROM event_sources WHERE account = $1 AND id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(account.as_str())
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        from_row(&row.ok_or_else(ControlError::no_such_resource)?)
    }

    /// An account's mappings by UUID.
    pub async fn event_sources(
        &self,
        account: &Account,
        filter: &EventSourceFilter,
        page: &PageRequest,
    ) -> Result<Page<EventSource>, ControlError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM event_sources WHERE account = $1 AND id > $2 AND ($3 = '' OR source = $4)
             AND ($5 = '' OR name = $6) AND ($7 = '' OR qualifier = $8) ORDER BY id LIMIT $9"
        );
        let source = filter.source.as_deref().unwrap_or_default();
        let (name, qualifier) = filter.function.as_ref().map_or(("", ""), |(name, qualifier)| {
            (name.as_str(), qualifier.as_deref().unwrap_or_default())
        });
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(account.as_str())
            .bind(page.after()?.unwrap_or_default())
            .bind(source)
            .bind(source)
            .bind(name)
            .bind(name)
            .bind(qualifier)
            .bind(qualifier)
            .bind(page.fetch_rows())
            .fetch_all(self.pool())
            .await?;
        page.page_of_rows(&rows, from_row, |item| item.id.clone())
    }

    /// Every account's mappings: for whoever polls.
    pub async fn all_event_sources(&self) -> Result<Vec<EventSource>, ControlError> {
        let sql = format!("SELECT {COLUMNS} FROM event_sources ORDER BY id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(self.pool()).await?;
        rows.iter().map(from_row).collect()
    }

    /// Rings once for changes of mappings, however many: one listener, which then looks at all.
    #[must_use]
    pub fn event_sources_changed(&self) -> Arc<Notify> {
        Arc::clone(self.event_source_bell())
    }

    fn event_source_bell(&self) -> &Arc<Notify> {
        &self.inner.event_source_bell
    }
}

/// False if there is one of the same function, qualifier and queue.
async fn insert(connection: &mut AnyConnection, source: &EventSource) -> Result<bool, ControlError> {
    let done = sqlx::query(
        "INSERT INTO event_sources (id, account, name, qualifier, source, state, document, modified_ms, writes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account, name, qualifier, source) DO NOTHING",
    )
    .bind(source.id.as_str())
    .bind(source.account.as_str())
    .bind(source.function.as_str())
    .bind(source.qualifier.as_deref().unwrap_or_default())
    .bind(source.source.as_str())
    .bind(source.state.as_str())
    .bind(document_text(&source.settings, RECORD)?)
    .bind(signed(source.modified_ms))
    .bind(signed(source.writes))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn count(connection: &mut AnyConnection, account: &Account) -> Result<i64, ControlError> {
    let row = sqlx::query("SELECT COUNT(*) AS mappings FROM event_sources WHERE account = $1")
        .bind(account.as_str())
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("mappings")?)
}

fn from_row(row: &AnyRow) -> Result<EventSource, ControlError> {
    let qualifier: String = row.try_get("qualifier")?;
    Ok(EventSource {
        id: row.try_get("id")?,
        account: account_of(row)?,
        function: row.try_get("name")?,
        qualifier: Some(qualifier).filter(|qualifier| !qualifier.is_empty()),
        source: row.try_get("source")?,
        state: EventSourceState::read(&row.try_get::<String, _>("state")?),
        settings: document(&row.try_get::<String, _>("document")?, RECORD)?,
        modified_ms: unsigned(row, "modified_ms")?,
        writes: unsigned(row, "writes")?,
    })
}
