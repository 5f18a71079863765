//! Manifests and tags.

use super::body::{blocking, receive_whole};
use super::error::RegistryError;
use super::request::{Caller, text};
use super::{digest_header, empty, value};
use crate::answer::Response;
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use control::packages::repositories::{MANIFEST_BYTES_MAX, ManifestReference, RepositoryError, RepositoryName};

/// HEAD, GET, PUT and DELETE of a manifest.
pub(super) async fn manifest(
    caller: Caller,
    (name, reference): (RepositoryName, ManifestReference),
    (method, headers, body): (&Method, &HeaderMap, Body),
) -> Result<Response, RegistryError> {
    if method == Method::GET || method == Method::HEAD {
        return get(caller, (name, reference), method == Method::HEAD).await;
    }
    if method == Method::PUT {
        let content_type = text(headers, "content-type").unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        return put(caller, (name, reference), (content_type, body)).await;
    }
    if method != Method::DELETE {
        return Err(RegistryError::method());
    }
    blocking(move || {
        Ok(caller
            .repositories()
            .delete_manifest(&caller.account, &name, &reference)?)
    })
    .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

async fn get(
    caller: Caller,
    (name, reference): (RepositoryName, ManifestReference),
    is_head: bool,
) -> Result<Response, RegistryError> {
    let (found, bytes) = blocking(move || {
        let repositories = caller.repositories();
        let found = repositories.manifest(&caller.account, &name, &reference)?;
        let found = found.ok_or_else(|| RepositoryError::ManifestUnknown {
            reference: reference.to_string(),
        })?;
        let bytes = repositories.manifest_bytes(&found)?;
        Ok((found, bytes))
    })
    .await?;
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(&found.media_type));
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    digest_header(&mut response, &found.blob);
    if !is_head {
        *response.body_mut() = bytes.into();
    }
    Ok(response)
}

async fn put(
    caller: Caller,
    (name, reference): (RepositoryName, ManifestReference),
    (content_type, body): (String, Body),
) -> Result<Response, RegistryError> {
    let bytes = receive_whole(body, MANIFEST_BYTES_MAX).await?;
    let location = value(&format!("/v2/{name}/manifests/{reference}"));
    let blob = blocking(move || {
        let target = (&caller.account, &name);
        let stored = caller
            .repositories()
            .put_manifest(target, &reference, (&content_type, &bytes))?;
        // A tag is the end of a push. A manifest by digest is often one of several of an index that comes next.
        if stored.is_image && matches!(reference, ManifestReference::Tag(_)) {
            caller
                .packages
                .prepare_in_background(&caller.account, &name, &stored.blob.to_string());
        }
        Ok(stored.blob)
    })
    .await?;
    let mut response = empty(StatusCode::CREATED);
    response.headers_mut().insert(header::LOCATION, location);
    digest_header(&mut response, &blob);
    Ok(response)
}
