//! Access keys.
//!
//! SigV4 is an HMAC under the secret itself, so secrets are kept as they are, in the database alone: SQLite's file is
//! readable by its owner only. Sealing them under a key that lies in a file beside it would protect from nobody who can
//! read the one and not the other; an operator who puts the record into PostgreSQL guards that database likewise.
//!
//! Every request is authenticated, so all active keys are in memory. Keys that another process made or revoked (`lambent
//! keys` beside a running `lambent up`) are noticed within [`REFRESH_WAIT`]; those of this process at once.
//!
//! A key may carry a policy that says what its holder may do; one without may do everything in its account. A policy
//! never changes: whoever wants another makes another key. Nobody is let in by a key whose policy cannot be read; the
//! others stay as good as they were.

use crate::accounts::account_missing;
use crate::column::{signed, unsigned};
use crate::function_record::account_of;
use crate::{Control, ControlError, Inner, KeyPolicy};
use aws_lc_rs::rand;
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Keys, and how often they have changed.
///
/// | column | value |
/// |---|---|
/// | access_keys.revoked | 0 or 1; a revoked key stays, so that its id is never given again |
/// | access_keys.policy | JSON as it was given, or null: no limit |
/// | access_key_changes.changes | grows with each change of the other table; one row |
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS access_keys (
    id TEXT NOT NULL PRIMARY KEY, secret TEXT NOT NULL, account TEXT NOT NULL, created_ms BIGINT NOT NULL,
    revoked BIGINT NOT NULL, policy TEXT)",
    "CREATE TABLE IF NOT EXISTS access_key_changes (id BIGINT NOT NULL PRIMARY KEY, changes BIGINT NOT NULL)",
    "INSERT INTO access_key_changes (id, changes) VALUES (1, 0) ON CONFLICT (id) DO NOTHING",
];

/// A program that does not know the column would let limited keys do everything, so it must not open the database.
pub(crate) const UPGRADE_3: &str = "ALTER TABLE access_keys ADD COLUMN policy TEXT";

/// How often the table is asked whether another process changed it: one row by its primary key.
const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// Active keys of one account. AWS allows a user two; here one account is everybody who works on it.
const KEYS_MAX: i64 = 100;

/// Letters of ids: base32 of RFC 4648, as in AWS's.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of secrets: base64's, as in AWS's.
const SECRET_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Letters after `AKIA`: 80 bits.
const ID_RANDOM_LETTERS: usize = 16;
/// Letters of a secret: 240 bits.
const SECRET_RANDOM_LETTERS: usize = 40;

/// An access key.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// `AKIA` and 16 letters of base32.
    pub id: String,
    /// What requests are signed with.
    pub secret: Secret,
    /// Whose it is.
    pub account: Account,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it is good.
    pub status: KeyStatus,
    /// What its holder may do; none is everything in the account if the key is active.
    pub policy: Option<Arc<KeyPolicy>>,
}

/// Whether a key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// It is.
    Active,
    /// It never will be again.
    Revoked,
    /// Its policy cannot be read, so it lets nobody in: damaged, or written by a version that knows more.
    Unreadable,
}

/// A secret access key: forty letters. Not in its `Debug` form; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

/// All active keys, by id.
#[derive(Default)]
pub(crate) struct KeyCache {
    keys: RwLock<HashMap<String, AccessKey>>,
    /// The count of changes that the map was read at. Held while the map is read again, so that an older reading never
    /// replaces a newer one.
    changes: Mutex<Option<u64>>,
}

impl Secret {
    /// For signing and comparing; compare in constant time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// For whoever owns the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl Control {
    /// The active key of this id, from memory.
    #[must_use]
    pub fn access_key(&self, id: &str) -> Option<AccessKey> {
        self.inner
            .keys
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Makes a key for an account, whose holder may do everything in it.
    ///
    /// Errors: there is no such account, or it has a hundred.
    pub async fn create_access_key(&self, account: &Account) -> Result<AccessKey, ControlError> {
        self.create_limited_key(account, None).await
    }

    /// Makes a key whose holder may do what a policy allows.
    ///
    /// Errors: there is no such account, or it has a hundred keys.
    pub async fn create_limited_key(
        &self,
        account: &Account,
        policy: Option<KeyPolicy>,
    ) -> Result<AccessKey, ControlError> {
        self.account(account).await?.ok_or_else(|| account_missing(account))?;
        let key = AccessKey {
            id: format!("AKIA{}", draw(ID_LETTERS, ID_RANDOM_LETTERS)),
            secret: Secret(draw(SECRET_LETTERS, SECRET_RANDOM_LETTERS)),
            account: account.clone(),
            created_ms: self.now_ms(),
            status: KeyStatus::Active,
            policy: policy.map(Arc::new),
        };
        let mut transaction = self.write().await?;
        check_count(&mut transaction, account).await?;
        sqlx::query(
            "INSERT INTO access_keys (id, secret, account, created_ms, revoked, policy) VALUES ($1, $2, $3, $4, 0, $5)",
        )
        .bind(key.id.as_str())
        .bind(key.secret.as_str())
        .bind(account.as_str())
        .bind(signed(key.created_ms))
        .bind(key.policy.as_ref().map(|policy| policy.text().to_owned()))
        .execute(&mut *transaction)
        .await?;
        count_change(&mut transaction).await?;
        transaction.commit().await?;
        self.refresh_keys().await?;
        Ok(key)
    }

    /// Keys of one account or of all, oldest first, revoked ones too.
    pub async fn access_keys(&self, account: Option<&Account>) -> Result<Vec<AccessKey>, ControlError> {
        let rows = sqlx::query(
            "SELECT id, secret, account, created_ms, revoked, policy FROM access_keys WHERE $1 = '' OR account = $1
             ORDER BY created_ms, id",
        )
        .bind(account.map_or("", Account::as_str))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read_row).collect()
    }

    /// Revokes a key for good; requests signed with it are refused from now on.
    pub async fn revoke_access_key(&self, id: &str) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let done = sqlx::query("UPDATE access_keys SET revoked = 1 WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Err(ControlError::not_found(format!("Access key not found: {id}")));
        }
        count_change(&mut transaction).await?;
        transaction.commit().await?;
        self.refresh_keys().await
    }

    /// Reads the keys again if somebody changed them.
    pub(crate) async fn refresh_keys(&self) -> Result<(), ControlError> {
        let cache = &self.inner.keys;
        let mut known = cache.changes.lock().await;
        let row = sqlx::query("SELECT changes FROM access_key_changes WHERE id = 1")
            .fetch_one(self.pool())
            .await?;
        let changes = unsigned(&row, "changes")?;
        if *known == Some(changes) {
            return Ok(());
        }
        let keys = self.access_keys(None).await?;
        for key in keys.iter().filter(|key| key.status == KeyStatus::Unreadable) {
            let (id, account) = (&key.id, &key.account);
            tracing::error!(
                "the stored policy of access key {id} of account {account} cannot be read, so the key lets nobody in: \
                 revoke it (lambent keys revoke {id}) and make another"
            );
        }
        let active = keys.into_iter().filter(|key| key.status == KeyStatus::Active);
        let map = active.map(|key| (key.id.clone(), key)).collect();
        *cache.keys.write().unwrap_or_else(PoisonError::into_inner) = map;
        *known = Some(changes);
        Ok(())
    }
}

/// Watches for changes of other processes, until the record is dropped.
pub(crate) async fn watch(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(REFRESH_WAIT).await;
        let Some(inner) = inner.upgrade() else { return };
        let control = Control { inner };
        if control.pool().is_closed() {
            return;
        }
        if let Err(error) = control.refresh_keys().await {
            tracing::warn!(%error, "cannot look for changed access keys; those known stay in force");
        }
    }
}

async fn check_count(connection: &mut AnyConnection, account: &Account) -> Result<(), ControlError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM access_keys WHERE account = $1 AND revoked = 0")
        .bind(account.as_str())
        .fetch_one(connection)
        .await?;
    if count < KEYS_MAX {
        return Ok(());
    }
    let message =
        format!("Account {account} has {count} active access keys, and {KEYS_MAX} is the limit. Revoke some.");
    Err(ControlError::LimitExceeded { message })
}

async fn count_change(connection: &mut AnyConnection) -> Result<(), ControlError> {
    sqlx::query("UPDATE access_key_changes SET changes = changes + 1 WHERE id = 1")
        .execute(connection)
        .await?;
    Ok(())
}

fn read_row(row: &AnyRow) -> Result<AccessKey, ControlError> {
    let policy: Option<String> = row.try_get("policy")?;
    let policy = policy.map(|text| KeyPolicy::parse(&text)).transpose();
    let status = match (unsigned(row, "revoked")?, &policy) {
        (0, Ok(_)) => KeyStatus::Active,
        (0, Err(_)) => KeyStatus::Unreadable,
        _ => KeyStatus::Revoked,
    };
    Ok(AccessKey {
        policy: policy.ok().flatten().map(Arc::new),
        id: row.try_get("id")?,
        secret: Secret(row.try_get("secret")?),
        account: account_of(row)?,
        created_ms: unsigned(row, "created_ms")?,
        status,
    })
}

/// Letters by chance, each equally likely: both alphabets' sizes divide 256.
fn draw(letters: &[u8], count: usize) -> String {
    let mut bytes = vec![0; count];
    rand::fill(&mut bytes).expect("the operating system always has random bytes");
    bytes
        .iter()
        .map(|byte| char::from(letters[usize::from(*byte) % letters.len()]))
        .collect()
}
