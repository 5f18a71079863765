//! Puts outputs and errors on the wire.

use super::ApiError;
use super::model::{Location, Model, Operation};
use crate::answer::{self, Response};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

/// Errors that the model does not list because every service of AWS has them.
const COMMON_ERRORS: &[(&str, u16)] = &[
    ("AccessDeniedException", 403),
    ("ExpiredTokenException", 403),
    ("IncompleteSignatureException", 403),
    ("InvalidSignatureException", 403),
    ("MissingAuthenticationTokenException", 403),
    ("RequestTimeoutException", 408),
    ("RequestTooLargeException", 413),
    ("SerializationException", 400),
    ("ServiceQuotaExceededException", 402),
    ("ThrottlingException", 429),
    ("UnknownOperationException", 404),
    ("UnrecognizedClientException", 403),
    ("ValidationException", 400),
];

/// The answer of an operation that succeeded.
pub(super) fn success(model: &Model, operation: &Operation, output: Value) -> Response {
    let Value::Object(mut members) = output else {
        return empty(operation.status);
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status(operation.status);
    let shape = operation.output.and_then(|output| model.shape(output));
    for (name, member) in shape.iter().flat_map(|shape| &shape.members) {
        if member.location != Location::Body
            && let Some(value) = members.remove(*name)
        {
            place(&mut response, member.location, member.name.unwrap_or(name), &value);
        }
    }
    let is_empty = response.status() == StatusCode::NO_CONTENT || shape.is_none();
    if is_empty {
        response
    } else {
        answer::with_json(response, &Value::Object(members))
    }
}

fn place(response: &mut Response, location: Location, name: &'static str, value: &Value) {
    match (location, value) {
        (Location::StatusCode, Value::Number(number)) => {
            let code = number.as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            *response.status_mut() = status(code);
        }
        (Location::Header, Value::String(text)) => set_header(response, name, text),
        (Location::Header, Value::Number(number)) => set_header(response, name, &number.to_string()),
        _ => {}
    }
}

fn set_header(response: &mut Response, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers_mut().insert(name, value);
    }
}

fn empty(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status(code);
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The answer of an operation that failed.
pub(super) fn failure(model: &Model, error: &ApiError) -> Response {
    let shape = model.shape(error.code).filter(|shape| shape.error.is_some());
    let code = shape
        .and_then(|shape| shape.error)
        .unwrap_or_else(|| common_status(error.code));
    let capital = match shape {
        Some(shape) => shape.members.contains_key("Message"),
        None => error.code == "AccessDeniedException",
    };
    let mut response = empty(code);
    let mut body = Map::new();
    if shape.is_some() {
        body.insert(
            "Type".to_owned(),
            Value::from(if code < 500 { "User" } else { "Service" }),
        );
    }
    body.insert(
        if capital { "Message" } else { "message" }.to_owned(),
        Value::from(error.message.as_str()),
    );
    for (name, value) in &error.extra {
        match shape.and_then(|shape| shape.members.get(name)) {
            Some(member) if member.location == Location::Header => {
                set_header(&mut response, member.name.unwrap_or(name), value);
            }
            _ => {
                body.insert((*name).to_owned(), Value::from(value.as_str()));
            }
        }
    }
    response
        .headers_mut()
        .insert("x-amzn-errortype", HeaderValue::from_static(error.code));
    answer::with_json(response, &Value::Object(body))
}

fn common_status(code: &str) -> u16 {
    COMMON_ERRORS
        .iter()
        .find(|(name, _)| *name == code)
        .map_or(500, |(_, status)| *status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use serde_json::json;

    async fn parts_of(response: Response) -> (u16, Vec<(String, String)>, Value) {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let headers = parts.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        (
            parts.status.as_u16(),
            headers,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    #[tokio::test]
    async fn errors_have_the_models_status_and_case() {
        let model = Model::embedded().unwrap();
        for (code, status, body) in [
            (
                "ResourceNotFoundException",
                404,
                json!({"Type": "User", "Message": "m"}),
            ),
            (
                "ResourceConflictException",
                409,
                json!({"Type": "User", "message": "m"}),
            ),
            ("ServiceException", 500, json!({"Type": "Service", "Message": "m"})),
            ("ValidationException", 400, json!({"message": "m"})),
            ("AccessDeniedException", 403, json!({"Message": "m"})),
            (
                "PreconditionFailedException",
                412,
                json!({"Type": "User", "message": "m"}),
            ),
        ] {
            let (found, headers, document) = parts_of(failure(&model, &ApiError::new(code, "m"))).await;
            assert_eq!((found, document), (status, body), "{code}");
            assert!(
                headers.contains(&("x-amzn-errortype".to_owned(), code.to_owned())),
                "{headers:?}"
            );
        }
    }

    #[tokio::test]
    async fn members_of_errors_go_where_the_model_says() {
        let model = Model::embedded().unwrap();
        let error = ApiError::new("TooManyRequestsException", "Rate Exceeded.")
            .with("Reason", "ReservedFunctionConcurrentInvocationLimitExceeded")
            .with("retryAfterSeconds", "1");
        let (status, headers, body) = parts_of(failure(&model, &error)).await;
        assert_eq!(status, 429);
        assert_eq!(
            body,
            json!({"Type": "User", "message": "Rate Exceeded.",
                   "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"})
        );
        assert!(
            headers.contains(&("retry-after".to_owned(), "1".to_owned())),
            "{headers:?}"
        );
    }

    #[tokio::test]
    async fn outputs_take_the_operations_status() {
        let model = Model::embedded().unwrap();
        let find = |name: &str| {
            model
                .router()
                .operations()
                .find(|operation| operation.name == name)
                .unwrap()
        };
        let (status, _, body) = parts_of(success(&model, find("CreateAlias"), json!({"Name": "a"}))).await;
        assert_eq!((status, body), (201, json!({"Name": "a"})));
        let (status, _, body) = parts_of(success(&model, find("DeleteAlias"), Value::Null)).await;
        assert_eq!((status, body), (204, Value::Null));
        let (status, _, body) = parts_of(success(&model, find("DeleteFunction"), json!({"StatusCode": 204}))).await;
        assert_eq!((status, body), (204, Value::Null));
    }
}
