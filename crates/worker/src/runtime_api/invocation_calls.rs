//! Runtime API: the next event, and the runtime's errors.

use super::RESPONSE_BYTES_MAX;
use super::answer::RuntimeAnswer;
use super::body::{self, Answer, Collected, JSON};
use super::refusal::Refusal;
use super::shared::{Delivered, RuntimePoll, Shared};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// Characters of an error's type that are kept: Lambda's own have about 30.
const ERROR_TYPE_CHARS_MAX: usize = 256;

pub(super) const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const FUNCTION_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");

/// GET /runtime/invocation/next: waits for as long as it takes.
pub(super) async fn next(shared: &Arc<Shared>) -> Result<Answer, Refusal> {
    let event = match shared.poll_runtime()? {
        RuntimePoll::Now(event) => Some(event),
        RuntimePoll::Wait(waiting) => waiting.event().await,
        RuntimePoll::WaitBeside(waiting) => waiting.event().await,
    };
    let event = event.ok_or(Refusal::RuntimeTransition {
        from: "Ready",
        to: "Ready",
    })?;
    Ok(event_answer(&event))
}

/// POST /runtime/invocation/ID/error.
pub(super) async fn error(shared: &Arc<Shared>, id: &str, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let answering = shared.begin_answer(id)?;
    let (head, mut content) = request.into_parts();
    match body::collect(&mut content, RESPONSE_BYTES_MAX).await {
        Collected::Whole { body, .. } => {
            let error_type = error_type(&head.headers);
            let body = or_default(body, error_type.as_deref());
            answering.send(RuntimeAnswer::Error { error_type, body })?;
            Ok(body::accepted())
        }
        Collected::TooLarge => {
            answering.send(RuntimeAnswer::TooLarge)?;
            body::discard(&mut content).await;
            Err(Refusal::TooLarge)
        }
        Collected::Truncated => Err(Refusal::Truncated),
    }
}

/// POST /runtime/init/error.
pub(super) async fn init_error(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let (head, mut content) = request.into_parts();
    let body = body::read(&mut content, RESPONSE_BYTES_MAX).await?;
    let error_type = error_type(&head.headers);
    let body = or_default(body, error_type.as_deref());
    shared.init_error(error_type, body)?;
    Ok(body::accepted())
}

/// The error's type in headers or trailers.
pub(super) fn error_type(headers: &HeaderMap) -> Option<String> {
    bounded_text(headers.get(ERROR_TYPE)?)
}

/// A header's value as text that is short enough to keep.
pub(super) fn bounded_text(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(ERROR_TYPE_CHARS_MAX).collect())
}

/// The runtime's error, or one made from its type where it said nothing.
pub(super) fn or_default(body: Bytes, error_type: Option<&str>) -> Bytes {
    if !body.is_empty() {
        return body;
    }
    let error = body::error_json(
        error_type.unwrap_or("Runtime.Unknown"),
        "the runtime reported an error and gave no details",
    );
    Bytes::from(error.to_string())
}

fn event_answer(event: &Delivered) -> Answer {
    let invocation = &event.invocation;
    let mut answer = Answer::new(Full::new(invocation.payload.clone()));
    let headers = answer.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(DEADLINE_MS, HeaderValue::from(event.deadline_ms));
    for (name, value) in [
        (REQUEST_ID, &invocation.request_id),
        (FUNCTION_ARN, &invocation.arn),
        (TRACE_ID, &invocation.trace_id),
    ] {
        insert(headers, name, value);
    }
    if let Some(context) = &invocation.client_context {
        insert(headers, CLIENT_CONTEXT, context);
    }
    answer
}

/// Newlines stand in JSON between tokens alone, where a space does as well; in a header they cannot.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if value.is_empty() {
        return;
    }
    let value = HeaderValue::from_str(value).or_else(|_| {
        let spaced: Vec<u8> = value
            .bytes()
            .map(|byte| if byte < b' ' { b' ' } else { byte })
            .collect();
        HeaderValue::from_bytes(&spaced)
    });
    if let Ok(value) = value {
        headers.insert(name, value);
    }
}
