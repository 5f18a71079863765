//! Blobs: asking for them, fetching them, taking them out of a repository.

use super::body::{blocking, send};
use super::error::RegistryError;
use super::request::{Caller, text};
use super::{digest_header, empty};
use crate::answer::Response;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use control::packages::Blob;
use control::packages::repositories::{RepositoryError, RepositoryName};

/// HEAD, GET and DELETE of a blob.
pub(super) async fn blob(
    caller: Caller,
    (name, digest): (RepositoryName, String),
    (method, headers): (&Method, &HeaderMap),
) -> Result<Response, RegistryError> {
    let blob: Blob = digest.parse().map_err(|_| RegistryError::digest(&digest))?;
    if method == Method::DELETE {
        blocking(move || Ok(caller.repositories().delete_blob(&caller.account, &name, &blob)?)).await?;
        return Ok(empty(StatusCode::ACCEPTED));
    }
    let is_head = method == Method::HEAD;
    if !is_head && method != Method::GET {
        return Err(RegistryError::method());
    }
    let wanted = blob.clone();
    let (file, bytes) = blocking(move || {
        let repositories = caller.repositories();
        let unknown = || RepositoryError::BlobUnknown {
            digest: wanted.to_string(),
        };
        let bytes = repositories
            .blob_bytes(&caller.account, &name, &wanted)?
            .ok_or_else(unknown)?;
        let file = repositories.blobs().open(&wanted)?.ok_or_else(unknown)?;
        Ok((file, bytes))
    })
    .await?;
    let range = text(headers, "range").and_then(|range| byte_range(range, bytes));
    let (status, start, length) = match range {
        None => (StatusCode::OK, 0, bytes),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        Some(None) => return Err(not_satisfiable(bytes)),
    };
    let mut response = empty(status);
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_LENGTH, length.into());
    answer.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{bytes}", start + length - 1);
        answer.insert(header::CONTENT_RANGE, super::value(&range));
    }
    digest_header(&mut response, &blob);
    if !is_head {
        *response.body_mut() = send(file, start, length);
    }
    Ok(response)
}

/// One range of RFC 9110: `bytes=A-B`, `bytes=A-`, `bytes=-N`. `None` is a header that is passed over, as the RFC says
/// of units and lists that a server does not know; `Some(None)` is a range outside the blob.
fn byte_range(text: &str, bytes: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match (first, last) {
        ("", last) => (bytes.saturating_sub(number(last)?), bytes.checked_sub(1)?),
        (first, "") => (number(first)?, bytes.saturating_sub(1)),
        (first, last) => (number(first)?, number(last)?.min(bytes.saturating_sub(1))),
    };
    let is_inside = range.0 <= range.1 && range.0 < bytes;
    Some(is_inside.then_some(range))
}

fn not_satisfiable(bytes: u64) -> RegistryError {
    let mut error = RegistryError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "SIZE_INVALID",
        format!("the blob has {bytes} bytes"),
    );
    let range = super::value(&format!("bytes */{bytes}"));
    error.headers.push((header::CONTENT_RANGE, range));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            ("bytes=0-0", 10, Some(Some((0, 0)))),
            ("bytes=2-5", 10, Some(Some((2, 5)))),
            ("bytes=2-", 10, Some(Some((2, 9)))),
            ("bytes=-3", 10, Some(Some((7, 9)))),
            ("bytes=-30", 10, Some(Some((0, 9)))),
            ("bytes=5-99", 10, Some(Some((5, 9)))),
            ("bytes=10-", 10, Some(None)),
            ("bytes=5-4", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=0-1,3-4", 10, None),
            ("items=0-1", 10, None),
            ("bytes=a-b", 10, None),
        ];
        for (text, bytes, expected) in cases {
            assert_eq!(byte_range(text, bytes), expected, "{text} of {bytes}");
        }
    }
}
