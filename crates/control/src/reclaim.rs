//! Which zips the record names, so that the blobs of all others can be freed.

use crate::column::{document, unsigned};
use crate::packages::Reclaimed;
use crate::{CodeRecord, Control, ControlError, LayerReference, ZipCode};
use serde::Deserialize;
use sqlx::Row;
use sqlx::any::AnyRow;

/// Versions read at once: a document has some kilobytes.
const ROWS_MAX: i64 = 500;

/// What of a version's document names zips.
#[derive(Deserialize)]
struct Names {
    code: CodeRecord,
    configuration: Layers,
}

#[derive(Deserialize)]
struct Layers {
    layers: Vec<LayerReference>,
}

impl Control {
    /// Removes stored zips and layers of images that nothing has named for a day; see [`crate::packages`]. To be called
    /// by the process that serves, at its start and now and then.
    pub async fn reclaim_blobs(&self) -> Result<Reclaimed, ControlError> {
        // Layers first: who deletes one that a new function has just found leaves it to be found with the function.
        let mut zips = self.zips_of_layers().await?;
        self.zips_of_functions(&mut zips).await?;
        let freed = self.packages().reclaim(zips).await?;
        if freed.blobs > 0 {
            tracing::info!(freed.blobs, freed.bytes, "freed blobs that nothing names any more");
        }
        Ok(freed)
    }

    async fn zips_of_layers(&self) -> Result<Vec<ZipCode>, ControlError> {
        let rows = sqlx::query("SELECT DISTINCT zip_sha256, zip_bytes FROM layer_versions")
            .fetch_all(self.pool())
            .await?;
        let zip = |row: &AnyRow| -> Result<ZipCode, ControlError> {
            Ok(ZipCode {
                sha256_base64: row.try_get("zip_sha256")?,
                bytes: unsigned(row, "zip_bytes")?,
            })
        };
        rows.iter().map(zip).collect()
    }

    async fn zips_of_functions(&self, zips: &mut Vec<ZipCode>) -> Result<(), ControlError> {
        let mut after = (String::new(), String::new(), -1_i64);
        loop {
            let rows = sqlx::query(
                "SELECT account, name, number, document FROM functions
                 WHERE account > $1 OR (account = $1 AND (name > $2 OR (name = $2 AND number > $3)))
                 ORDER BY account, name, number LIMIT $4",
            )
            .bind(after.0.as_str())
            .bind(after.1.as_str())
            .bind(after.2)
            .bind(ROWS_MAX)
            .fetch_all(self.pool())
            .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.try_get("account")?, last.try_get("name")?, last.try_get("number")?);
            for row in &rows {
                let text: String = row.try_get("document")?;
                let names: Names = document(&text, "a function")?;
                zips.extend(names.configuration.layers.into_iter().map(|layer| layer.code));
                if let CodeRecord::Zip(zip) = names.code {
                    zips.push(zip);
                }
            }
        }
    }
}
