//! An invocation that nobody streams: run, and waited for until it is over.

use super::{Ask, collect, run};
use crate::Gateway;
use crate::lambda::ApiError;
use api::ErrorMark;
use bytes::Bytes;

/// What a function answered.
#[derive(Debug)]
pub(crate) struct WholeAnswer {
    /// `$LATEST` or a number.
    pub(crate) executed_version: String,
    /// Set when the function failed.
    pub(crate) error: Option<ErrorMark>,
    /// JSON as a rule; a function may answer anything.
    pub(crate) payload: Bytes,
}

/// Runs an invocation to its end. Dropping the future does not stop it.
pub(crate) async fn run_to_end(gateway: &Gateway, ask: Ask<'_>) -> Result<WholeAnswer, ApiError> {
    let started = run(gateway, ask).await?;
    let payload = collect(started.body).await?;
    let ending = started.running.ended().await;
    // An ending that never comes is a worker that died.
    let ending = ending.ok_or_else(|| ApiError::new("ServiceException", "the invocation's end is unknown"))?;
    Ok(WholeAnswer {
        executed_version: started.executed_version,
        error: started.error.or(ending.error.map(|(mark, _, _)| mark)),
        payload,
    })
}
