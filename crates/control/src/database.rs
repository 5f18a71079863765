//! The database: SQLite in a file of its own, or PostgreSQL.
//!
//! All SQL is written once for both: `$1` placeholders, TEXT and BIGINT columns (no BLOB, BOOLEAN or floating point),
//! no JSON operators, `ON CONFLICT` where an insert may meet a row. Documents are JSON in TEXT, and every column that a
//! query selects by stands beside them.
//!
//! What a commit has acknowledged survives kill -9 and, by `synchronous=FULL`, a power cut.

use crate::{ControlError, access_keys, accounts, aliases, autoscaling, function_record};
use crate::{
    concurrency, deliveries, event_invoke, event_sources, events, function_settings, function_urls, layers, log_store,
    policies, shared_secrets, start_store, tags,
};
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Executor, Row, Transaction};
use std::fs::OpenOptions;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The tables of every area; each area adds its line. Statements are `CREATE ... IF NOT EXISTS`.
const SCHEMAS: &[&[&str]] = &[
    access_keys::SCHEMA,
    accounts::SCHEMA,
    aliases::SCHEMA,
    function_record::SCHEMA,
    autoscaling::SCHEMA,
    concurrency::SCHEMA,
    deliveries::SCHEMA,
    event_invoke::SCHEMA,
    event_sources::SCHEMA,
    events::SCHEMA,
    function_settings::SCHEMA,
    function_urls::SCHEMA,
    layers::SCHEMA,
    log_store::SCHEMA,
    policies::SCHEMA,
    shared_secrets::SCHEMA,
    start_store::SCHEMA,
    tags::SCHEMA,
];

/// What goes with a function when it is deleted: $1 is the account, $2 the function's name. Each area adds its
/// statements, such as `DELETE FROM policies WHERE account = $1 AND name = $2`. They run in the deletion's transaction.
pub(crate) const FUNCTION_DELETES: &[&str] = &[
    "DELETE FROM aliases WHERE account = $1 AND name = $2",
    "DELETE FROM functions WHERE account = $1 AND name = $2",
    "DELETE FROM policies WHERE account = $1 AND name = $2 AND kind = 'function'",
    "DELETE FROM function_tags WHERE account = $1 AND name = $2",
    "DELETE FROM function_concurrency WHERE account = $1 AND name = $2",
    "DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2",
    "DELETE FROM autoscaling WHERE account = $1 AND name = $2",
    "DELETE FROM event_invoke_configs WHERE account = $1 AND name = $2",
    "DELETE FROM function_urls WHERE account = $1 AND name = $2",
    "DELETE FROM runtime_management WHERE account = $1 AND name = $2",
    "DELETE FROM function_recursion WHERE account = $1 AND name = $2",
    "DELETE FROM cold_starts WHERE account = $1 AND name = $2",
    "DELETE FROM failed_deliveries WHERE account = $1 AND name = $2",
];

/// What goes with one version or alias: $1 is the account, $2 the function's name, $3 the qualifier (a version's number
/// or an alias's name). Each area adds its statements.
pub(crate) const QUALIFIER_DELETES: &[&str] = &[
    "DELETE FROM policies WHERE account = $1 AND name = $2 AND qualifier = $3 AND kind = 'function'",
    "DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2 AND qualifier = $3",
    "DELETE FROM autoscaling WHERE account = $1 AND name = $2 AND qualifier = $3",
    "DELETE FROM event_invoke_configs WHERE account = $1 AND name = $2 AND qualifier = $3",
    "DELETE FROM function_urls WHERE account = $1 AND name = $2 AND qualifier = $3",
    "DELETE FROM runtime_management WHERE account = $1 AND name = $2 AND qualifier = $3",
];

/// Written into the database; a program that knows a smaller number refuses to open it.
const SCHEMA_VERSION: i64 = 3;

/// What makes the tables of one schema version those of the next: each with the version that it leads to, in order. New
/// databases have the newest tables from the start.
const UPGRADES: &[(i64, &str)] = &[(2, events::UPGRADE_2), (3, access_keys::UPGRADE_3)];

const VERSION_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)";

/// Connections. Readers of SQLite do not wait for its writer; each costs a thread and some file descriptors.
const CONNECTIONS_MAX: u32 = 8;
/// Longest wait for a connection before a request fails.
const ACQUIRE_WAIT: Duration = Duration::from_secs(10);

/// Sent once on each new SQLite connection. The busy timeout, in milliseconds, covers writers outside
/// [`Database::write`], and other processes, such as `lambent keys` beside a running `lambent up`.
const SQLITE_PRAGMAS: &str =
    "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// Open connections to one database.
pub(crate) struct Database {
    pool: AnyPool,
    /// Held by whoever writes to SQLite, so that writers queue here and not in its busy handler, which is unfair.
    writer: Option<Arc<Mutex<()>>>,
}

/// A transaction that may write. Dropped without [`WriteTransaction::commit`], it did nothing.
pub(crate) struct WriteTransaction {
    transaction: Transaction<'static, Any>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Database {
    pub(crate) async fn open(url: &str) -> Result<Self, ControlError> {
        sqlx::any::install_default_drivers();
        let sqlite = sqlite_path(url);
        if let Some(path) = &sqlite {
            create_private(path)?;
        }
        let is_sqlite = sqlite.is_some();
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_WAIT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        connection.execute(SQLITE_PRAGMAS).await?;
                    }
                    Ok(())
                })
            })
            .connect(url)
            .await?;
        let database = Self {
            pool,
            writer: is_sqlite.then(|| Arc::new(Mutex::new(()))),
        };
        database.make_tables().await?;
        Ok(database)
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub(crate) async fn write(&self) -> Result<WriteTransaction, ControlError> {
        let turn = match &self.writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        // A SQLite transaction that reads before it writes must take the write lock first: upgrading later fails at
        // once when another process wrote in between.
        let begin = if turn.is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let transaction = self.pool.begin_with(begin).await?;
        Ok(WriteTransaction {
            transaction,
            _turn: turn,
        })
    }

    async fn make_tables(&self) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        transaction.execute(VERSION_TABLE).await?;
        let row = sqlx::query("SELECT version FROM schema_version WHERE id = 1")
            .fetch_optional(&mut *transaction)
            .await?;
        match row.map(|row| row.try_get::<i64, _>(0)).transpose()? {
            Some(found) if found > SCHEMA_VERSION => {
                return Err(ControlError::SchemaNewer {
                    found,
                    known: SCHEMA_VERSION,
                });
            }
            Some(found) => upgrade(&mut transaction, found).await?,
            None => {
                sqlx::query("INSERT INTO schema_version (id, version) VALUES (1, $1)")
                    .bind(SCHEMA_VERSION)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        for statement in SCHEMAS.iter().copied().flatten() {
            sqlx::query(AssertSqlSafe(*statement))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }
}

/// Brings the tables of an older version up to this program's.
async fn upgrade(connection: &mut AnyConnection, found: i64) -> Result<(), ControlError> {
    for (version, statement) in UPGRADES.iter().filter(|(version, _)| *version > found) {
        sqlx::query(AssertSqlSafe(*statement)).execute(&mut *connection).await?;
        sqlx::query("UPDATE schema_version SET version = $1 WHERE id = 1")
            .bind(*version)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl WriteTransaction {
    /// After this the writes are durable.
    pub(crate) async fn commit(self) -> Result<(), ControlError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for WriteTransaction {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// The file that a SQLite URL names; none for other databases.
pub(crate) fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
}

/// Makes the file before SQLite does, readable by its owner alone: it holds secret keys. SQLite gives its journals the
/// mode of the database.
fn create_private(path: &PathBuf) -> Result<(), ControlError> {
    let failed = |source| ControlError::File {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed)
}
