//! Runtime API: the calls of a runtime with hooks for snapshots. Source: awslambdaric's `lambda_runtime_client.py`.

use super::RESPONSE_BYTES_MAX;
use super::body::{self, Answer};
use super::invocation_calls::{error_type, or_default};
use super::refusal::Refusal;
use super::shared::Shared;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;

/// GET /runtime/restore/next: 200 when the environment is restored. One that is to be written to a snapshot waits here
/// until its processes are killed; in its clones the same request is answered.
pub(super) async fn next(shared: &Shared) -> Result<Answer, Refusal> {
    if shared.is_held_before_restore()? {
        return std::future::pending().await;
    }
    Ok(Answer::new(Full::new(Bytes::new())))
}

/// POST /runtime/restore/error.
pub(super) async fn error(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let (head, mut content) = request.into_parts();
    let body = body::read(&mut content, RESPONSE_BYTES_MAX).await?;
    let error_type = error_type(&head.headers);
    let body = or_default(body, error_type.as_deref());
    shared.restore_error(error_type, body)?;
    Ok(body::accepted())
}
