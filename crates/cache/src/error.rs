//! Why a chunk could not be had.

use crate::{ChunkAddress, ErrorKind, OriginError, Tier};
use chunk::ChunkId;
use std::error::Error;
use std::time::Duration;

/// No tier gave the chunk. A caller adds what this crate does not know: whose image it was.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The last tier's copy is bad too.
    #[error(transparent)]
    Corrupt(#[from] ChunkCorrupt),
    /// The last tier has no copy.
    #[error(transparent)]
    Missing(#[from] ChunkMissing),
    /// The last tier refused or broke.
    #[error(transparent)]
    Failed(#[from] OriginFailed),
    /// The last tier did not answer in time.
    #[error(transparent)]
    Silent(#[from] OriginSilent),
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt(_) | Self::Missing(_) => ErrorKind::BadData,
            Self::Failed(failed) => failed.kind,
            Self::Silent(_) => ErrorKind::Retry,
        }
    }

    /// The chunk that was asked for.
    #[must_use]
    pub const fn address(&self) -> ChunkAddress {
        match self {
            Self::Corrupt(error) => error.address,
            Self::Missing(error) => error.address,
            Self::Failed(error) => error.address,
            Self::Silent(error) => error.address,
        }
    }

    /// The tier that failed: the last one, since any other is passed over.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        Tier::Origin
    }

    pub(crate) fn from_origin(address: ChunkAddress, error: OriginError) -> Self {
        let id = address.id;
        match error {
            OriginError::Missing { source } => ChunkMissing { id, address, source }.into(),
            OriginError::Failed { kind, source } => OriginFailed {
                id,
                address,
                kind,
                source,
            }
            .into(),
        }
    }
}

/// The origin's bytes have another hash, however often they are asked for.
#[derive(Debug, thiserror::Error)]
#[error("chunk {id} is corrupt in the origin: {attempts} answers, the last of {found_bytes} bytes, with another hash")]
pub struct ChunkCorrupt {
    pub(crate) id: ChunkId,
    pub(crate) address: ChunkAddress,
    pub(crate) attempts: u32,
    pub(crate) found_bytes: usize,
}

/// The origin does not have the chunk, though a manifest names it.
#[derive(Debug, thiserror::Error)]
#[error("chunk {id} is missing in the origin: {source}")]
pub struct ChunkMissing {
    pub(crate) id: ChunkId,
    pub(crate) address: ChunkAddress,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

/// The origin gave up on the chunk.
#[derive(Debug, thiserror::Error)]
#[error("chunk {id} cannot be had from the origin: {source}")]
pub struct OriginFailed {
    pub(crate) id: ChunkId,
    pub(crate) address: ChunkAddress,
    pub(crate) kind: ErrorKind,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

/// The chunk did not come within the budget.
#[derive(Debug, thiserror::Error)]
#[error("chunk {id} did not come within {budget:?}; the origin is slow, hangs, or has more to do than it can")]
pub struct OriginSilent {
    pub(crate) id: ChunkId,
    pub(crate) address: ChunkAddress,
    pub(crate) budget: Duration,
}

impl OriginSilent {
    pub(crate) const fn new(address: ChunkAddress, budget: Duration) -> Self {
        let id = address.id;
        Self { id, address, budget }
    }
}
