//! Runs asynchronous events: claims what is due, invokes, and settles what becomes of it.
//!
//! An event is in the record before its caller hears of it, and leaves it only when it ran or was given up; what was
//! claimed by a process that died is claimed again. So each runs at least once.

mod fate;

use crate::Gateway;
use crate::invocation::{self, Ask};
use crate::lambda::ApiError;
use api::ResponseMode;
use bytes::Bytes;
use control::{ControlError, EventInvokeConfig, NewEvent, QualifiedName, QueuedEvent};
use fate::{Fate, Limits, Outcome, Tries, backoff, fate};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Events that are claimed at once.
const CLAIM_EVENTS_MAX: usize = 64;
/// How long a claim holds: the longest function (15 min), a cold start before it, and time to write down the result.
const CLAIM_MS: u64 = 20 * 60 * 1000;
/// Longest sleep between two looks at the record, should a bell be missed.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Wait after the record failed; it doubles with each failure, up to [`RECORD_WAIT_MAX`].
const RECORD_WAIT: Duration = Duration::from_secs(1);
/// Longest wait after the record failed. Events that wait must not wait much longer than the record was away.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs events until told to stop; those under way go on in the gateway's tasks.
pub(crate) async fn dispatch(gateway: &Gateway, stop: &CancellationToken) {
    let room = Arc::new(Semaphore::new(gateway.settings.asynchronous_max));
    let bell = gateway.control.events_added();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let started = tokio::select! {
            () = stop.cancelled() => return,
            started = start_due(gateway, &room) => started,
        };
        let wait = match started {
            Ok(wait) => {
                failures = 0;
                wait
            }
            Err(error) => {
                failures += 1;
                let wait = backoff(RECORD_WAIT, RECORD_WAIT_MAX, failures);
                warn!("cannot claim asynchronous events, trying again after {wait:?}: {error}");
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Starts all that is due, as there is room. How long nothing else will be.
async fn start_due(gateway: &Gateway, room: &Arc<Semaphore>) -> Result<Duration, ControlError> {
    while claim(gateway, room).await? {}
    let due_ms = gateway.control.next_event_due().await?;
    let wait = due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(gateway.now_ms())));
    Ok(wait.map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX)))
}

/// Starts what is due and has room. Whether there was any.
async fn claim(gateway: &Gateway, room: &Arc<Semaphore>) -> Result<bool, ControlError> {
    // The semaphore is never closed.
    let Ok(first) = Arc::clone(room).acquire_owned().await else {
        return Ok(false);
    };
    let mut permits = vec![first];
    while permits.len() < CLAIM_EVENTS_MAX
        && let Ok(permit) = Arc::clone(room).try_acquire_owned()
    {
        permits.push(permit);
    }
    let events = gateway
        .control
        .claim_events(u32::try_from(permits.len()).unwrap_or(1), CLAIM_MS)
        .await?;
    let any = !events.is_empty();
    for (event, permit) in events.into_iter().zip(permits) {
        gateway.tasks.spawn(run(gateway.clone(), event, permit));
    }
    Ok(any)
}

async fn run(gateway: Gateway, queued: QueuedEvent, permit: OwnedSemaphorePermit) {
    let config = config_of(&gateway, &queued.event).await;
    let age = Duration::from_millis(gateway.now_ms().saturating_sub(queued.enqueued_ms));
    let limits = Limits::new(config.as_ref());
    let fate = if age > limits.age_max {
        Fate::Finish
    } else {
        let outcome = invoke(&gateway, &queued.event).await;
        let age = Duration::from_millis(gateway.now_ms().saturating_sub(queued.enqueued_ms));
        let tries = Tries {
            attempt: queued.attempt,
            claims: queued.claims,
            age,
        };
        fate(&gateway.settings, &limits, &outcome, &tries)
    };
    settle(&gateway, &queued.id, fate).await;
    drop(permit);
}

async fn config_of(gateway: &Gateway, event: &NewEvent) -> Option<EventInvokeConfig> {
    let qualifier = event.qualifier.as_deref().unwrap_or("$LATEST");
    let target = QualifiedName {
        account: &event.account,
        name: &event.function,
        qualifier,
    };
    // Without its settings an event is handled by Lambda's defaults rather than not at all.
    gateway
        .control
        .event_invoke_config(&target)
        .await
        .unwrap_or_else(|error| {
            warn!(
                function = event.function,
                "cannot read the event invoke configuration, using the defaults: {error}"
            );
            None
        })
}

async fn invoke(gateway: &Gateway, event: &NewEvent) -> Outcome {
    let ask = Ask {
        account: &event.account,
        name: &event.function,
        qualifier: event.qualifier.as_deref(),
        request_id: &event.request_id,
        payload: Bytes::copy_from_slice(event.payload.as_bytes()),
        client_context: event.client_context.clone(),
        trace_id: event.trace_id.clone(),
        mode: ResponseMode::Buffered,
        tail: false,
    };
    match finish(invocation::run(gateway, ask).await).await {
        Ok(true) => Outcome::Success,
        Ok(false) => Outcome::FunctionError,
        Err(error) if error.code == "ResourceNotFoundException" => Outcome::Gone,
        Err(error) => {
            debug!(
                function = event.function,
                "an asynchronous event is put off: {}", error.message
            );
            Outcome::System
        }
    }
}

/// Takes an answer to its end. Whether the function succeeded.
async fn finish(started: Result<invocation::Started, ApiError>) -> Result<bool, ApiError> {
    let started = started?;
    let failed = started.error.is_some();
    invocation::collect(started.body).await?;
    let ending = started.running.ended().await;
    // An ending that never comes is a worker that died.
    let ending = ending.ok_or_else(|| ApiError::new("ServiceException", "the invocation's end is unknown"))?;
    Ok(!failed && ending.error.is_none())
}

async fn settle(gateway: &Gateway, id: &str, fate: Fate) {
    let settled = match fate {
        Fate::Finish => gateway.control.finish_event(id).await,
        Fate::Retry { wait, attempt } => {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            gateway
                .control
                .retry_event(id, gateway.now_ms().saturating_add(wait_ms), attempt)
                .await
        }
    };
    if let Err(error) = settled {
        warn!("an asynchronous event may run once more, when its claim runs out: {error}");
    }
}
