//! An origin that counts.

use bytes::Bytes;
use cache::{ChunkAddress, Origin, OriginError};
use chunk::ChunkId;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Chunks in memory.
#[derive(Debug)]
pub(crate) struct Shelf {
    chunks: Vec<(ChunkAddress, Bytes)>,
    asked: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_peak: AtomicUsize,
}

impl Shelf {
    pub(crate) fn filled(count: u64, bytes: u64) -> Arc<Self> {
        let chunks = (0..count).map(|number| {
            let words = (0..bytes).map(|at| (at ^ (number << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56);
            let stored: Bytes = words.map(|word| word as u8).collect();
            let address = ChunkAddress {
                generation: 1,
                id: ChunkId::of(&stored),
                stored_bytes: stored.len() as u32,
            };
            (address, stored)
        });
        Arc::new(Self {
            chunks: chunks.collect(),
            asked: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_peak: AtomicUsize::new(0),
        })
    }

    pub(crate) fn chunks(&self) -> &[(ChunkAddress, Bytes)] {
        &self.chunks
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Most questions at once.
    pub(crate) fn in_flight_peak(&self) -> usize {
        self.in_flight_peak.load(Ordering::SeqCst)
    }
}

impl Origin for Shelf {
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_peak.fetch_max(now, Ordering::SeqCst);
        let found = self.chunks.iter().find(|(found, _)| found.id == address.id);
        let source = "not on the shelf".into();
        async move {
            // Others come to ask meanwhile, as with a real one.
            tokio::task::yield_now().await;
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            found
                .map(|(_, stored)| stored.clone())
                .ok_or(OriginError::Missing { source })
        }
        .boxed()
    }
}
