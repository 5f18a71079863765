//! What must stay readable: the manifests that images' records name, and the devices that servers hold.
//!
//! Of a server's own functions the records would do. Whatever they run from (a container image, a zip with its layers, a runtime's
//! base, what was pushed to the registry) is a device with a record under its account, named by its content
//! (`lambda-image-...`, `lambda-zip-...`), and control makes the record before it keeps the address. But another server
//! of the same store may take the record away, so each holds what it needs besides (`store::holds`).

use crate::images::ImageError;
use crate::record::Record;
use chunk::Account;
use futures::{StreamExt, TryStreamExt};
use store::{Held, LiveManifest, Store, StoreError};

/// Records that are read at once: they are small, and each is a request.
const RECORDS_AT_ONCE: usize = 32;

/// The manifests of all records of all accounts, and of all that is held. A record that cannot be read is an error, and
/// not left out: whoever collects garbage by this list would take what it needs.
pub async fn live_manifests(store: &Store) -> Result<Vec<LiveManifest>, ImageError> {
    let records = store.list_all_records().await?;
    let reads = futures::stream::iter(records).map(|(account, name)| read(store, account, name));
    let found: Vec<Option<LiveManifest>> = reads.buffer_unordered(RECORDS_AT_ONCE).try_collect().await?;
    // In this order: who holds a device has seen its record there afterwards.
    let held = store.list_held().await?;
    Ok(found.into_iter().flatten().chain(held.iter().map(of_held)).collect())
}

fn of_held(held: &Held) -> LiveManifest {
    LiveManifest {
        manifest: held.manifest,
        generation: held.generation,
        name: format!("server {} for account {}", held.server, held.account),
        // Known where its record is; this is for a progress bar.
        stored_bytes: 0,
    }
}

async fn read(store: &Store, account: Account, name: String) -> Result<Option<LiveManifest>, ImageError> {
    let bytes = match store.get_record(&account, &name).await {
        Ok(bytes) => bytes,
        // Removed since it was listed.
        Err(StoreError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let failed = |source| ImageError::Record {
        name: format!("{account}/{name}"),
        source,
    };
    let summary = Record::decode(&name, &bytes).map_err(failed)?.summary;
    Ok(Some(LiveManifest {
        manifest: summary.manifest_id().map_err(failed)?,
        generation: summary.generation,
        stored_bytes: summary.stored_bytes,
        name: format!("{account}/{name}"),
    }))
}
