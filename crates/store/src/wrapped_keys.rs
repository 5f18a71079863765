//! Data keys that were wrapped anew, each beside its manifest.
//!
//! A manifest's name is the hash of its bytes, and its wrapped key is among them: to write the key anew into it would
//! give it another name, which functions and mounts on other machines do not know. So what a rotation wraps stands in an
//! object of its own, replaced whole, and is taken before the manifest's own. It stands outside of all roots, as the
//! manifest's name does: a collector that moves the manifest has nothing to move here, and cannot forget it. It goes when
//! the manifest is in no root any more (see `collect::keys`).

use crate::error::Sort;
use crate::{Store, StoreError, layout};
use bytes::Bytes;
use chunk::ChunkId;

impl Store {
    /// Stores a manifest's data key as a rotation wrapped it, replacing what was there.
    pub async fn put_wrapped_key(&self, manifest: ChunkId, wrapped: Bytes) -> Result<(), StoreError> {
        let key = layout::wrapped_key(manifest);
        self.replace(Sort::WrappedKey, &manifest.to_string(), &key, wrapped)
            .await
    }

    /// A manifest's data key as the last rotation wrapped it; `None` when none did, and the manifest's own holds.
    pub async fn get_wrapped_key(&self, manifest: ChunkId) -> Result<Option<Bytes>, StoreError> {
        let key = layout::wrapped_key(manifest);
        self.read_optional(Sort::WrappedKey, &manifest.to_string(), &key).await
    }
}
