//! The built-in registry: the OCI distribution API under `/v2/`.
//!
//! ```text
//! /v2/                                        who am I
//! /v2/_catalog  /v2/NAME/tags/list            lists, with n and last
//! /v2/NAME/blobs/uploads/[ID]                 POST, GET, PATCH, PUT, DELETE
//! /v2/NAME/blobs/DIGEST                       HEAD, GET, DELETE
//! /v2/NAME/manifests/TAG-or-DIGEST            HEAD, GET, PUT, DELETE
//! /v2/NAME/referrers/DIGEST                   an empty index
//! ```
//! Every request is authenticated, and sees the repositories of its account alone. What is stored, and every check of
//! it, is in `control::packages::repositories`; here is HTTP.

mod authentication;
mod blobs;
mod body;
mod error;
mod lists;
mod manifests;
mod permission;
mod request;
mod route;
mod uploads;

#[cfg(test)]
mod tests;

use crate::Gateway;
use crate::answer::Response;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use control::packages::Blob;
use control::packages::repositories::RepositoryName;
use error::RegistryError;
use request::{Caller, query_of};
use route::{Route, route};
use serde_json::json;
use uploads::UploadRequest;

/// What every answer of a registry carries.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);

/// Answers one request for `/v2` or below. It authenticates the request itself and bounds its body.
pub(crate) async fn serve(gateway: &Gateway, request: Request<Body>) -> Response {
    let mut response = answer(gateway, request).await.unwrap_or_else(RegistryError::answer);
    let (name, value) = API_VERSION;
    response.headers_mut().insert(name, value);
    response
}

async fn answer(gateway: &Gateway, request: Request<Body>) -> Result<Response, RegistryError> {
    let (parts, body) = request.into_parts();
    let asks = authentication::authenticate(gateway, &parts.headers)?;
    let method = &parts.method;
    let route = route(parts.uri.path())?;
    permission::check(&asks, &gateway.region, &route, method)?;
    let mut query = query_of(parts.uri.query());
    if query
        .get("from")
        .is_some_and(|from| !permission::may_read(&asks, &gateway.region, from))
    {
        // The client then uploads what it has, as where that repository is not there.
        query.remove("from");
    }
    let caller = Caller::new(gateway, asks.account);
    let upload = |caller: Caller, name: RepositoryName, body: Body| UploadRequest {
        caller,
        name,
        query: query.clone(),
        headers: parts.headers.clone(),
        body,
    };
    match route {
        Route::Uploads(name) => uploads::begin(upload(caller, name, body), method).await,
        Route::Upload(name, id) => uploads::upload(upload(caller, name, body), id, method).await,
        Route::Blob(name, digest) => blobs::blob(caller, (name, digest), (method, &parts.headers)).await,
        Route::Manifest(name, reference) => {
            manifests::manifest(caller, (name, reference), (method, &parts.headers, body)).await
        }
        _ if method != Method::GET && method != Method::HEAD => Err(RegistryError::method()),
        Route::Version => Ok(crate::answer::json(StatusCode::OK, &json!({}))),
        Route::Catalog => lists::catalog(caller, &query).await,
        Route::Tags(name) => lists::tags(caller, name, &query).await,
        Route::Referrers(_, digest) => lists::referrers(&digest),
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn digest_header(response: &mut Response, blob: &Blob) {
    let name = HeaderName::from_static("docker-content-digest");
    response.headers_mut().insert(name, value(&blob.to_string()));
}

/// A header's value from text that was checked: names, digests, numbers, media types.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}
