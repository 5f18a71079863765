//! One chunk sealed and on its way to the store: what every thread of a push does, whoever found the bytes.

use chunk::{ChunkEntry, ChunkKey, Compression, Salt, SealedChunk, reseal_chunk, seal_chunk};
use store::{ChunkWriter, PopularChunks, StoreError};
use tokio::runtime::Handle;

/// A chunk of the manifest: its entry, and its key unless it is zero.
pub(crate) type DraftChunk = (ChunkEntry, Option<ChunkKey>);

/// Seals chunks under one salt and submits them to one writer; shared by threads.
pub(crate) struct ChunkSealer<'a> {
    pub(crate) runtime: &'a Handle,
    pub(crate) writer: &'a ChunkWriter,
    pub(crate) salt: Salt,
    /// Chunks that so many share that this image has another salt for them, and that salt.
    pub(crate) popular: (PopularChunks, Salt),
    /// What chunks of files are compressed with.
    pub(crate) compression: Compression,
}

impl ChunkSealer<'_> {
    /// Seals a whole chunk; waits while the writer has too much on its way.
    pub(crate) fn seal(&self, plaintext: Vec<u8>, compression: Compression) -> Result<DraftChunk, StoreError> {
        match self.respread(seal_chunk(&self.salt, plaintext, compression)) {
            SealedChunk::Zero => Ok((ChunkEntry::Zero, None)),
            SealedChunk::Data { entry, key, ciphertext } => {
                if let ChunkEntry::Data { id, .. } = entry {
                    self.runtime.block_on(self.writer.submit(id, ciphertext))?;
                }
                Ok((entry, Some(key)))
            }
        }
    }

    /// A chunk that very many share goes under the salt of the image's lane.
    fn respread(&self, sealed: SealedChunk) -> SealedChunk {
        let (popular, salt) = &self.popular;
        match &sealed {
            SealedChunk::Data {
                entry: ChunkEntry::Data { id, .. },
                ..
            } if popular.contains(id) => reseal_chunk(sealed, salt),
            _ => sealed,
        }
    }
}
