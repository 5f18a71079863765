//! From a function's answer to an HTTP response.

use super::prelude::{self, Head, HeadReader};
use super::refusal::Refusal;
use crate::answer::Response;
use crate::invocation::{self, Running, Started};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::Value;
use std::io;
use tokio::sync::mpsc;

/// Headers that are the server's own business: a function that sets them would break the connection's framing.
const SERVERS_OWN: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
];

/// An answer in payload format 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Formatted {
    #[serde(flatten)]
    head: Head,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The response to a URL of the mode BUFFERED.
pub(super) async fn buffered(started: Started) -> Result<Response, Refusal> {
    let Started {
        content_type,
        body,
        error,
        running,
        ..
    } = started;
    let bytes = invocation::collect(body).await.map_err(Refusal::Invoke)?;
    drop(running);
    if error.is_some() {
        return Err(Refusal::BadAnswer);
    }
    if content_type == prelude::CONTENT_TYPE {
        let (head, rest) = HeadReader::default()
            .push(&bytes)
            .ok()
            .flatten()
            .ok_or(Refusal::BadAnswer)?;
        return with_head(&head, Body::from(rest), "application/octet-stream");
    }
    interpreted(bytes)
}

/// The response to a URL of the mode RESPONSE_STREAM.
pub(super) async fn streamed(started: Started) -> Result<Response, Refusal> {
    let Started {
        content_type,
        body,
        error,
        running,
        ..
    } = started;
    if error.is_some() {
        return Err(Refusal::BadAnswer);
    }
    let mut from = match body {
        // A runtime that does not stream: its answer is the body as it is.
        api::Body::Whole(bytes) => return with_head(&Head::default(), Body::from(bytes), &content_type),
        api::Body::Stream(from) => from,
    };
    if content_type != prelude::CONTENT_TYPE {
        return with_head(&Head::default(), body_of(from, Bytes::new(), running), &content_type);
    }
    let (head, rest) = read_head(&mut from).await?;
    with_head(&head, body_of(from, rest, running), "application/octet-stream")
}

async fn read_head(from: &mut mpsc::Receiver<Bytes>) -> Result<(Head, Bytes), Refusal> {
    let mut reader = HeadReader::default();
    while let Some(piece) = from.recv().await {
        if let Some(found) = reader.push(&piece).map_err(|_| Refusal::BadAnswer)? {
            return Ok(found);
        }
    }
    Err(Refusal::BadAnswer)
}

/// The rest of a stream. If the function fails on its way the connection breaks: a client must not take what came for
/// the whole.
fn body_of(from: mpsc::Receiver<Bytes>, rest: Bytes, running: Running) -> Body {
    let state = Some((from, rest, running));
    Body::from_stream(stream::unfold(state, |state| async move {
        let (mut from, mut rest, running) = state?;
        if !rest.is_empty() {
            let piece = std::mem::take(&mut rest);
            return Some((Ok(piece), Some((from, rest, running))));
        }
        if let Some(piece) = from.recv().await {
            return Some((Ok(piece), Some((from, rest, running))));
        }
        let ending = running.ended().await?;
        ending
            .error
            .map(|(_, kind, message)| (Err(io::Error::other(format!("{kind}: {message}"))), None))
    }))
}

/// A JSON answer: one with a `statusCode` is taken at its word, any other is the body.
fn interpreted(bytes: Bytes) -> Result<Response, Refusal> {
    let document: Option<Value> = serde_json::from_slice(&bytes).ok();
    let document = match document {
        Some(document) if document.get("statusCode").is_some() => document,
        // A text is sent without its quotes, and called JSON all the same: so does Lambda.
        Some(Value::String(text)) => return with_head(&Head::default(), Body::from(text), "application/json"),
        _ => return with_head(&Head::default(), Body::from(bytes), "application/json"),
    };
    let formatted: Formatted = serde_json::from_value(document).map_err(|_| Refusal::BadAnswer)?;
    let body = match formatted.body {
        Value::Null => Bytes::new(),
        Value::String(text) if formatted.is_base64_encoded => {
            STANDARD.decode(text).map_err(|_| Refusal::BadAnswer)?.into()
        }
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    };
    with_head(&formatted.head, Body::from(body), "application/json")
}

fn with_head(head: &Head, body: Body, content_type: &str) -> Result<Response, Refusal> {
    let mut response = Response::new(body);
    let status = head.status_code.unwrap_or(200);
    // Informational statuses end no exchange.
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.as_u16() >= 200);
    *response.status_mut() = status.ok_or(Refusal::BadAnswer)?;
    let headers = response.headers_mut();
    for (name, value) in &head.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| Refusal::BadAnswer)?;
        if !SERVERS_OWN.contains(&name)
            && let Some(value) = header_value(value)?
        {
            headers.insert(name, value);
        }
    }
    for cookie in &head.cookies {
        headers.append(header::SET_COOKIE, text_value(cookie)?);
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, text_value(content_type)?);
    }
    Ok(response)
}

fn header_value(value: &Value) -> Result<Option<HeaderValue>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => text_value(text).map(Some),
        Value::Bool(_) | Value::Number(_) => text_value(&value.to_string()).map(Some),
        Value::Array(_) | Value::Object(_) => Err(Refusal::BadAnswer),
    }
}

fn text_value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(text).map_err(|_| Refusal::BadAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    type Seen = (u16, Vec<(String, String)>, Vec<u8>);

    async fn see(answer: &str) -> Result<Seen, Refusal> {
        let (parts, body) = interpreted(Bytes::copy_from_slice(answer.as_bytes()))?.into_parts();
        let headers = parts.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        Ok((
            parts.status.as_u16(),
            headers,
            body.collect().await.unwrap().to_bytes().to_vec(),
        ))
    }

    async fn check(answer: &str, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let (found_status, mut found_headers, found_body) = see(answer).await.unwrap();
        let mut headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        found_headers.sort();
        headers.sort();
        assert_eq!(
            (found_status, found_headers, found_body.as_slice()),
            (status, headers, body),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn any_json_is_a_body() {
        let json = [("content-type", "application/json")];
        check("\"Hello\"", 200, &json, b"Hello").await;
        check("{\"message\": 1}", 200, &json, b"{\"message\": 1}").await;
        check("null", 200, &json, b"null").await;
    }

    #[tokio::test]
    async fn a_status_code_makes_it_a_response() {
        let answer = r#"{"statusCode": 201, "headers": {"X-A": "b", "X-N": 7, "Content-Type": "text/html",
                        "Content-Length": "9999", "Transfer-Encoding": "chunked"},
                        "cookies": ["a=1; Secure", "b=2"], "body": "<p>"}"#;
        let headers = [
            ("x-a", "b"),
            ("x-n", "7"),
            ("content-type", "text/html"),
            ("set-cookie", "a=1; Secure"),
            ("set-cookie", "b=2"),
        ];
        check(answer, 201, &headers, b"<p>").await;
        let json = [("content-type", "application/json")];
        check(
            r#"{"statusCode": 200, "body": "/w==", "isBase64Encoded": true}"#,
            200,
            &json,
            b"\xff",
        )
        .await;
        check(r#"{"statusCode": 200, "body": {"a": 1}}"#, 200, &json, br#"{"a":1}"#).await;
        check(r#"{"statusCode": 404}"#, 404, &json, b"").await;
    }

    #[tokio::test]
    async fn answers_that_are_no_response() {
        for answer in [
            r#"{"statusCode": "two hundred"}"#,
            r#"{"statusCode": 99}"#,
            r#"{"statusCode": 101}"#,
            r#"{"statusCode": 1000}"#,
            r#"{"statusCode": 200, "headers": {"a b": "c"}}"#,
            r#"{"statusCode": 200, "headers": {"a": "b\r\nc: d"}}"#,
            r#"{"statusCode": 200, "headers": []}"#,
            r#"{"statusCode": 200, "body": "***", "isBase64Encoded": true}"#,
        ] {
            assert!(matches!(see(answer).await, Err(Refusal::BadAnswer)), "{answer}");
        }
    }
}
