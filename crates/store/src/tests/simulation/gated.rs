//! An object store whose every call waits for its turn, and may fail or lose its answer.

use super::world::{Fate, World};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// One process's way to the objects.
#[derive(Clone)]
pub(super) struct GatedStore {
    inner: Arc<InMemory>,
    turns: Arc<Semaphore>,
    shared: super::world::Shared,
}

impl GatedStore {
    pub(super) fn new(world: &World, turns: Arc<Semaphore>) -> Self {
        Self {
            inner: world.objects(),
            turns,
            shared: world.shared(),
        }
    }

    /// Waits for the turn; fails in place of the call, or gives the call's fate.
    async fn turn(&self) -> Result<Fate> {
        self.turns.acquire().await.expect("nobody closes it").forget();
        match self.shared.fate() {
            Fate::Lost => Err(failure()),
            fate => Ok(fate),
        }
    }

    fn answer<T>(fate: Fate, answer: Result<T>) -> Result<T> {
        match fate {
            Fate::AnswerLost if answer.is_ok() => Err(failure()),
            _ => answer,
        }
    }
}

/// Of a kind that nobody tries again: what survives this survives a process that died.
fn failure() -> Error {
    Error::Generic {
        store: "gated",
        source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
    }
}

#[async_trait]
impl ObjectStore for GatedStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.turn().await?;
        self.shared.before_write(&self.inner, key);
        Self::answer(fate, self.inner.put_opts(key, payload, options).await)
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.turn().await?;
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        keys.and_then(move |key| {
            let this = this.clone();
            async move {
                let fate = this.turn().await?;
                this.shared.before_write(&this.inner, &key);
                Self::answer(fate, this.inner.delete(&key).await)?;
                Ok(key)
            }
        })
        .boxed()
    }

    fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, folder) = (self.clone(), folder.cloned());
        async move {
            match this.turn().await {
                Ok(_) => this.inner.list(folder.as_ref()),
                Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }

    async fn list_with_delimiter(&self, folder: Option<&Path>) -> Result<ListResult> {
        self.turn().await?;
        self.inner.list_with_delimiter(folder).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fate = self.turn().await?;
        Self::answer(fate, self.inner.copy_opts(from, to, options).await)
    }
}

impl fmt::Debug for GatedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GatedStore")
    }
}

impl fmt::Display for GatedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GatedStore")
    }
}
