//! One object, stored if it is not there.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use std::sync::Arc;

/// What a put found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was not there, and is now.
    New,
    /// It was there already, whole.
    Present,
}

/// Looks first, since S3 takes the whole body before it refuses a conditional put.
///
/// "Already exists" alone proves nothing: `object_store` also says it for S3's 409, with which the other writer may
/// still fail. A second look decides; without a whole object there, ours is written over whatever is. Both writers'
/// bytes are the same, so the order does not matter.
pub(crate) async fn put_once(objects: &Arc<dyn ObjectStore>, key: &Path, bytes: Bytes) -> object_store::Result<Put> {
    let whole = Some(bytes.len() as u64);
    match size(objects, key).await? {
        None => match create(objects, key, bytes.clone()).await {
            Ok(()) => return Ok(Put::New),
            Err(Error::AlreadyExists { .. }) if size(objects, key).await? == whole => return Ok(Put::Present),
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        },
        found if found == whole => return Ok(Put::Present),
        Some(found) => {
            tracing::warn!(%key, found, expected = bytes.len(), "replacing a stored object that is cut short");
        }
    }
    objects.put(key, bytes.into()).await.map(|_| Put::New)
}

pub(crate) async fn create(objects: &Arc<dyn ObjectStore>, key: &Path, bytes: Bytes) -> object_store::Result<()> {
    let created = objects.put_opts(key, bytes.into(), PutMode::Create.into()).await;
    created.map(|_| ())
}

/// Whose value a key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// Ours.
    Ours,
    /// Another writer's.
    Theirs(Bytes),
}

/// Writes a value if the key has none. May be repeated: what we wrote before is ours.
pub(crate) async fn decide(objects: &Arc<dyn ObjectStore>, key: &Path, value: Bytes) -> object_store::Result<Decided> {
    match create(objects, key, value.clone()).await {
        Ok(()) => return Ok(Decided::Ours),
        Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(error),
    }
    let found = match objects.get(key).await {
        Ok(found) => found.bytes().await?,
        // S3's 409: another writer is at it, and may fail. The next attempt knows more.
        Err(Error::NotFound { .. }) => {
            return Err(Error::Generic {
                store: "store",
                source: Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            });
        }
        Err(error) => return Err(error),
    };
    Ok(if found == value {
        Decided::Ours
    } else {
        Decided::Theirs(found)
    })
}

/// Bytes of an object, `None` when it is not there.
pub(crate) async fn size(objects: &Arc<dyn ObjectStore>, key: &Path) -> object_store::Result<Option<u64>> {
    match objects.head(key).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
