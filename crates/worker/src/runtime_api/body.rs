//! Bodies of requests, read up to a limit, and bodies of answers.

use super::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// Every answer of this server is whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// Bytes beyond a limit that are read and thrown away, so that a client that writes before it reads still sees our
/// refusal. About ten times the largest whole response.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request's body.
#[derive(Debug)]
pub(super) enum Collected {
    Whole {
        body: Bytes,
        trailers: Option<HeaderMap>,
    },
    TooLarge,
    /// The connection broke.
    Truncated,
}

/// Reads a body. One that comes in one piece, as most do, is not copied.
pub(super) async fn collect(body: &mut Incoming, bytes_max: usize) -> Collected {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Collected::TooLarge;
    }
    let mut whole = Joined::new(announced.unwrap_or(0));
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Collected::Truncated;
        };
        match frame.into_data() {
            Ok(data) if whole.len() + data.len() > bytes_max => return Collected::TooLarge,
            Ok(data) => whole.push(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Collected::Whole {
        body: whole.into_bytes(),
        trailers,
    }
}

/// A body of at most `bytes_max`, or what to answer instead.
pub(super) async fn read(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, Refusal> {
    match collect(body, bytes_max).await {
        Collected::Whole { body, .. } => Ok(body),
        Collected::Truncated => Err(Refusal::Truncated),
        Collected::TooLarge => {
            discard(body).await;
            Err(Refusal::TooLarge)
        }
    }
}

/// Reads what is left of a body, up to a limit.
pub(super) async fn discard(body: &mut Incoming) {
    let mut bytes = 0;
    while bytes < DISCARDED_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    with_type(status, Bytes::from(value.to_string()))
}

/// 202, `{"status":"OK"}`.
pub(super) fn accepted() -> Answer {
    with_type(StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#))
}

/// An answer of JSON that is made already.
pub(super) fn with_type(status: StatusCode, json: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(json));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// An error as Lambda writes it into bodies.
pub(super) fn error_json(error_type: &str, message: &str) -> Value {
    json!({ "errorMessage": message, "errorType": error_type })
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        json_answer(refusal.status(), &error_json(refusal.error_type(), &refusal.message()))
    }
}

/// Pieces of a body, joined when there are several.
struct Joined {
    first: Bytes,
    joined: BytesMut,
    announced: u64,
}

impl Joined {
    fn new(announced: u64) -> Self {
        Self {
            first: Bytes::new(),
            joined: BytesMut::new(),
            announced,
        }
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(usize::try_from(self.announced).unwrap_or(0));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}
