//! Uploads of blobs: at once, in one piece, in chunks; resumed, cancelled, or mounted from another repository.

use super::body::{blocking, receive};
use super::error::RegistryError;
use super::request::{Caller, text};
use super::{digest_header, empty, value};
use crate::answer::Response;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use control::packages::Blob;
use control::packages::repositories::{RepositoryName, Upload};
use std::collections::HashMap;

/// A request to begin an upload, or to write or finish one.
pub(super) struct UploadRequest {
    pub(super) caller: Caller,
    pub(super) name: RepositoryName,
    pub(super) query: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// POST to `uploads/`: mounts, takes the whole blob, or begins.
pub(super) async fn begin(request: UploadRequest, method: &Method) -> Result<Response, RegistryError> {
    if method != Method::POST {
        return Err(RegistryError::method());
    }
    if let Some(mounted) = mount(&request.caller, &request.name, &request.query).await? {
        return Ok(mounted);
    }
    let (caller, name) = (request.caller.clone(), request.name.clone());
    let id = blocking(move || Ok(caller.repositories().start_upload(&caller.account, &name)?)).await?;
    if request.query.contains_key("digest") {
        return finish(request, id).await;
    }
    Ok(progress(StatusCode::ACCEPTED, &request.name, (&id, 0)))
}

/// GET, PATCH, PUT and DELETE of an upload.
pub(super) async fn upload(request: UploadRequest, id: String, method: &Method) -> Result<Response, RegistryError> {
    if method == Method::PATCH {
        return append(request, id).await;
    }
    if method == Method::PUT {
        return finish(request, id).await;
    }
    let UploadRequest { caller, name, .. } = request;
    let (asked, repository) = (id.clone(), name.clone());
    if method == Method::DELETE {
        blocking(move || {
            let upload = caller
                .repositories()
                .open_upload(&caller.account, &repository, &asked)?;
            Ok(upload.cancel()?)
        })
        .await?;
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    if method != Method::GET {
        return Err(RegistryError::method());
    }
    let bytes = blocking(move || {
        let upload = caller
            .repositories()
            .open_upload(&caller.account, &repository, &asked)?;
        Ok(upload.bytes())
    })
    .await?;
    Ok(progress(StatusCode::NO_CONTENT, &name, (&id, bytes)))
}

/// `?mount=DIGEST&from=NAME`; `None` where that repository does not have the blob, which then has to be uploaded.
async fn mount(
    caller: &Caller,
    name: &RepositoryName,
    query: &HashMap<String, String>,
) -> Result<Option<Response>, RegistryError> {
    let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) else {
        return Ok(None);
    };
    let blob: Blob = digest.parse().map_err(|_| RegistryError::digest(digest))?;
    let Ok(from) = from.parse::<RepositoryName>() else {
        return Ok(None);
    };
    let (caller, to, wanted) = (caller.clone(), name.clone(), blob.clone());
    let is_mounted = blocking(move || {
        let mounted = caller.repositories().mount_blob(&caller.account, (&from, &to), &wanted);
        Ok(mounted?)
    })
    .await?;
    Ok(is_mounted.then(|| created(name, &blob)))
}

async fn append(request: UploadRequest, id: String) -> Result<Response, RegistryError> {
    let range = text(&request.headers, "content-range").map(content_range).transpose()?;
    let UploadRequest { caller, name, body, .. } = request;
    let (asked, repository) = (id.clone(), name.clone());
    let bytes = receive(body, move |frames| {
        let mut upload = caller
            .repositories()
            .open_upload(&caller.account, &repository, &asked)?;
        write(&mut upload, range, &repository, (&asked, frames))?;
        Ok(upload.bytes())
    })
    .await?;
    Ok(progress(StatusCode::ACCEPTED, &name, (&id, bytes)))
}

/// The last bytes, if any are left, and the digest of all.
async fn finish(request: UploadRequest, id: String) -> Result<Response, RegistryError> {
    let digest = request.query.get("digest").cloned().unwrap_or_default();
    let blob: Blob = digest.parse().map_err(|_| RegistryError::digest(&digest))?;
    let range = text(&request.headers, "content-range").map(content_range).transpose()?;
    let UploadRequest { caller, name, body, .. } = request;
    let (repository, expected) = (name.clone(), blob.clone());
    // Received before it is finished, so that a body that is cut short is not taken for the whole.
    let (reserved, upload) = receive(body, move |frames| {
        let mut upload = caller.repositories().open_upload(&caller.account, &repository, &id)?;
        write(&mut upload, range, &repository, (&id, frames))?;
        Ok(((caller, repository), upload))
    })
    .await?;
    blocking(move || {
        let (caller, repository) = reserved;
        let finished = caller
            .repositories()
            .finish_upload(&caller.account, &repository, (upload, &expected));
        Ok(finished?)
    })
    .await?;
    Ok(created(&name, &blob))
}

/// Appends frames where the client says that they belong.
fn write(
    upload: &mut Upload,
    range: Option<(u64, u64)>,
    name: &RepositoryName,
    (id, frames): (&str, &mut dyn Iterator<Item = axum::body::Bytes>),
) -> Result<(), RegistryError> {
    let before = upload.bytes();
    if range.is_some_and(|(start, _)| start != before) {
        return Err(out_of_order(name, id, before));
    }
    for frame in frames {
        upload.write(&frame)?;
    }
    let received = upload.bytes() - before;
    match range {
        Some((start, end)) if end - start + 1 != received => Err(RegistryError::new(
            StatusCode::BAD_REQUEST,
            "SIZE_INVALID",
            format!("Content-Range announces {} bytes, and {received} came", end - start + 1),
        )),
        _ => Ok(()),
    }
}

/// `START-END`, both counted and from 0, as the specification has it, or with `bytes ` before and `/TOTAL` behind it as
/// in HTTP.
fn content_range(text: &str) -> Result<(u64, u64), RegistryError> {
    let plain = text.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let plain = plain.split('/').next().unwrap_or_default();
    let pair = plain
        .split_once('-')
        .and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    pair.filter(|(start, end)| start <= end && *end < u64::MAX)
        .ok_or_else(|| {
            RegistryError::new(
                StatusCode::BAD_REQUEST,
                "BLOB_UPLOAD_INVALID",
                "Content-Range is not START-END",
            )
        })
}

fn location(name: &RepositoryName, id: &str) -> HeaderValue {
    value(&format!("/v2/{name}/blobs/uploads/{id}"))
}

/// `0-0` also stands for nothing, in docker's registry as in its clients.
fn range(bytes: u64) -> HeaderValue {
    value(&format!("0-{}", bytes.saturating_sub(1)))
}

fn progress(status: StatusCode, name: &RepositoryName, (id, bytes): (&str, u64)) -> Response {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location(name, id));
    headers.insert(header::RANGE, range(bytes));
    headers.insert(HeaderName::from_static("docker-upload-uuid"), value(id));
    response
}

fn created(name: &RepositoryName, blob: &Blob) -> Response {
    let mut response = empty(StatusCode::CREATED);
    let location = value(&format!("/v2/{name}/blobs/{blob}"));
    response.headers_mut().insert(header::LOCATION, location);
    digest_header(&mut response, blob);
    response
}

fn out_of_order(name: &RepositoryName, id: &str, bytes: u64) -> RegistryError {
    let mut error = RegistryError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "BLOB_UPLOAD_INVALID",
        format!("the upload has {bytes} bytes: go on from there"),
    );
    error.headers.push((header::LOCATION, location(name, id)));
    error.headers.push((header::RANGE, range(bytes)));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_of_clients_are_read() {
        for (text, expected) in [("0-9", (0, 9)), ("bytes 5-9/10", (5, 9)), ("bytes=5-9", (5, 9))] {
            assert_eq!(content_range(text).ok(), Some(expected), "{text}");
        }
        for text in ["", "9-0", "a-b", "5", "5-", "-5", "0-18446744073709551615"] {
            assert!(content_range(text).is_err(), "{text}");
        }
    }
}
