//! One chunk sealed and on its way to the store: what every thread of a push does, whoever found the bytes.

use chunk::{ChunkEntry, ChunkKey, Compression, Salt, SealedChunk, seal_chunk};
use store::{ChunkWriter, StoreError};
use tokio::runtime::Handle;

/// A chunk of the manifest: its entry, and its key unless it is zero.
pub(crate) type DraftChunk = (ChunkEntry, Option<ChunkKey>);

/// Seals chunks under one salt and submits them to one writer; shared by threads.
pub(crate) struct ChunkSealer<'a> {
    pub(crate) runtime: &'a Handle,
    pub(crate) writer: &'a ChunkWriter,
    pub(crate) salt: Salt,
    /// What chunks of files are compressed with.
    pub(crate) compression: Compression,
}

impl ChunkSealer<'_> {
    /// Seals a whole chunk; waits while the writer has too much on its way.
    pub(crate) fn seal(&self, plaintext: Vec<u8>, compression: Compression) -> Result<DraftChunk, StoreError> {
        match seal_chunk(&self.salt, plaintext, compression) {
            SealedChunk::Zero => Ok((ChunkEntry::Zero, None)),
            SealedChunk::Data { entry, key, ciphertext } => {
                if let ChunkEntry::Data { id, .. } = entry {
                    self.runtime.block_on(self.writer.submit(id, ciphertext))?;
                }
                Ok((entry, Some(key)))
            }
        }
    }
}
