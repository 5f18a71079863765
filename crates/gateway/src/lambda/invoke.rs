//! Invoke: one event, one answer.

use super::dispatch::RawRequest;
use super::function_name::{FunctionName, parse_function};
use super::{ApiError, validation};
use crate::answer::Response;
use crate::invocation::{self, Ask, Started};
use crate::query;
use api::{ErrorMark, ResponseMode};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::NewEvent;
use std::time::Instant;

/// Largest asynchronous event, bytes: 1 MiB. Source: Lambda quotas.
pub(super) const ASYNCHRONOUS_BYTES_MAX: usize = 1_048_576;
/// Longest client context, characters of base64. Source: the API reference of Invoke.
const CLIENT_CONTEXT_MAX: usize = 3583;

const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

/// Answers Invoke.
pub(super) async fn answer(request: RawRequest<'_>) -> Result<Response, ApiError> {
    let target = target(&request)?;
    match header_text(&request, "x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => answer_now(request, &target).await,
        "Event" => answer_later(request, &target).await,
        "DryRun" => answer_dry(&request, &target).await,
        other => Err(not_in_set(other, "invocationType", "Event, RequestResponse, DryRun")),
    }
}

async fn answer_now(mut request: RawRequest<'_>, target: &FunctionName) -> Result<Response, ApiError> {
    let begin = Instant::now();
    let payload = invocation::check_payload(std::mem::take(&mut request.payload))?;
    let tail = wants_tail(&request)?;
    let ask = Ask {
        payload,
        tail,
        ..ask(&request, target, ResponseMode::Buffered)?
    };
    let started = invocation::answer(request.gateway, ask).await?;
    let response = buffered(started, tail).await?;
    request.gateway.metrics.invoked(begin.elapsed());
    Ok(response)
}

/// The answer of an invocation that is not streamed.
async fn buffered(started: Started, tail: bool) -> Result<Response, ApiError> {
    let Started {
        body,
        error,
        executed_version,
        running,
        headers: further,
        ..
    } = started;
    let mut response = Response::new(Body::from(invocation::collect(body).await?));
    let headers = response.headers_mut();
    headers.extend(further);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(version) = HeaderValue::try_from(executed_version) {
        headers.insert(EXECUTED_VERSION, version);
    }
    if let Some(mark) = error {
        headers.insert(FUNCTION_ERROR, HeaderValue::from_static(mark_text(mark)));
    }
    // Only who asked for the log waits for the end; else the invocation is accounted for in its own time.
    if tail
        && let Some(log) = running.ended().await.and_then(|ending| ending.log_tail)
        && let Ok(log) = HeaderValue::try_from(STANDARD.encode(&log))
    {
        headers.insert(LOG_RESULT, log);
    }
    Ok(response)
}

async fn answer_later(mut request: RawRequest<'_>, target: &FunctionName) -> Result<Response, ApiError> {
    let payload = std::mem::take(&mut request.payload);
    enqueue(&request, target, payload).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Keeps an asynchronous event: it is durable when this returns.
pub(super) async fn enqueue(
    request: &RawRequest<'_>,
    target: &FunctionName,
    payload: bytes::Bytes,
) -> Result<(), ApiError> {
    if payload.len() > ASYNCHRONOUS_BYTES_MAX {
        let message =
            format!("Request must be smaller than {ASYNCHRONOUS_BYTES_MAX} bytes for the InvokeFunction operation");
        return Err(ApiError::new("RequestTooLargeException", message));
    }
    let payload = invocation::check_payload(payload)?;
    let ask = ask(request, target, ResponseMode::Buffered)?;
    invocation::check(request.gateway, &ask).await?;
    let event = NewEvent {
        account: request.account.clone(),
        function: target.name.clone(),
        qualifier: target.qualifier.clone(),
        // The payload is JSON, so it is UTF-8: nothing is lost.
        payload: String::from_utf8_lossy(&payload).into_owned(),
        request_id: request.context.request_id.clone(),
        client_context: ask.client_context,
        trace_id: ask.trace_id,
    };
    Ok(request.gateway.control.enqueue_event(event).await?)
}

async fn answer_dry(request: &RawRequest<'_>, target: &FunctionName) -> Result<Response, ApiError> {
    invocation::check(request.gateway, &ask(request, target, ResponseMode::Buffered)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Which function the request names, checked against the model.
pub(super) fn target(request: &RawRequest<'_>) -> Result<FunctionName, ApiError> {
    let (model, shapes) = (&request.gateway.model, request.gateway.model.invocation);
    validation::check_text(model, shapes.function_name, "functionName", request.function_name)?;
    let mut pairs = query::pairs(request.parts.uri.query().unwrap_or_default());
    let qualifier = pairs
        .find(|(name, value)| name == "Qualifier" && !value.is_empty())
        .map(|(_, value)| value);
    if let Some(qualifier) = &qualifier {
        validation::check_text(model, shapes.qualifier, "qualifier", qualifier)?;
    }
    parse_function(
        request.gateway,
        request.account,
        request.function_name,
        qualifier.as_deref(),
    )
}

/// What is asked, but for its payload and its log.
pub(super) fn ask<'a>(
    request: &RawRequest<'a>,
    target: &'a FunctionName,
    mode: ResponseMode,
) -> Result<Ask<'a>, ApiError> {
    let request_id = &request.context.request_id;
    let trace_id = header_text(request, "x-amzn-trace-id").filter(|trace| trace.len() <= TRACE_ID_MAX);
    Ok(Ask {
        account: request.account,
        name: &target.name,
        qualifier: target.qualifier.as_deref(),
        request_id,
        payload: bytes::Bytes::new(),
        client_context: client_context(request)?,
        trace_id: trace_id.map_or_else(
            || invocation::trace_id(request_id, request.gateway.now_ms()),
            str::to_owned,
        ),
        mode,
        tail: false,
    })
}

/// Longest trace header that is passed on, bytes. X-Ray's own has less than 100; it may carry custom keys.
const TRACE_ID_MAX: usize = 1024;

fn client_context(request: &RawRequest<'_>) -> Result<Option<String>, ApiError> {
    let Some(text) = header_text(request, "x-amz-client-context").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let refuse = |message: &str| ApiError::new("InvalidRequestContentException", message);
    if text.len() > CLIENT_CONTEXT_MAX {
        return Err(refuse(&format!(
            "Client context must be at most {CLIENT_CONTEXT_MAX} bytes of base64."
        )));
    }
    let decoded = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .filter(|json| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok())
        .map(Some)
        .ok_or_else(|| refuse("Client context must be a valid Base64-encoded JSON object."))
}

pub(super) fn wants_tail(request: &RawRequest<'_>) -> Result<bool, ApiError> {
    match header_text(request, "x-amz-log-type") {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => Err(not_in_set(other, "logType", "None, Tail")),
    }
}

pub(super) fn header_text<'a>(request: &RawRequest<'a>, name: &str) -> Option<&'a str> {
    request.parts.headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn not_in_set(value: &str, place: &str, set: &str) -> ApiError {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{place}' failed to satisfy constraint: Member must satisfy \
         enum value set: [{set}]"
    );
    ApiError::new("ValidationException", message)
}

fn mark_text(mark: ErrorMark) -> &'static str {
    match mark {
        ErrorMark::Handled => "Handled",
        ErrorMark::Unhandled => "Unhandled",
    }
}
