//! From an image's name to what is mounted, and its metadata fetched on the way.
//!
//! A cold mount over a network waits for the record of the name, then for the manifest, then for the file system's
//! metadata. A record lists the metadata's chunks, which are no secret, so they are asked for together with the
//! manifest, and one round trip is saved.

use api::ImageAddress;
use block::ImageDevice;
use cache::{Cache, ChunkAddress, Tier, Urgency};
use chunk::Account;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// The image.
    pub address: ImageAddress,
    /// The chunks of its metadata, as far as its record lists them: only hints, the manifest decides.
    pub metadata: Vec<ChunkAddress>,
}

type Find = dyn Fn(&Account, &str) -> Result<FoundImage, Box<dyn Error + Send + Sync>> + Send + Sync;

/// Reads an account's record of a name. Records are not for this crate to read, so whoever makes the daemon brings it.
#[derive(Clone)]
pub struct FindImage(pub Arc<Find>);

impl fmt::Debug for FindImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FindImage")
    }
}

/// Chunks of an image that are fetched before there is a device. Dropping it ends the fetches.
#[derive(Debug)]
pub(crate) struct FetchedAhead(JoinSet<Option<(Tier, usize)>>);

impl FetchedAhead {
    /// Asks for all of them. A failure is of no interest: the device will ask again.
    pub(crate) fn begin(metadata: Vec<ChunkAddress>, cache: &Cache, runtime: &Handle) -> Self {
        let mut fetches = JoinSet::new();
        for address in metadata {
            let cache = cache.clone();
            let fetch = async move {
                let (chunk, tier) = cache.get(address, Urgency::Prefetch).await.ok()?;
                Some((tier, chunk.stored().len()))
            };
            fetches.spawn_on(fetch, runtime);
        }
        Self(fetches)
    }

    /// Counts them as the device's own, which finds them in memory.
    pub(crate) fn count_for(mut self, device: Arc<ImageDevice>, runtime: &Handle) {
        if self.0.is_empty() {
            return;
        }
        runtime.spawn(async move {
            while let Some(fetched) = self.0.join_next().await {
                if let Ok(Some((tier, bytes))) = fetched {
                    device.count_ahead(tier, bytes);
                }
            }
        });
    }
}
