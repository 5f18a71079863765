//! Which zips and devices the record names, so that the blobs and the records of all others can be freed.

use crate::column::{document, unsigned};
use crate::packages::{DEVICE_PREFIX, Reclaimed, RecordNames};
use crate::{CodeRecord, Control, ControlError, LayerReference, ZipCode};
use api::ImageAddress;
use serde::Deserialize;
use serde_json::Value;
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
    /// Removes stored zips, layers of images, and records of devices that nothing has named for a day, and holds in the
    /// store what this record names; see [`crate::packages`]. To be called by the process that serves, at its start and
    /// now and then.
    pub async fn reclaim_blobs(&self) -> Result<Reclaimed, ControlError> {
        // Layers first: who deletes one that a new function has just found leaves it to be found with the function.
        let mut names = RecordNames {
            zips: self.zips_of_layers().await?,
            ..RecordNames::default()
        };
        self.names_of_functions(&mut names).await?;
        let freed = self.packages().reclaim(names).await?;
        if freed.blobs + freed.devices > 0 {
            tracing::info!(
                freed.blobs,
                freed.bytes,
                freed.devices,
                "freed what nothing names any more"
            );
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

    async fn names_of_functions(&self, all: &mut RecordNames) -> Result<(), ControlError> {
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
                add_devices(&document(&text, "a function")?, all);
                all.zips
                    .extend(names.configuration.layers.into_iter().map(|layer| layer.code));
                if let CodeRecord::Zip(zip) = names.code {
                    all.zips.push(zip);
                }
            }
        }
    }
}

/// Adds every text that may be the name of a device, and every address, wherever in the document it stands: whatever part
/// of a version comes to hold one, it is not forgotten here.
fn add_devices(value: &Value, all: &mut RecordNames) {
    match value {
        Value::String(text) if text.starts_with(DEVICE_PREFIX) => {
            all.devices.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| add_devices(value, all)),
        Value::Object(members) => {
            all.addresses.extend(ImageAddress::deserialize(value));
            members.values().for_each(|value| add_devices(value, all));
        }
        _ => {}
    }
}
