//! One try of an event.

use super::fate::Outcome;
use crate::Gateway;
use crate::invocation::{self, Ask, WholeAnswer};
use crate::lambda::ApiError;
use api::ResponseMode;
use bytes::Bytes;
use control::NewEvent;
use tracing::debug;

/// Invokes; gives what became of it, and the answer if the function ran.
pub(super) async fn invoke(gateway: &Gateway, event: &NewEvent) -> (Outcome, Option<WholeAnswer>) {
    match invocation::run_to_end(gateway, ask(event)).await {
        Ok(answer) if answer.error.is_none() => (Outcome::Success, Some(answer)),
        Ok(answer) => (Outcome::FunctionError, Some(answer)),
        Err(error) => (outcome_of(gateway, event, &error).await, None),
    }
}

async fn outcome_of(gateway: &Gateway, event: &NewEvent, error: &ApiError) -> Outcome {
    debug!(
        function = event.function,
        "an asynchronous event was not run: {}", error.message
    );
    match error.code {
        "ResourceNotFoundException" => Outcome::Gone,
        "RecursiveInvocationException" => Outcome::Loop,
        "TooManyRequestsException" if never_runs(gateway, event).await => Outcome::Forbidden,
        _ => Outcome::System,
    }
}

/// Whether the function has reserved no concurrency at all, which is how one is switched off.
async fn never_runs(gateway: &Gateway, event: &NewEvent) -> bool {
    let resolved = invocation::check(gateway, &ask(event)).await;
    resolved.is_ok_and(|resolved| resolved.reserved_concurrency == Some(0))
}

fn ask(event: &NewEvent) -> Ask<'_> {
    Ask {
        account: &event.account,
        name: &event.function,
        qualifier: event.qualifier.as_deref(),
        request_id: &event.request_id,
        payload: Bytes::copy_from_slice(event.payload.as_bytes()),
        client_context: event.client_context.clone(),
        trace_id: event.trace_id.clone(),
        mode: ResponseMode::Buffered,
        tail: false,
    }
}
