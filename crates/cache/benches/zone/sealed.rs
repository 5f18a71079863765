//! Chunks as an image has them, and an origin that knows them.

use bytes::Bytes;
use cache::{ChunkAddress, Origin, OriginError};
use chunk::{
    CHUNK_BYTES, CheckedChunk, ChunkEntry, ChunkId, ChunkKey, Compression, Opener, Salt, SaltScope, SealedChunk,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What an object store takes for a chunk on a good day.
const ORIGIN_DELAY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Chunks {
    pub(crate) addresses: Vec<ChunkAddress>,
    entries: Vec<(ChunkEntry, ChunkKey)>,
    stored: HashMap<ChunkId, Bytes>,
    asked: AtomicUsize,
}

impl Chunks {
    pub(crate) fn sealed(count: usize) -> Self {
        let salt = Salt::derive(&[7; 32], &SaltScope::Shared);
        let mut chunks = Self {
            addresses: Vec::new(),
            entries: Vec::new(),
            stored: HashMap::new(),
            asked: AtomicUsize::new(0),
        };
        for number in 0..count as u64 {
            let words = (0..CHUNK_BYTES as u64 / 8).map(|at| (at ^ (number << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let plaintext: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
            let sealed = chunk::seal_chunk(&salt, plaintext, Compression::None);
            let SealedChunk::Data { entry, key, ciphertext } = sealed else {
                panic!("not zeros");
            };
            let address = ChunkAddress {
                generation: 1,
                id: ChunkId::of(&ciphertext),
                stored_bytes: ciphertext.len() as u32,
            };
            chunks.addresses.push(address);
            chunks.entries.push((entry, key));
            chunks.stored.insert(address.id, ciphertext.into());
        }
        chunks
    }

    pub(crate) fn stored(&self, number: usize) -> &Bytes {
        &self.stored[&self.addresses[number].id]
    }

    pub(crate) fn open(&self, number: usize, checked: &CheckedChunk, (opener, plaintext): (&mut Opener, &mut Vec<u8>)) {
        let (entry, key) = &self.entries[number];
        opener.open(entry, key, checked, plaintext).unwrap();
    }

    pub(crate) fn origin_reads(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Origin for Chunks {
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(ORIGIN_DELAY).await;
            let source = "no such chunk".into();
            let found = self.stored.get(&address.id).cloned();
            found.ok_or(OriginError::Missing { source })
        }
        .boxed()
    }
}
