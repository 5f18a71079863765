//! Small answers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// What every part of the server answers.
pub(crate) type Response = axum::response::Response;

/// A body of text.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The same answer with a JSON document for a body.
pub(crate) fn with_json(mut response: Response, document: &impl Serialize) -> Response {
    // Our documents have text keys and finite numbers: they can be written.
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(bytes);
    response
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    with_json(response, document)
}
