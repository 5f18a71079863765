//! A good origin, and wrappers that break it.

use super::{address_of, stored};
use crate::{ChunkAddress, Origin, OriginError};
use bytes::Bytes;
use chunk::ChunkId;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

type Answer<'a> = BoxFuture<'a, Result<Bytes, OriginError>>;

/// Chunks in a map; remembers who was asked for, in order.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    chunks: HashMap<ChunkId, Bytes>,
    asked: Mutex<Vec<ChunkId>>,
}

impl Shelf {
    pub(super) fn filled(count: u64, bytes: usize) -> (Arc<Self>, Vec<ChunkAddress>) {
        let chunks: Vec<_> = (0..count).map(|number| stored(number, bytes)).collect();
        let addresses = chunks.iter().map(address_of).collect();
        let chunks = chunks
            .into_iter()
            .map(|stored| (ChunkId::of(&stored), stored))
            .collect();
        let asked = Mutex::default();
        (Arc::new(Self { chunks, asked }), addresses)
    }

    pub(super) fn asked(&self) -> Vec<ChunkId> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn bytes(&self, id: ChunkId) -> Bytes {
        self.chunks[&id].clone()
    }
}

impl Origin for Shelf {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        self.asked.lock().unwrap().push(address.id);
        let found = self.chunks.get(&address.id).cloned();
        let source = "not on the shelf".into();
        async move { found.ok_or(OriginError::Missing { source }) }.boxed()
    }
}

/// Flips a bit in the next `times` answers.
#[derive(Debug)]
pub(super) struct Garbling {
    pub(super) origin: Arc<Shelf>,
    pub(super) times: AtomicU32,
}

impl Origin for Garbling {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        let less = |times: u32| times.checked_sub(1);
        let bad = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok();
        async move {
            let mut bytes = self.origin.fetch(address).await?.to_vec();
            bytes[0] ^= u8::from(bad);
            Ok(bytes.into())
        }
        .boxed()
    }
}

/// Refuses the next `times` questions.
#[derive(Debug)]
pub(super) struct Refusing {
    pub(super) origin: Arc<Shelf>,
    pub(super) times: AtomicU32,
}

impl Origin for Refusing {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        let less = |times: u32| times.checked_sub(1);
        let bad = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok();
        async move {
            // As a real one would, not at once: others come to wait meanwhile.
            tokio::task::yield_now().await;
            if bad {
                return Err(OriginError::Failed {
                    kind: crate::ErrorKind::FixRequest,
                    source: "no permission".into(),
                });
            }
            self.origin.fetch(address).await
        }
        .boxed()
    }
}

/// Answers the first `times` questions after a delay, later ones at once.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) origin: Arc<Shelf>,
    pub(super) delay: Duration,
    pub(super) times: AtomicU32,
}

impl Origin for Slow {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        let less = |times: u32| times.checked_sub(1);
        let slow = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok();
        async move {
            if slow {
                tokio::time::sleep(self.delay).await;
            }
            self.origin.fetch(address).await
        }
        .boxed()
    }
}

/// Answers when it is let; counts how many bytes are on their way.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) origin: Arc<Shelf>,
    pub(super) gate: Semaphore,
    pub(super) bytes: AtomicU64,
    pub(super) bytes_peak: AtomicU64,
}

impl Gated {
    pub(super) fn new(origin: Arc<Shelf>) -> Arc<Self> {
        Arc::new(Self {
            origin,
            gate: Semaphore::new(0),
            bytes: AtomicU64::new(0),
            bytes_peak: AtomicU64::new(0),
        })
    }
}

impl Origin for Gated {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        let bytes = u64::from(address.stored_bytes);
        let now = self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.bytes_peak.fetch_max(now, Ordering::SeqCst);
        let answer = self.origin.fetch(address);
        async move {
            self.gate.acquire().await.unwrap().forget();
            self.bytes.fetch_sub(bytes, Ordering::SeqCst);
            answer.await
        }
        .boxed()
    }
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// Answered after the usual time.
    Usual,
    /// Answered after this long.
    After(Duration),
    /// Answered after the usual time, with a bit flipped.
    Garbled,
    /// Refused after the usual time.
    Refused,
}

/// Far away: each answer takes its time, and some meet what was pushed.
#[derive(Debug)]
pub(super) struct Late {
    origin: Arc<Shelf>,
    usual: Duration,
    ways: Mutex<VecDeque<Way>>,
    is_remote: bool,
    asked: AtomicU64,
}

impl Late {
    pub(super) fn new(origin: Arc<Shelf>, usual: Duration) -> Self {
        Self {
            origin,
            usual,
            ways: Mutex::default(),
            is_remote: true,
            asked: AtomicU64::new(0),
        }
    }

    pub(super) fn on_this_machine(self) -> Self {
        Self {
            is_remote: false,
            ..self
        }
    }

    /// What the next questions meet, in order.
    pub(super) fn push(&self, ways: &[Way]) {
        self.ways.lock().unwrap().extend(ways);
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Origin for Late {
    fn fetch(&self, address: ChunkAddress) -> Answer<'_> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let way = self.ways.lock().unwrap().pop_front().unwrap_or(Way::Usual);
        async move {
            tokio::time::sleep(match way {
                Way::After(late) => late,
                Way::Usual | Way::Garbled | Way::Refused => self.usual,
            })
            .await;
            match way {
                Way::Refused => Err(OriginError::Failed {
                    kind: crate::ErrorKind::FixRequest,
                    source: "no permission".into(),
                }),
                Way::Garbled => {
                    let mut bytes = self.origin.fetch(address).await?.to_vec();
                    bytes[0] ^= 1;
                    Ok(bytes.into())
                }
                Way::Usual | Way::After(_) => self.origin.fetch(address).await,
            }
        }
        .boxed()
    }

    fn is_remote(&self) -> bool {
        self.is_remote
    }
}
