//! Extensions API, and the subscriptions of extensions to telemetry.

use super::body::{self, Answer, with_type};
use super::extension::{Failure, Subscriptions};
use super::invocation_calls::bounded_text;
use super::machine::Input;
use super::refusal::Refusal;
use super::shared::{Poll, Shared};
use super::telemetry::Interface;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const EVENT_IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-event-identifier");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-extension-function-error-type");
const FEATURES: HeaderName = HeaderName::from_static("lambda-extension-accept-feature");

/// Bytes of a registration, an error report or a subscription: they are a few hundred.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Characters of an extension's name; a file's name has at most 255 bytes, and a name is written into every log line.
const NAME_CHARS_MAX: usize = 128;

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
    #[serde(default, rename = "configurationKeys")]
    configuration_keys: Vec<String>,
}

/// POST /extension/register.
pub(super) async fn register(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let (head, mut content) = request.into_parts();
    let body = body::read(&mut content, BODY_BYTES_MAX).await?;
    let name = name(&head.headers)?;
    let events = subscriptions(&body)?;
    let identifier = shared.register(&name, events)?;
    let function = &shared.function;
    let mut told = json!({
        "functionName": function.name,
        "functionVersion": function.version,
        "handler": function.handler,
    });
    if wants_account(&head.headers) {
        told["accountId"] = json!(function.account);
    }
    let mut answer = body::json_answer(StatusCode::OK, &told);
    insert_uuid(&mut answer, IDENTIFIER, identifier);
    Ok(answer)
}

/// GET /extension/event/next: waits for as long as it takes.
pub(super) async fn next(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let (index, name) = shared.find_extension(identifier(headers)?)?;
    let event = match shared.poll_extension(index)? {
        Poll::Now(event) => event,
        Poll::Wait(waiting) => waiting.event().await.ok_or(Refusal::ExtensionTransition {
            name,
            from: "Ready",
            to: "Ready",
        })?,
    };
    let mut answer = with_type(StatusCode::OK, event);
    insert_uuid(&mut answer, EVENT_IDENTIFIER, Uuid::new_v4());
    Ok(answer)
}

/// POST /extension/init/error.
pub(super) async fn init_error(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refusal> {
    failure(shared, Failure::Init, request).await
}

/// POST /extension/exit/error.
pub(super) async fn exit_error(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refusal> {
    failure(shared, Failure::Exit, request).await
}

/// PUT /telemetry, /logs.
pub(super) async fn subscribe(
    shared: &Shared,
    interface: Interface,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (head, mut content) = request.into_parts();
    let body = body::read(&mut content, BODY_BYTES_MAX).await?;
    let (index, name) = shared.find_extension(identifier(&head.headers)?)?;
    shared.telemetry.subscribe(interface, index, &name, &body)?;
    Ok(with_type(StatusCode::OK, Bytes::from_static(b"\"OK\"")))
}

async fn failure(shared: &Shared, failure: Failure, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let (head, mut content) = request.into_parts();
    // What the extension says beside its type is for its own log.
    body::read(&mut content, BODY_BYTES_MAX).await?;
    let identifier = identifier(&head.headers)?;
    let error_type = head.headers.get(ERROR_TYPE).and_then(bounded_text);
    let error_type = error_type.ok_or(Refusal::ErrorTypeMissing)?;
    let (index, _) = shared.find_extension(identifier)?;
    shared.input(Input::ExtensionFail {
        index,
        failure,
        error_type: &error_type,
    })?;
    Ok(body::accepted())
}

fn name(headers: &HeaderMap) -> Result<String, Refusal> {
    let name = headers.get(NAME).and_then(|value| value.to_str().ok()).map(str::trim);
    match name {
        Some(name) if !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX => Ok(name.to_owned()),
        _ => Err(Refusal::NameInvalid),
    }
}

fn identifier(headers: &HeaderMap) -> Result<Uuid, Refusal> {
    let value = headers.get(IDENTIFIER).ok_or(Refusal::IdentifierMissing)?;
    if value.is_empty() {
        return Err(Refusal::IdentifierMissing);
    }
    Uuid::try_parse_ascii(value.as_bytes()).map_err(|_| Refusal::IdentifierInvalid)
}

fn subscriptions(body: &[u8]) -> Result<Subscriptions, Refusal> {
    let invalid = |reason: String| Refusal::FormatInvalid { reason };
    let registration: Registration = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    if !registration.configuration_keys.is_empty() {
        return Err(invalid(
            "configurationKeys is not supported: use environment variables".to_owned(),
        ));
    }
    let mut events = Subscriptions::default();
    for event in registration.events {
        match event.as_str() {
            "INVOKE" => events.invoke = true,
            "SHUTDOWN" => events.shutdown = true,
            _ => {
                let event = event.chars().take(NAME_CHARS_MAX).collect();
                return Err(Refusal::EventUnknown { event });
            }
        }
    }
    Ok(events)
}

fn wants_account(headers: &HeaderMap) -> bool {
    let features = headers
        .get(FEATURES)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    features.split(',').any(|feature| feature.trim() == "accountId")
}

fn insert_uuid(answer: &mut Answer, name: HeaderName, uuid: Uuid) {
    let text = uuid.hyphenated().to_string();
    let value = HeaderValue::from_str(&text).expect("a UUID is printable ASCII");
    answer.headers_mut().insert(name, value);
}
