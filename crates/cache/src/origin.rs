//! The tier behind this crate's own.

use crate::{ChunkAddress, ErrorKind};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::error::Error;
use std::fmt::Debug;
use store::{Store, StoreError};

/// Where chunks come from when no nearer place has them.
///
/// An origin may be wrong, slow or gone: its bytes are hashed, its answers are timed, and dropping the future ends the
/// request. It repeats by itself what broke in transfer, within its own budget; this crate repeats only what an origin
/// cannot notice, which is garbage and silence.
pub trait Origin: Send + Sync + Debug + 'static {
    /// The stored bytes of a chunk, not yet checked.
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>>;

    /// Whether a second question may be answered sooner than the first: by another machine, over another connection.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Why an origin gave no bytes.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// It does not have the chunk.
    #[error("{source}")]
    Missing {
        /// The origin's own words.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It could not or would not answer.
    #[error("{source}")]
    Failed {
        /// What to do about it.
        kind: ErrorKind,
        /// The origin's own words.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<StoreError> for OriginError {
    fn from(error: StoreError) -> Self {
        let kind = error.kind();
        let missing = matches!(error, StoreError::Missing(_));
        let source = Box::new(error);
        if missing {
            Self::Missing { source }
        } else {
            Self::Failed { kind, source }
        }
    }
}

impl Origin for Store {
    fn fetch(&self, address: ChunkAddress) -> BoxFuture<'_, Result<Bytes, OriginError>> {
        async move { Ok(self.get_chunk(address.generation, address.id).await?) }.boxed()
    }

    fn is_remote(&self) -> bool {
        Self::is_remote(self)
    }
}
