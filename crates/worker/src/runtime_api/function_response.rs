//! Runtime API: POST /runtime/invocation/ID/response, whole or streamed.

use super::answer::{RuntimeAnswer, StreamEnd};
use super::body::{self, Answer, Collected};
use super::invocation_calls::{ERROR_TYPE, bounded_text, error_type, or_default};
use super::refusal::Refusal;
use super::shared::{Answering, Shared};
use super::{RESPONSE_BYTES_MAX, STREAM_BYTES_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Pieces of a stream between runtime and caller, each at most what the server reads at once (about 1 MiB): a caller
/// that reads slowly slows the runtime down.
const PIECES_QUEUED_MAX: usize = 4;

/// How a runtime sends its response.
enum Mode {
    Whole,
    Streaming,
}

/// POST /runtime/invocation/ID/response.
pub(super) async fn response(shared: &Arc<Shared>, id: &str, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let answering = shared.begin_answer(id)?;
    let (head, mut content) = request.into_parts();
    let content_type = content_type(&head.headers);
    match mode(&head.headers) {
        Ok(Mode::Streaming) if answering.event.takes_stream() => stream(answering, content_type, &mut content).await?,
        Ok(_) => collect(answering, content_type, &mut content).await?,
        Err(refusal) => {
            answering.send(RuntimeAnswer::InvalidResponseMode)?;
            body::discard(&mut content).await;
            return Err(refusal);
        }
    }
    Ok(body::accepted())
}

async fn collect(answering: Answering, content_type: String, content: &mut Incoming) -> Result<(), Refusal> {
    match body::collect(content, RESPONSE_BYTES_MAX).await {
        Collected::Whole { body, trailers } => answering.send(match trailers.as_ref().and_then(failure) {
            None => RuntimeAnswer::Response {
                content_type,
                body: api::Body::Whole(body),
                end: None,
            },
            Some((error_type, body)) => RuntimeAnswer::Error {
                body: or_default(body, Some(&error_type)),
                error_type: Some(error_type),
            },
        }),
        Collected::TooLarge => {
            answering.send(RuntimeAnswer::TooLarge)?;
            body::discard(content).await;
            Err(Refusal::TooLarge)
        }
        Collected::Truncated => Err(Refusal::Truncated),
    }
}

async fn stream(mut answering: Answering, content_type: String, content: &mut Incoming) -> Result<(), Refusal> {
    let (mut stream, answer) = Stream::new(content_type);
    answering.send_beginning(answer);
    let end = stream.copy(&answering, content).await;
    let refusal = match &end {
        StreamEnd::Complete | StreamEnd::Error { .. } => None,
        StreamEnd::TooLarge => Some(Refusal::TooLarge),
        StreamEnd::Truncated => Some(Refusal::Truncated),
    };
    stream.finish(end);
    let ended = answering.end_stream();
    let Some(refusal) = ended.err().or(refusal) else {
        return Ok(());
    };
    body::discard(content).await;
    Err(refusal)
}

/// The runtime's end of a stream. Dropped early, it says that the stream was truncated.
struct Stream {
    end: Option<oneshot::Sender<StreamEnd>>,
    /// None once the caller is gone: what the function still says is read and thrown away.
    pieces: Option<mpsc::Sender<Bytes>>,
}

impl Stream {
    fn new(content_type: String) -> (Self, RuntimeAnswer) {
        let (pieces, receiver) = mpsc::channel(PIECES_QUEUED_MAX);
        let (end, end_receiver) = oneshot::channel();
        let answer = RuntimeAnswer::Response {
            content_type,
            body: api::Body::Stream(receiver),
            end: Some(end_receiver),
        };
        let stream = Self {
            end: Some(end),
            pieces: Some(pieces),
        };
        (stream, answer)
    }

    async fn copy(&mut self, answering: &Answering, content: &mut Incoming) -> StreamEnd {
        let mut bytes: u64 = 0;
        while let Some(frame) = content.frame().await {
            let Ok(frame) = frame else {
                return StreamEnd::Truncated;
            };
            match frame.into_data() {
                Ok(piece) => {
                    bytes += piece.len() as u64;
                    if bytes > STREAM_BYTES_MAX {
                        return StreamEnd::TooLarge;
                    }
                    self.push(piece).await;
                }
                Err(frame) => {
                    if let Some((error_type, body)) = frame.trailers_ref().and_then(failure) {
                        return StreamEnd::Error { error_type, body };
                    }
                }
            }
            if answering.event.is_abandoned() {
                return StreamEnd::Truncated;
            }
        }
        StreamEnd::Complete
    }

    async fn push(&mut self, piece: Bytes) {
        if let Some(pieces) = &self.pieces
            && !piece.is_empty()
            && pieces.send(piece).await.is_err()
        {
            self.pieces = None;
        }
    }

    fn finish(mut self, end: StreamEnd) {
        self.say(end);
    }

    /// Before the pieces end: who sees their end finds it said.
    fn say(&mut self, end: StreamEnd) {
        if let Some(sender) = self.end.take() {
            let _ = sender.send(end);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.say(StreamEnd::Truncated);
    }
}

fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    match headers.get(RESPONSE_MODE).map(|value| value.as_bytes()) {
        None | Some(b"") => Ok(Mode::Whole),
        Some(b"streaming") => Ok(Mode::Streaming),
        Some(_) => Err(Refusal::InvalidResponseMode),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let said = headers.get(CONTENT_TYPE).and_then(bounded_text);
    said.unwrap_or_else(|| "application/json".to_owned())
}

/// An error in the trailers: its type, and its decoded body (empty when there is none or it is not base64). The size
/// of trailers is limited by the server's buffer.
fn failure(trailers: &HeaderMap) -> Option<(String, Bytes)> {
    if !trailers.contains_key(ERROR_TYPE) && !trailers.contains_key(ERROR_BODY) {
        return None;
    }
    let encoded = trailers.get(ERROR_BODY).map_or(&b""[..], |value| value.as_bytes());
    let body = STANDARD.decode(encoded).unwrap_or_default();
    let error_type = error_type(trailers).unwrap_or_else(|| "Runtime.Unknown".to_owned());
    Some((error_type, Bytes::from(body)))
}
