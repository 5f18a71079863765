//! Rows of layers and their versions: read and written.

use super::{LayerDescription, LayerName, LayerVersion};
use crate::column::{document_or_none, document_text_or_none, signed, unsigned};
use crate::function_record::account_of;
use crate::{Control, ControlError, ZipCode};
use chunk::Account;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// Layers with the last number that was given, and their versions. `runtimes` and `architectures` are JSON lists.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS layers (
        account TEXT NOT NULL, name TEXT NOT NULL, last_version BIGINT NOT NULL, PRIMARY KEY (account, name))",
    "CREATE TABLE IF NOT EXISTS layer_versions (
        account TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL, description TEXT NOT NULL, license TEXT,
        runtimes TEXT, architectures TEXT, zip_sha256 TEXT NOT NULL, zip_bytes BIGINT NOT NULL,
        created_ms BIGINT NOT NULL, PRIMARY KEY (account, name, version))",
];

/// What errors call a stored version that cannot be read.
const RECORD: &str = "a layer version";

impl Control {
    /// Bytes of all layer versions of an account.
    pub(crate) async fn layer_bytes(&self, account: &Account) -> Result<u64, ControlError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(zip_bytes), 0) AS BIGINT) AS total FROM layer_versions WHERE account = $1",
        )
        .bind(account.as_str())
        .fetch_one(self.pool())
        .await?;
        unsigned(&row, "total")
    }

    pub(super) async fn find_layer_version(
        &self,
        layer: &LayerName,
        version: u64,
    ) -> Result<Option<LayerVersion>, ControlError> {
        let row = sqlx::query(select("account = $1 AND name = $2 AND version = $3"))
            .bind(layer.account.as_str())
            .bind(layer.name.as_str())
            .bind(signed(version))
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| self.layer_from_row(&row)).transpose()
    }

    /// The next hundred versions below a number, newest first.
    pub(super) async fn layer_versions_below(
        &self,
        layer: &LayerName,
        before: i64,
    ) -> Result<Vec<LayerVersion>, ControlError> {
        let sql = select("account = $1 AND name = $2 AND version < $3 ORDER BY version DESC LIMIT 100");
        let rows = sqlx::query(sql)
            .bind(layer.account.as_str())
            .bind(layer.name.as_str())
            .bind(before)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| self.layer_from_row(row)).collect()
    }

    /// The account's next layer by name that has versions.
    pub(super) async fn layer_name_after(
        &self,
        account: &Account,
        after: &str,
    ) -> Result<Option<String>, ControlError> {
        let sql = "SELECT name FROM layer_versions WHERE account = $1 AND name > $2 ORDER BY name LIMIT 1";
        let row = sqlx::query(sql)
            .bind(account.as_str())
            .bind(after)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.map(|row| row.try_get("name")).transpose()?)
    }

    fn layer_from_row(&self, row: &AnyRow) -> Result<LayerVersion, ControlError> {
        let layer = LayerName {
            account: account_of(row)?,
            name: row.try_get("name")?,
        };
        Ok(LayerVersion {
            layer_arn: self.layer_arn(&layer),
            layer,
            version: unsigned(row, "version")?,
            description: LayerDescription {
                text: row.try_get("description")?,
                license_info: row.try_get("license")?,
                runtimes: document_or_none(row, "runtimes", RECORD)?,
                architectures: document_or_none(row, "architectures", RECORD)?,
            },
            code: ZipCode {
                sha256_base64: row.try_get("zip_sha256")?,
                bytes: unsigned(row, "zip_bytes")?,
            },
            created_ms: unsigned(row, "created_ms")?,
        })
    }
}

/// Takes the next number of a layer's versions. They begin at 1.
pub(super) async fn next_number(connection: &mut AnyConnection, layer: &LayerName) -> Result<u64, ControlError> {
    let row = sqlx::query(
        "INSERT INTO layers (account, name, last_version) VALUES ($1, $2, 1)
         ON CONFLICT (account, name) DO UPDATE SET last_version = layers.last_version + 1
         RETURNING last_version",
    )
    .bind(layer.account.as_str())
    .bind(layer.name.as_str())
    .fetch_one(connection)
    .await?;
    unsigned(&row, "last_version")
}

/// Writes a version that is not there yet.
pub(super) async fn insert(connection: &mut AnyConnection, version: &LayerVersion) -> Result<(), ControlError> {
    let description = &version.description;
    sqlx::query(
        "INSERT INTO layer_versions (account, name, version, description, license, runtimes, architectures,
            zip_sha256, zip_bytes, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(version.layer.account.as_str())
    .bind(version.layer.name.as_str())
    .bind(signed(version.version))
    .bind(description.text.as_str())
    .bind(description.license_info.clone())
    .bind(document_text_or_none(description.runtimes.as_ref(), RECORD)?)
    .bind(document_text_or_none(description.architectures.as_ref(), RECORD)?)
    .bind(version.code.sha256_base64.as_str())
    .bind(signed(version.code.bytes))
    .bind(signed(version.created_ms))
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a version, if it is there.
pub(super) async fn delete(
    connection: &mut AnyConnection,
    layer: &LayerName,
    version: u64,
) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM layer_versions WHERE account = $1 AND name = $2 AND version = $3")
        .bind(layer.account.as_str())
        .bind(layer.name.as_str())
        .bind(signed(version))
        .execute(connection)
        .await?;
    Ok(())
}

/// A query for versions, with the condition and the order.
fn select(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT account, name, version, description, license, runtimes, architectures, zip_sha256, zip_bytes,
            created_ms FROM layer_versions WHERE {condition}"
    ))
}
