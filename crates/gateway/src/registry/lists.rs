//! Lists: repositories, tags, referrers.

use super::body::blocking;
use super::error::RegistryError;
use super::request::{Caller, page_of};
use super::value;
use crate::answer::{Response, json};
use axum::http::{HeaderValue, StatusCode, header};
use control::packages::Blob;
use control::packages::repositories::RepositoryName;
use serde_json::json;
use std::collections::HashMap;

/// `_catalog`: the caller's repositories.
pub(super) async fn catalog(caller: Caller, query: &HashMap<String, String>) -> Result<Response, RegistryError> {
    let (count, last) = page_of(query)?;
    let (names, has_more) = blocking(move || {
        let listed = caller.repositories().list(&caller.account, (count, last.as_deref()));
        Ok(listed?)
    })
    .await?;
    let next = names.last().filter(|_| has_more).cloned();
    let response = json(StatusCode::OK, &json!({ "repositories": names }));
    Ok(with_link(response, "/v2/_catalog", count, next))
}

/// `tags/list`.
pub(super) async fn tags(
    caller: Caller,
    name: RepositoryName,
    query: &HashMap<String, String>,
) -> Result<Response, RegistryError> {
    let (count, last) = page_of(query)?;
    let repository = name.clone();
    let (tags, has_more) = blocking(move || {
        let listed = caller
            .repositories()
            .tags(&caller.account, &repository, (count, last.as_deref()));
        Ok(listed?)
    })
    .await?;
    let next = tags.last().filter(|_| has_more).cloned();
    let response = json(StatusCode::OK, &json!({ "name": name.as_str(), "tags": tags }));
    Ok(with_link(response, &format!("/v2/{name}/tags/list"), count, next))
}

/// `referrers`: none are kept. Clients then look for the tag `sha256-…`, which the specification has them write too
/// where an answer to a push lacks `OCI-Subject`.
pub(super) fn referrers(digest: &str) -> Result<Response, RegistryError> {
    let _: Blob = digest.parse().map_err(|_| RegistryError::digest(digest))?;
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [] });
    let mut response = json(StatusCode::OK, &index);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// Where the list goes on. Names and tags need no escaping.
fn with_link(mut response: Response, path: &str, count: usize, next: Option<String>) -> Response {
    if let Some(last) = next {
        let link = format!("<{path}?n={count}&last={last}>; rel=\"next\"");
        response.headers_mut().insert(header::LINK, value(&link));
    }
    response
}
