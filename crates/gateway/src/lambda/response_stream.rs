//! InvokeWithResponseStream: the answer as it comes, in frames of `application/vnd.amazon.eventstream`.
//!
//! ```text
//! PayloadChunk*  InvokeComplete
//! ```
//! A chunk's payload is the function's bytes; the last message is JSON with what a buffered answer says in headers.

use super::ApiError;
use super::dispatch::RawRequest;
use super::invoke;
use crate::answer::Response;
use crate::invocation::{self, Ask, Running, Started};
use api::{Ending, ResponseMode};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as EventValue, Message};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream;
use serde_json::{Map, Value};
use std::convert::Infallible;
use tokio::sync::mpsc;

/// Bytes of payload in one message. Clients refuse messages beyond 24 MB (botocore's eventstream.py); smaller ones let
/// a reader begin earlier.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Room for a message's frame and headers, bytes.
const FRAME_BYTES: usize = 160;

/// Answers InvokeWithResponseStream.
pub(super) async fn answer(mut request: RawRequest<'_>) -> Result<Response, ApiError> {
    let target = invoke::target(&request)?;
    let kind = invoke::header_text(&request, "x-amz-invocation-type").unwrap_or("RequestResponse");
    if kind == "DryRun" {
        invocation::check(
            request.gateway,
            &invoke::ask(&request, &target, ResponseMode::Streaming)?,
        )
        .await?;
        return Ok(invoke::empty(StatusCode::NO_CONTENT));
    }
    if kind != "RequestResponse" {
        return Err(invoke::not_in_set(kind, "invocationType", "RequestResponse, DryRun"));
    }
    let payload = invocation::check_payload(std::mem::take(&mut request.payload))?;
    let tail = invoke::wants_tail(&request)?;
    let ask = Ask {
        payload,
        tail,
        ..invoke::ask(&request, &target, ResponseMode::Streaming)?
    };
    let started = invocation::run(request.gateway, ask).await?;
    Ok(streamed(started))
}

fn streamed(started: Started) -> Response {
    let version = HeaderValue::try_from(started.executed_version.as_str());
    let content_type = HeaderValue::try_from(started.content_type.as_str());
    let mut response = Response::new(body_of(started));
    let headers = response.headers_mut();
    // The model maps the function's content type to this header, not to one of its own.
    headers.insert(
        header::CONTENT_TYPE,
        content_type.unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream")),
    );
    if let Ok(version) = version {
        headers.insert("x-amz-executed-version", version);
    }
    response
}

/// Where a stream of messages stands.
enum State {
    /// The function still answers.
    Chunks {
        from: mpsc::Receiver<Bytes>,
        rest: Bytes,
        running: Running,
    },
    /// Everything is known.
    Whole {
        rest: Bytes,
        complete: Value,
        running: Running,
    },
    /// It answers no more; how did it end?
    Closing { running: Running, complete: Option<Value> },
    /// Nothing is left to say.
    Over,
}

fn body_of(started: Started) -> Body {
    let Started {
        body, error, running, ..
    } = started;
    let state = match body {
        api::Body::Stream(from) => State::Chunks {
            from,
            rest: Bytes::new(),
            running,
        },
        // A failure that is known before anything was sent is not payload: it is told in the last message.
        api::Body::Whole(bytes) if error.is_some() => State::Closing {
            running,
            complete: Some(complete_of_failure(&bytes)),
        },
        api::Body::Whole(bytes) => State::Whole {
            rest: bytes,
            complete: Value::Object(Map::new()),
            running,
        },
    };
    let messages = stream::unfold(state, |state| async move {
        let (message, next) = next(state).await?;
        Some((Ok::<_, Infallible>(message), next))
    });
    Body::from_stream(messages)
}

async fn next(state: State) -> Option<(Bytes, State)> {
    match state {
        State::Chunks {
            mut from,
            mut rest,
            running,
        } => {
            if rest.is_empty() {
                match from.recv().await {
                    Some(bytes) => rest = bytes,
                    None => return close(running, None).await,
                }
            }
            let message = chunk(take_chunk(&mut rest));
            Some((message, State::Chunks { from, rest, running }))
        }
        State::Whole {
            mut rest,
            complete,
            running,
        } if !rest.is_empty() => {
            let message = chunk(take_chunk(&mut rest));
            Some((
                message,
                State::Whole {
                    rest,
                    complete,
                    running,
                },
            ))
        }
        State::Whole { complete, running, .. } => close(running, Some(complete)).await,
        State::Closing { running, complete } => close(running, complete).await,
        State::Over => None,
    }
}

async fn close(running: Running, complete: Option<Value>) -> Option<(Bytes, State)> {
    let ending = running.ended().await;
    Some((last_message(ending.as_ref(), complete), State::Over))
}

fn take_chunk(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(CHUNK_BYTES_MAX))
}

fn last_message(ending: Option<&Ending>, complete: Option<Value>) -> Bytes {
    let mut members = match complete {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    match ending {
        Some(ending) => {
            if let Some((_, kind, message)) = &ending.error {
                members.entry("ErrorCode").or_insert_with(|| Value::from(kind.as_str()));
                members
                    .entry("ErrorDetails")
                    .or_insert_with(|| Value::from(message.as_str()));
            }
            if let Some(log) = &ending.log_tail {
                members.insert("LogResult".to_owned(), Value::from(STANDARD.encode(log)));
            }
        }
        None => {
            members.insert("ErrorCode".to_owned(), Value::from("Runtime.Unknown"));
            members.insert(
                "ErrorDetails".to_owned(),
                Value::from("The worker did not say how the invocation ended."),
            );
        }
    }
    message(
        "InvokeComplete",
        "application/json",
        Bytes::from(Value::Object(members).to_string()),
    )
}

/// A failed function's answer is a JSON document that names its kind.
fn complete_of_failure(payload: &Bytes) -> Value {
    let kind = serde_json::from_slice::<Value>(payload).ok();
    let kind = kind
        .as_ref()
        .and_then(|document| document.get("errorType")?.as_str())
        .unwrap_or("Unhandled");
    serde_json::json!({ "ErrorCode": kind, "ErrorDetails": String::from_utf8_lossy(payload) })
}

fn chunk(payload: Bytes) -> Bytes {
    message("PayloadChunk", "application/octet-stream", payload)
}

fn message(event: &'static str, content_type: &'static str, payload: Bytes) -> Bytes {
    let text = |value: &'static str| EventValue::String(value.into());
    let mut out = BytesMut::with_capacity(payload.len() + FRAME_BYTES);
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text("event")))
        .add_header(Header::new(":event-type", text(event)))
        .add_header(Header::new(":content-type", text(content_type)));
    // Headers are ours and short, and the payload is below the limit: nothing here can be refused.
    write_message_to(&message, &mut out).expect("a small message with short headers can be written");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::read_message_from;

    #[test]
    fn messages_read_back() {
        let bytes = chunk(Bytes::from_static(b"abc"));
        let message = read_message_from(&mut bytes.clone()).unwrap();
        assert_eq!(message.payload().as_ref(), b"abc");
        let names: Vec<_> = message
            .headers()
            .iter()
            .map(|header| header.name().as_str().to_owned())
            .collect();
        assert_eq!(names, [":message-type", ":event-type", ":content-type"]);
        assert!(bytes.len() <= 3 + FRAME_BYTES, "{}", bytes.len());
    }

    #[test]
    fn a_failure_is_told_by_its_kind() {
        let complete = complete_of_failure(&Bytes::from_static(br#"{"errorType":"Sandbox.Timedout"}"#));
        assert_eq!(complete["ErrorCode"], "Sandbox.Timedout");
        assert_eq!(complete_of_failure(&Bytes::from_static(b"?"))["ErrorCode"], "Unhandled");
    }
}
