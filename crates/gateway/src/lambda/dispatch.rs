//! One request of the Lambda API, from its head to its answer.

use super::model::Operation;
use super::route::Found;
use super::{ApiError, Call, input, invoke, invoke_async, operations, output, response_stream, validation};
use crate::answer::Response;
use crate::body::BodyError;
use crate::server::RequestContext;
use crate::{Gateway, answer, authorization};
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use chunk::Account;
use serde_json::json;

/// Largest request that carries code, bytes: 50 MiB of zip in base64 and the rest. Source: lambda-facts, from Lambda's
/// own error.
const CODE_BODY_MAX: usize = 70_167_211;
/// Largest event of a synchronous invocation, bytes: 6 MiB.
pub(super) const EVENT_BODY_MAX: usize = 6_291_456;
/// Largest body of every other operation, bytes: 1 MiB. A policy has 20 KiB, an environment 4 KiB.
const OTHER_BODY_MAX: usize = 1024 * 1024;

/// A request of an operation that takes its body as it is.
pub(super) struct RawRequest<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) context: &'a RequestContext,
    /// The function's owner, whom the caller may invoke it of.
    pub(super) account: &'a Account,
    pub(super) parts: &'a Parts,
    /// The path's `FunctionName`, decoded.
    pub(super) function_name: &'a str,
    pub(super) payload: Bytes,
}

/// Answers a request; gives the operation's name for the metrics as well.
pub(crate) async fn serve(
    gateway: &Gateway,
    context: &RequestContext,
    parts: &Parts,
    body: Body,
) -> (&'static str, Response) {
    let found = gateway
        .model
        .router()
        .find(parts.method.as_str(), parts.uri.path(), parts.uri.query());
    let Some(found) = found else {
        return ("unknown", unknown_operation());
    };
    let answered = answer(gateway, context, &found, parts, body).await;
    let response = answered.unwrap_or_else(|error| output::failure(&gateway.model, &error));
    (found.operation.name, response)
}

async fn answer(
    gateway: &Gateway,
    context: &RequestContext,
    found: &Found<'_, '_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let claim = gateway.identify(parts, "lambda")?;
    let limit = body_limit(found.operation.name);
    let body = gateway
        .bodies
        .read(&parts.headers, body, limit)
        .await
        .map_err(|error| refuse_body(found, error))?;
    let caller = claim.verify(parts, &body.bytes, &gateway.signing_keys)?;
    let function_name = found.labels.first().map_or("", |(_, name)| name);
    let account = if is_invocation(found.operation.name) {
        authorization::admit_invocation(gateway, &caller, function_name, parts.uri.query()).await?
    } else {
        caller.account.clone()
    };
    let raw = |payload| RawRequest {
        gateway,
        context,
        account: &account,
        parts,
        function_name,
        payload,
    };
    match found.operation.name {
        "Invoke" => invoke::answer(raw(body.bytes)).await,
        "InvokeWithResponseStream" => response_stream::answer(raw(body.bytes)).await,
        "InvokeAsync" => invoke_async::answer(raw(body.bytes)).await,
        name => {
            let input = input::gather(&gateway.model, found, parts, &body.bytes)?;
            validation::check(&gateway.model, found.operation.input.unwrap_or_default(), &input)?;
            authorization::check_lambda(gateway, &caller, found.operation, &input)?;
            let host = parts
                .headers
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let call = Call { account, input, host };
            // Boxed: the handlers' futures together are large, and an invocation must not carry their size.
            let answered = Box::pin(operations::answer(gateway, name, call)).await?;
            Ok(output::success(&gateway.model, found.operation, answered))
        }
    }
}

/// Those that take their body as it is, and functions of other accounts.
fn is_invocation(operation: &str) -> bool {
    matches!(operation, "Invoke" | "InvokeWithResponseStream" | "InvokeAsync")
}

fn body_limit(operation: &str) -> usize {
    match operation {
        "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion" => CODE_BODY_MAX,
        name if is_invocation(name) => EVENT_BODY_MAX,
        _ => OTHER_BODY_MAX,
    }
}

fn refuse_body(found: &Found<'_, '_>, error: BodyError) -> ApiError {
    match error {
        BodyError::TooLarge { limit } => too_large(found.operation, limit),
        BodyError::Slow => ApiError::new("RequestTimeoutException", error.to_string()),
        BodyError::Broken => ApiError::new("SerializationException", error.to_string()),
    }
}

fn too_large(operation: &Operation, limit: usize) -> ApiError {
    let name = if operation.name == "Invoke" {
        "InvokeFunction"
    } else {
        operation.name
    };
    let message = format!("Request must be smaller than {limit} bytes for the {name} operation");
    ApiError::new("RequestTooLargeException", message)
}

/// What AWS's front end answers to a path that none of its operations has.
fn unknown_operation() -> Response {
    let document =
        json!({ "Output": { "__type": "com.amazon.coral.service#UnknownOperationException" }, "Version": "1.0" });
    let mut response = answer::json(StatusCode::NOT_FOUND, &document);
    response.headers_mut().insert(
        "x-amzn-errortype",
        HeaderValue::from_static("UnknownOperationException"),
    );
    response
}
