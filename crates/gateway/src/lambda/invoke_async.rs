//! InvokeAsync: the deprecated way to say Invoke with the type Event.

use super::ApiError;
use super::dispatch::RawRequest;
use super::invoke;
use crate::answer::Response;
use axum::http::StatusCode;

/// Answers InvokeAsync.
pub(super) async fn answer(mut request: RawRequest<'_>) -> Result<Response, ApiError> {
    let target = invoke::target(&request)?;
    let payload = std::mem::take(&mut request.payload);
    invoke::enqueue(&request, &target, payload).await?;
    Ok(invoke::empty(StatusCode::ACCEPTED))
}
