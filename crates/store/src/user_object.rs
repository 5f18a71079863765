//! An object of the user's own, such as the input of a batch: no part of a store, but in a bucket all the same.
//!
//! It is read in pieces, each by a request of its own, since a batch may read one object for days and no connection
//! lives so long; a piece is refused when the object is another by then. It is written whole or not at all.

use crate::backend::Backend;
use crate::{AwsOptions, OpenError, S3Location, Settings};
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};
use std::sync::Arc;

/// Bytes of one request. 8 MiB: at S3's limit of 10,000 parts an output may have 78 GiB, and four in flight are little
/// memory.
const PIECE_BYTES: u64 = 8 * 1024 * 1024;

/// Pieces on their way at once.
const PIECES_IN_FLIGHT: usize = 4;

/// Where such an object is.
#[derive(Clone, Debug)]
pub struct UserObject {
    bucket: Arc<dyn ObjectStore>,
    key: Key,
    place: String,
}

/// Reads an object from its front to its end.
#[derive(Debug)]
pub struct UserObjectReader {
    object: UserObject,
    e_tag: Option<String>,
    bytes: u64,
    position: u64,
}

/// Writes an object, which appears when it is finished.
pub struct UserObjectWriter {
    object: UserObject,
    upload: WriteMultipart,
}

/// An object that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum UserObjectError {
    /// No server, or settings that contradict each other.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The location names a bucket alone.
    #[error("s3://{bucket} is a bucket: name the object in it, as s3://{bucket}/KEY")]
    NoKey {
        /// The bucket.
        bucket: String,
    },
    /// A request failed.
    #[error("cannot {what} {place}: {source}; check that it is there, the credentials in AWS_*, and the endpoint")]
    Call {
        /// `read` or `write`.
        what: &'static str,
        /// The object.
        place: String,
        /// Why.
        source: object_store::Error,
    },
}

impl UserObject {
    /// The object that a location names with what follows its bucket. Asks nothing yet.
    ///
    /// # Errors
    /// If the location has no key, or its settings contradict each other.
    pub fn new(location: &S3Location, settings: &Settings, aws: &AwsOptions) -> Result<Self, UserObjectError> {
        let no_key = || UserObjectError::NoKey {
            bucket: location.bucket.clone(),
        };
        let key = Key::parse(&location.prefix).map_err(|_| no_key())?;
        if location.prefix.is_empty() {
            return Err(no_key());
        }
        let place = location.to_string();
        let whole = S3Location {
            prefix: String::new(),
            ..location.clone()
        };
        let backend = Backend::open(&crate::StoreLocation::S3(whole), settings, aws)?;
        Ok(Self {
            bucket: backend.objects,
            key,
            place,
        })
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub async fn exists(&self) -> Result<bool, UserObjectError> {
        match self.bucket.head(&self.key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(self.failed("look for", source)),
        }
    }

    /// Begins to read it.
    ///
    /// # Errors
    /// If it is not there, or not readable.
    pub async fn read(self) -> Result<UserObjectReader, UserObjectError> {
        let found = self.bucket.head(&self.key).await;
        let found = found.map_err(|source| self.failed("read", source))?;
        Ok(UserObjectReader {
            object: self,
            e_tag: found.e_tag,
            bytes: found.size,
            position: 0,
        })
    }

    /// Begins to write it.
    ///
    /// # Errors
    /// If the bucket does not take it.
    pub async fn write(self) -> Result<UserObjectWriter, UserObjectError> {
        let upload = self.bucket.put_multipart(&self.key).await;
        let upload = upload.map_err(|source| self.failed("write", source))?;
        let piece = usize::try_from(PIECE_BYTES).expect("8 MiB fit in a usize");
        Ok(UserObjectWriter {
            object: self,
            upload: WriteMultipart::new_with_chunk_size(upload, piece),
        })
    }

    fn failed(&self, what: &'static str, source: object_store::Error) -> UserObjectError {
        UserObjectError::Call {
            what,
            place: self.place.clone(),
            source,
        }
    }
}

impl UserObjectReader {
    /// The object's size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.bytes
    }

    /// The next piece, none at the end.
    ///
    /// # Errors
    /// If the object cannot be read, or is not the one any more that was begun.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UserObjectError> {
        if self.position >= self.bytes {
            return Ok(None);
        }
        let end = self.bytes.min(self.position + PIECE_BYTES);
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.position..end)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        let (bucket, key) = (&self.object.bucket, &self.object.key);
        let piece = async { bucket.get_opts(key, options).await?.bytes().await };
        let piece = piece.await.map_err(|source| self.object.failed("read", source))?;
        self.position = end;
        Ok(Some(piece))
    }
}

impl UserObjectWriter {
    /// Adds bytes; waits while too many are on their way.
    ///
    /// # Errors
    /// If a part cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UserObjectError> {
        let room = self.upload.wait_for_capacity(PIECES_IN_FLIGHT).await;
        room.map_err(|source| self.object.failed("write", source))?;
        self.upload.write(bytes);
        Ok(())
    }

    /// Makes the object appear.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is there.
    pub async fn finish(self) -> Result<(), UserObjectError> {
        let Self { object, upload } = self;
        let done = upload.finish().await;
        done.map_err(|source| object.failed("write", source)).map(|_| ())
    }

    /// Gives up what was written.
    pub async fn abort(self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(
                "parts of {} stay in the bucket until its lifecycle rule removes them: {error}",
                self.object.place
            );
        }
    }
}

impl std::fmt::Debug for UserObjectWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("UserObjectWriter")
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}
