//! Accounts: who owns functions, keys and images.

use crate::column::{signed, unsigned};
use crate::function_record::account_of;
use crate::{Control, ControlError};
use aws_lc_rs::rand;
use chunk::Account;

/// Accounts.
pub(crate) const SCHEMA: &[&str] =
    &["CREATE TABLE IF NOT EXISTS accounts (account TEXT NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL)"];

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Twelve digits.
    pub account: Account,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// Draws until a number is free. With 9 * 10^11 numbers the second draw is already unlikely.
const DRAWS_MAX: usize = 8;

impl Control {
    /// Makes an account: the one that is named, which may exist, or one with a number of its own.
    pub async fn create_account(&self, wanted: Option<&Account>) -> Result<AccountRecord, ControlError> {
        let created_ms = self.now_ms();
        if let Some(account) = wanted {
            self.insert_account(account, created_ms).await?;
            return self.account(account).await?.ok_or_else(|| account_missing(account));
        }
        for _ in 0..DRAWS_MAX {
            let account = draw_account();
            if self.insert_account(&account, created_ms).await? {
                return Ok(AccountRecord { account, created_ms });
            }
        }
        Err(ControlError::LimitExceeded {
            message: "No free account number was found. Name one yourself.".to_owned(),
        })
    }

    /// One account.
    pub async fn account(&self, account: &Account) -> Result<Option<AccountRecord>, ControlError> {
        let row = sqlx::query("SELECT account, created_ms FROM accounts WHERE account = $1")
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| {
            Ok(AccountRecord {
                account: account_of(&row)?,
                created_ms: unsigned(&row, "created_ms")?,
            })
        })
        .transpose()
    }

    /// All accounts, oldest first.
    pub async fn accounts(&self) -> Result<Vec<AccountRecord>, ControlError> {
        let rows = sqlx::query("SELECT account, created_ms FROM accounts ORDER BY created_ms, account")
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(AccountRecord {
                    account: account_of(row)?,
                    created_ms: unsigned(row, "created_ms")?,
                })
            })
            .collect()
    }

    async fn insert_account(&self, account: &Account, created_ms: u64) -> Result<bool, ControlError> {
        let done =
            sqlx::query("INSERT INTO accounts (account, created_ms) VALUES ($1, $2) ON CONFLICT (account) DO NOTHING")
                .bind(account.as_str())
                .bind(signed(created_ms))
                .execute(self.pool())
                .await?;
        Ok(done.rows_affected() == 1)
    }
}

pub(crate) fn account_missing(account: &Account) -> ControlError {
    ControlError::not_found(format!("Account not found: {account}"))
}

/// Twelve digits that do not begin with a zero, which some tools would drop.
fn draw_account() -> Account {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the operating system always has random bytes");
    let number = 100_000_000_000 + u64::from_le_bytes(bytes) % 900_000_000_000;
    number
        .to_string()
        .parse()
        .expect("a number from 10^11 to 10^12 - 1 has 12 digits")
}
