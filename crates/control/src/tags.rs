//! Tags of functions.

use crate::{Control, ControlError, traffic_tags};
use chunk::Account;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

/// Tags, one row each; they go with their function.
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS function_tags (
    account TEXT NOT NULL, name TEXT NOT NULL, tag TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (account, name, tag))"];

/// Tags of one function. AWS's limit for every resource.
pub const TAGS_MAX: usize = 50;
/// Characters of a tag's key. AWS's limit.
pub const TAG_KEY_CHARACTERS_MAX: usize = 128;
/// Characters of a tag's value. AWS's limit.
pub const TAG_VALUE_CHARACTERS_MAX: usize = 256;

impl Control {
    /// A function's tags.
    ///
    /// Errors: the database fails. A function that is not there has none: ask for the function first.
    pub async fn function_tags(&self, account: &Account, name: &str) -> Result<BTreeMap<String, String>, ControlError> {
        let rows = sqlx::query("SELECT tag, value FROM function_tags WHERE account = $1 AND name = $2 ORDER BY tag")
            .bind(account.as_str())
            .bind(name)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("tag")?, row.try_get("value")?)))
            .collect()
    }

    /// Adds tags; those of the same key get the new value.
    ///
    /// Errors: a tag is not allowed, or there would be more than [`TAGS_MAX`]; then nothing changes.
    pub async fn tag_function(
        &self,
        account: &Account,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), ControlError> {
        check_tags(tags)?;
        let mut transaction = self.write().await?;
        write_tags(&mut transaction, account, name, tags).await?;
        transaction.commit().await?;
        self.tags_changed(account, name, tags.keys());
        Ok(())
    }

    /// Removes tags; keys that are not there are no error.
    pub async fn untag_function(&self, account: &Account, name: &str, keys: &[String]) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        for key in keys {
            sqlx::query("DELETE FROM function_tags WHERE account = $1 AND name = $2 AND tag = $3")
                .bind(account.as_str())
                .bind(name)
                .bind(key.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.tags_changed(account, name, keys);
        Ok(())
    }

    /// Tags of Lambent's own are what invocations see.
    fn tags_changed<'a>(&self, account: &Account, name: &str, keys: impl IntoIterator<Item = &'a String>) {
        if keys.into_iter().any(|key| traffic_tags::is_own(key)) {
            self.function_changed(account, name);
        }
    }
}

/// Writes checked tags, in the transaction of who creates the function or changes its tags.
///
/// Errors: the function would have too many; the transaction must then not be committed.
pub(crate) async fn write_tags(
    connection: &mut AnyConnection,
    account: &Account,
    name: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), ControlError> {
    for (tag, value) in tags {
        sqlx::query(
            "INSERT INTO function_tags (account, name, tag, value) VALUES ($1, $2, $3, $4)
             ON CONFLICT (account, name, tag) DO UPDATE SET value = excluded.value",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(tag.as_str())
        .bind(value.as_str())
        .execute(&mut *connection)
        .await?;
    }
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM function_tags WHERE account = $1 AND name = $2")
        .bind(account.as_str())
        .bind(name)
        .fetch_one(connection)
        .await?;
    if usize::try_from(count).unwrap_or(usize::MAX) > TAGS_MAX {
        return Err(too_many());
    }
    Ok(())
}

/// Whether each of these tags may be on a function, and whether they are not too many by themselves.
///
/// A tag's text is letters, digits, spaces and `_.:/=+-@`; the prefix `aws:` is AWS's own. Those of the prefix
/// `lambent:` have values that `traffic_tags` reads, with commas and semicolons.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
    if tags.len() > TAGS_MAX {
        return Err(too_many());
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARACTERS_MAX || !key.chars().all(is_tag_character) {
            return Err(ControlError::invalid(format!(
                "Tag key '{key}' is not valid: 1 to {TAG_KEY_CHARACTERS_MAX} letters, digits, spaces and _.:/=+-@"
            )));
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(ControlError::invalid(
                "The tag keys with prefix 'aws:' are reserved for system use.",
            ));
        }
        let is_allowed =
            |character| is_tag_character(character) || traffic_tags::is_own(key) && ",;".contains(character);
        if value.chars().count() > TAG_VALUE_CHARACTERS_MAX || !value.chars().all(is_allowed) {
            return Err(ControlError::invalid(format!(
                "The value of tag '{key}' is not valid: up to {TAG_VALUE_CHARACTERS_MAX} letters, digits, spaces and \
                 _.:/=+-@"
            )));
        }
    }
    traffic_tags::check(tags)
}

fn too_many() -> ControlError {
    ControlError::invalid("Number of tags exceeds resource tag limit.")
}

fn is_tag_character(character: char) -> bool {
    character.is_alphanumeric() || character == ' ' || "_.:/=+-@".contains(character)
}
