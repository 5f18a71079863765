//! An object store whose puts and deletions fail as a test says.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Barrier;

/// What happens to a put.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Succeed,
    /// Nothing is stored.
    Fail(io::ErrorKind),
    /// Everything is stored, and the answer is lost.
    LoseAnswer,
    /// Half is stored under the key itself, as no real store should.
    Tear,
    /// S3's 409: somebody else is at it, and may fail.
    Conflict,
    /// Success, once this many puts are in flight at the same time.
    Gather(usize),
}

/// Gives each put its fate.
pub(super) struct FailingStore {
    inner: InMemory,
    first: Vec<Fate>,
    then: Fate,
    gathering: Barrier,
    puts: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
    may_not_delete: Arc<AtomicBool>,
}

impl FailingStore {
    /// The first puts' fates, and that of all others.
    pub(super) fn new(first: &[Fate], then: Fate) -> Self {
        let gathered = if let Fate::Gather(puts) = then { puts } else { 1 };
        Self {
            gathering: Barrier::new(gathered),
            inner: InMemory::new(),
            first: first.to_vec(),
            then,
            puts: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
            may_not_delete: Arc::default(),
        }
    }

    /// As the bucket's policy says from now on.
    pub(super) fn permit_deletions(&self, may: bool) {
        self.may_not_delete.store(!may, Ordering::SeqCst);
    }

    pub(super) fn puts(&self) -> usize {
        self.puts.load(Ordering::SeqCst)
    }

    pub(super) fn in_flight_max(&self) -> usize {
        self.in_flight_max.load(Ordering::SeqCst)
    }

    async fn put(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let count = self.puts.fetch_add(1, Ordering::SeqCst);
        match *self.first.get(count).unwrap_or(&self.then) {
            Fate::Succeed => self.inner.put_opts(key, payload, options).await,
            Fate::Fail(kind) => Err(generic(kind)),
            Fate::LoseAnswer => {
                self.inner.put_opts(key, payload, options).await?;
                Err(generic(io::ErrorKind::ConnectionReset))
            }
            Fate::Tear => {
                let half = PutPayload::from(bytes::Bytes::from(payload).slice(..1));
                self.inner.put(key, half).await?;
                Err(generic(io::ErrorKind::StorageFull))
            }
            Fate::Conflict => Err(Error::AlreadyExists {
                path: key.to_string(),
                source: "409 ConditionalRequestConflict".into(),
            }),
            Fate::Gather(_) => {
                self.gathering.wait().await;
                self.inner.put_opts(key, payload, options).await
            }
        }
    }
}

fn generic(kind: io::ErrorKind) -> Error {
    Error::Generic {
        store: "failing",
        source: Box::new(io::Error::from(kind)),
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_max.fetch_max(now, Ordering::SeqCst);
        let result = self.put(key, payload, options).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let may_not_delete = Arc::clone(&self.may_not_delete);
        let keys = keys.and_then(move |key| {
            let denied = may_not_delete.load(Ordering::SeqCst).then(|| Error::PermissionDenied {
                path: key.to_string(),
                source: "AccessDenied".into(),
            });
            std::future::ready(denied.map_or(Ok(key), Err))
        });
        self.inner.delete_stream(keys.boxed())
    }

    fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(folder)
    }

    async fn list_with_delimiter(&self, folder: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(folder).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for FailingStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FailingStore")
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FailingStore")
    }
}
