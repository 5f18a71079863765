//! Reads bodies, each up to its limit and all together up to a budget.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that are in memory at once, beyond the small ones. Fourteen of the largest uploads (70,167,211 B);
/// more requests wait for their turn.
const BUDGET_BYTES: usize = 1024 * 1024 * 1024;

/// A body up to this size needs no permit: the number of connections bounds these.
const SMALL_BYTES: usize = 64 * 1024;

/// The budget is counted in these units, as a semaphore counts in 32 bits.
const UNIT_BYTES: usize = 1024;

/// How long a client may be silent in the middle of a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Of a body that is too large, so much is read and thrown away: most clients send all before they read an answer, and
/// would meet a closed connection instead of it. Beyond the largest upload nobody sends by mistake.
const DISCARD_BYTES_MAX: usize = 96 * 1024 * 1024;

/// A client whose body is too large, and who has sent nothing of it for so long, waits for the answer before it sends.
const DISCARD_BEGIN_MAX: Duration = Duration::from_secs(1);

/// Room for bodies.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

/// A body, and its room until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    /// All of it.
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is larger than its limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The client stopped sending.
    #[error("the body did not arrive within {} s", SILENCE_MAX.as_secs())]
    Slow,
    /// The connection broke, or the chunks are malformed.
    #[error("the body could not be read to its end")]
    Broken,
}

impl BodyBudget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES / UNIT_BYTES)))
    }

    /// Reads a body of at most `limit` bytes. One that says it is longer is not kept.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body, limit: usize) -> Result<Received, BodyError> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if let Some(declared) = declared.filter(|declared| *declared > limit) {
            if declared <= DISCARD_BYTES_MAX {
                discard(body).await;
            }
            return Err(BodyError::TooLarge { limit });
        }
        let room = self.reserve(declared.unwrap_or(limit)).await;
        let bytes = read_all(body, limit, declared.unwrap_or(0)).await?;
        Ok(Received { bytes, _room: room })
    }

    async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let units = u32::try_from(bytes.min(BUDGET_BYTES) / UNIT_BYTES).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_many_owned(units).await.ok()
    }
}

/// Reads to the end and keeps nothing; whatever goes wrong, the answer is the same.
async fn discard(mut body: Body) {
    let mut silence_max = DISCARD_BEGIN_MAX;
    while let Ok(Some(Ok(_))) = tokio::time::timeout(silence_max, body.frame()).await {
        silence_max = SILENCE_MAX;
    }
}

async fn read_all(mut body: Body, limit: usize, expected: usize) -> Result<Bytes, BodyError> {
    let mut whole: Option<BytesMut> = None;
    let mut first = Bytes::new();
    while let Some(data) = next(&mut body).await? {
        let so_far = whole.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        // A body that comes in one piece, as nearly every event does, is not copied.
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(expected.max(first.len() + data.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                whole = Some(joined);
            }
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::time::timeout(SILENCE_MAX, body.frame())
            .await
            .map_err(|_| BodyError::Slow)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn chunked(pieces: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(*piece))),
        ))
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_their_limit() {
        let budget = BodyBudget::new();
        let headers = HeaderMap::new();
        for (pieces, limit, expected) in [
            (&[][..], 4, Ok("")),
            (&["abcd"][..], 4, Ok("abcd")),
            (&["ab", "cd"][..], 4, Ok("abcd")),
            (&["ab", "cd", "e"][..], 4, Err(BodyError::TooLarge { limit: 4 })),
        ] {
            let read = budget.read(&headers, chunked(pieces), limit).await;
            assert_eq!(read.map(|read| read.bytes), expected.map(Bytes::from), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "5".parse().unwrap());
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let read = BodyBudget::new().read(&headers, never, 4).await;
        assert_eq!(read.map(|_| ()), Err(BodyError::TooLarge { limit: 4 }));
    }
}
