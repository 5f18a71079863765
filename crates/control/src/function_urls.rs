//! Function URLs: which function an address on the gateway calls.
//!
//! A URL is known by a random id of 32 letters and digits that is never used again. The gateway serves it under
//! `http://GATEWAY/_url/ID/` and for the Host `ID.lambda-url.REGION.…`; the record knows the id alone.

use crate::column::{document_or_none, document_text_or_none, signed, unsigned};
use crate::function_record::{LATEST, account_of};
use crate::qualified_table::QualifiedTable;
use crate::{Control, ControlError, Page, PageRequest, QualifiedName};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chunk::Account;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// URLs, at most one for a function (`qualifier` is `$LATEST`) and for each of its aliases.
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS function_urls (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL, auth_type TEXT NOT NULL,
    invoke_mode TEXT NOT NULL, cors TEXT, created_ms BIGINT NOT NULL, modified_ms BIGINT NOT NULL,
    UNIQUE (account, name, qualifier))"];

const TABLE: QualifiedTable = QualifiedTable {
    name: "function_urls",
    columns: "id, account, name, qualifier, auth_type, invoke_mode, cors, created_ms, modified_ms",
};

/// What errors call a stored URL that cannot be read.
const RECORD: &str = "a function URL";

/// Characters of an id. As Lambda's.
const ID_CHARACTERS: usize = 32;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An address that calls a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionUrl {
    /// 32 lower-case letters and digits.
    pub id: String,
    /// The function's owner.
    pub account: Account,
    /// The function.
    pub name: String,
    /// An alias; none is the function itself.
    pub qualifier: Option<String>,
    /// The function's ARN, with the alias if there is one.
    pub function_arn: String,
    /// `NONE` or `AWS_IAM`.
    pub auth_type: String,
    /// `BUFFERED` or `RESPONSE_STREAM`.
    pub invoke_mode: String,
    /// What browsers are told; none leaves it to the function.
    pub cors: Option<Cors>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
}

/// Cross-origin settings, in the words of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    /// Whether cookies may be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Request headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// HTTP methods, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Origins, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// Response headers that scripts may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// Seconds for which a browser may remember this, 0 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

/// What a request says of a URL; what it does not say stays as it is, or has its default.
#[derive(Clone, Debug, Default)]
pub struct FunctionUrlChange {
    /// `NONE` or `AWS_IAM`.
    pub auth_type: Option<String>,
    /// `BUFFERED` (the default) or `RESPONSE_STREAM`.
    pub invoke_mode: Option<String>,
    /// All of it: it replaces what was there.
    pub cors: Option<Cors>,
}

impl Control {
    /// Makes a URL for a function (`$LATEST`) or an alias.
    ///
    /// Errors: no such function or alias; it has one already.
    pub async fn create_function_url(
        &self,
        target: &QualifiedName<'_>,
        change: FunctionUrlChange,
    ) -> Result<FunctionUrl, ControlError> {
        self.check_url_target(target).await?;
        let now = self.now_ms();
        let url = FunctionUrl {
            id: new_id(),
            account: target.account.clone(),
            name: target.name.to_owned(),
            qualifier: target.version_or_alias().map(str::to_owned),
            function_arn: self.qualified_arn(target.account, target.name, target.version_or_alias()),
            auth_type: change.auth_type.unwrap_or_else(|| "AWS_IAM".to_owned()),
            invoke_mode: change.invoke_mode.unwrap_or_else(|| "BUFFERED".to_owned()),
            cors: change.cors,
            created_ms: now,
            modified_ms: now,
        };
        if !self.insert_function_url(&url, target.qualifier).await? {
            return Err(ControlError::conflict(format!(
                "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists \
                 for this Lambda function",
                url.function_arn
            )));
        }
        Ok(url)
    }

    /// The URL of a function or an alias.
    ///
    /// Errors: there is none, or no such function; Lambda does not tell these apart.
    pub async fn function_url(&self, target: &QualifiedName<'_>) -> Result<FunctionUrl, ControlError> {
        let row = TABLE.row(self, target).await?;
        self.url_from_row(&row.ok_or_else(ControlError::no_such_resource)?)
    }

    /// The URL with this id; none if nobody has it. Answers from memory unless it was not called since it last changed.
    pub async fn function_url_by_id(&self, id: &str) -> Result<Option<FunctionUrl>, ControlError> {
        Ok(self.indexed_url(id).await?.map(|found| found.url.clone()))
    }

    /// The same from the database.
    pub(crate) async fn read_function_url(&self, id: &str) -> Result<Option<FunctionUrl>, ControlError> {
        let sql = format!("SELECT {} FROM function_urls WHERE id = $1", TABLE.columns);
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| self.url_from_row(&row)).transpose()
    }

    /// Changes a URL.
    ///
    /// Errors: no such function or alias; it has no URL.
    pub async fn update_function_url(
        &self,
        target: &QualifiedName<'_>,
        change: FunctionUrlChange,
    ) -> Result<FunctionUrl, ControlError> {
        self.check_url_target(target).await?;
        let mut url = self.function_url(target).await?;
        url.auth_type = change.auth_type.unwrap_or(url.auth_type);
        url.invoke_mode = change.invoke_mode.unwrap_or(url.invoke_mode);
        url.cors = change.cors.or(url.cors);
        url.modified_ms = self.now_ms();
        let done = sqlx::query(
            "UPDATE function_urls SET auth_type = $1, invoke_mode = $2, cors = $3, modified_ms = $4 WHERE id = $5",
        )
        .bind(url.auth_type.as_str())
        .bind(url.invoke_mode.as_str())
        .bind(document_text_or_none(url.cors.as_ref(), RECORD)?)
        .bind(signed(url.modified_ms))
        .bind(url.id.as_str())
        .execute(self.pool())
        .await?;
        if done.rows_affected() == 0 {
            return Err(ControlError::no_such_resource());
        }
        self.urls_changed(&url.account, &url.name);
        Ok(url)
    }

    /// Removes a URL; its id answers nobody any more.
    ///
    /// Errors: there is none.
    pub async fn delete_function_url(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        if !TABLE.remove(self, target).await? {
            return Err(ControlError::no_such_resource());
        }
        self.urls_changed(target.account, target.name);
        Ok(())
    }

    /// All URLs of a function, its own first.
    pub async fn function_urls(
        &self,
        account: &Account,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<FunctionUrl>, ControlError> {
        self.check_url_target(&QualifiedName::of_function(account, name))
            .await?;
        let rows = TABLE.rows(self, (account, name), page).await?;
        let key = |url: &FunctionUrl| url.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
        page.page_of_rows(&rows, |row| self.url_from_row(row), key)
    }

    async fn insert_function_url(&self, url: &FunctionUrl, qualifier: &str) -> Result<bool, ControlError> {
        let done = sqlx::query(
            "INSERT INTO function_urls
                (id, account, name, qualifier, auth_type, invoke_mode, cors, created_ms, modified_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account, name, qualifier) DO NOTHING",
        )
        .bind(url.id.as_str())
        .bind(url.account.as_str())
        .bind(url.name.as_str())
        .bind(qualifier)
        .bind(url.auth_type.as_str())
        .bind(url.invoke_mode.as_str())
        .bind(document_text_or_none(url.cors.as_ref(), RECORD)?)
        .bind(signed(url.created_ms))
        .bind(signed(url.modified_ms))
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn check_url_target(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        self.function(target.account, target.name, target.version_or_alias())
            .await
            .map(drop)
            .map_err(|error| error.if_not_found(|| ControlError::not_found("Function does not exist")))
    }

    fn url_from_row(&self, row: &AnyRow) -> Result<FunctionUrl, ControlError> {
        let account = account_of(row)?;
        let name: String = row.try_get("name")?;
        let qualifier: String = row.try_get("qualifier")?;
        let qualifier = (qualifier != LATEST).then_some(qualifier);
        Ok(FunctionUrl {
            id: row.try_get("id")?,
            function_arn: self.qualified_arn(&account, &name, qualifier.as_deref()),
            account,
            name,
            qualifier,
            auth_type: row.try_get("auth_type")?,
            invoke_mode: row.try_get("invoke_mode")?,
            cors: document_or_none(row, "cors", RECORD)?,
            created_ms: unsigned(row, "created_ms")?,
            modified_ms: unsigned(row, "modified_ms")?,
        })
    }
}

/// 160 random bits, five for each character.
fn new_id() -> String {
    let mut random = [0; ID_CHARACTERS];
    SystemRandom::new()
        .fill(&mut random)
        .expect("the system's randomness is always there once it was seeded");
    random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}
