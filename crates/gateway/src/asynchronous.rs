//! Runs asynchronous events: claims what is due, invokes, and settles what becomes of it.
//!
//! An event is in the record before its caller hears of it, and leaves it only when it ran or was given up; what was
//! claimed by a process that died is claimed again. So each runs at least once.
//!
//! Lambda's rules: a function that fails is tried again after 1 min and 2 min (twice by default); a throttle or an
//! error of the system is tried again for as long as the event may live (6 h by default), after 1 s to 5 min.

use crate::invocation::{self, Ask};
use crate::lambda::ApiError;
use crate::{Gateway, GatewaySettings};
use api::ResponseMode;
use bytes::Bytes;
use control::{ControlError, EventInvokeConfig, NewEvent, QualifiedName, QueuedEvent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Events that are claimed at once.
const CLAIM_EVENTS_MAX: usize = 64;
/// How long a claim holds: the longest function (15 min), a cold start before it, and time to write down the result.
const CLAIM_MS: u64 = 20 * 60 * 1000;
/// Longest life of an event without a setting of its own, s: 6 h. Source: AWS Lambda Developer Guide, "Asynchronous
/// invocation".
const AGE_MAX_S: u64 = 6 * 3600;
/// Tries after the first without a setting of its own. Same source.
const RETRIES_MAX: u32 = 2;
/// Longest sleep between two looks at the record, should a bell be missed.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Wait after the record failed.
const RECORD_WAIT: Duration = Duration::from_secs(1);

/// What becomes of an event that was tried.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It ran, or nobody can run it any more.
    Finish,
    /// It is due again after this wait, with so many tries behind it.
    Retry { wait: Duration, attempt: u32 },
}

/// How a try went.
#[derive(Debug)]
enum Outcome {
    Success,
    FunctionError,
    /// No such function, version or alias.
    Gone,
    /// A throttle, or the platform's own failure.
    System,
}

/// Runs events until told to stop; those under way go on in the gateway's tasks.
pub(crate) async fn dispatch(gateway: &Gateway, stop: &CancellationToken) {
    let room = Arc::new(Semaphore::new(gateway.settings.asynchronous_max));
    let bell = gateway.control.events_added();
    while !stop.is_cancelled() {
        let claimed = tokio::select! {
            () = stop.cancelled() => return,
            claimed = claim(gateway, &room) => claimed,
        };
        let wait = match claimed {
            Ok(true) => continue,
            Ok(false) => until_due(gateway).await,
            Err(error) => {
                warn!("cannot claim asynchronous events, trying again: {error}");
                RECORD_WAIT
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
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

async fn until_due(gateway: &Gateway) -> Duration {
    match gateway.control.next_event_due().await {
        Ok(Some(due_ms)) => Duration::from_millis(due_ms.saturating_sub(gateway.now_ms())).min(SLEEP_MAX),
        Ok(None) => SLEEP_MAX,
        Err(_) => RECORD_WAIT,
    }
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
        fate(&gateway.settings, &limits, &outcome, queued.attempt, age)
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

/// What a function's settings allow.
#[derive(Debug)]
struct Limits {
    retries_max: u32,
    age_max: Duration,
}

impl Limits {
    fn new(config: Option<&EventInvokeConfig>) -> Self {
        let retries = config.and_then(|config| config.retries_max);
        let age = config.and_then(|config| config.age_max_s).unwrap_or(AGE_MAX_S);
        Self {
            retries_max: retries.map_or(RETRIES_MAX, |retries| u32::try_from(retries).unwrap_or(RETRIES_MAX)),
            age_max: Duration::from_secs(age),
        }
    }
}

fn fate(settings: &GatewaySettings, limits: &Limits, outcome: &Outcome, attempt: u32, age: Duration) -> Fate {
    let retry = |wait: Duration, attempt: u32| {
        if age + wait > limits.age_max {
            Fate::Finish
        } else {
            Fate::Retry { wait, attempt }
        }
    };
    match outcome {
        Outcome::Success | Outcome::Gone => Fate::Finish,
        Outcome::FunctionError if attempt >= limits.retries_max => Fate::Finish,
        Outcome::FunctionError => {
            let [first, later] = settings.retry_waits;
            retry(if attempt == 0 { first } else { later }, attempt + 1)
        }
        // Waiting as long as the event has waited doubles its age each time: an exponential backoff without a counter.
        Outcome::System => retry(age.clamp(settings.backoff_first, settings.backoff_max), attempt),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: &Outcome, attempt: u32, age_s: u64, expected: Option<(u64, u32)>) {
        let limits = Limits::new(None);
        let fate = fate(
            &GatewaySettings::default(),
            &limits,
            outcome,
            attempt,
            Duration::from_secs(age_s),
        );
        let expected = expected.map_or(Fate::Finish, |(wait_s, attempt)| Fate::Retry {
            wait: Duration::from_secs(wait_s),
            attempt,
        });
        assert_eq!(fate, expected, "{outcome:?} {attempt} {age_s}");
    }

    #[test]
    fn a_failed_function_is_tried_twice_more() {
        check(&Outcome::FunctionError, 0, 1, Some((60, 1)));
        check(&Outcome::FunctionError, 1, 62, Some((120, 2)));
        check(&Outcome::FunctionError, 2, 183, None);
        check(&Outcome::Success, 0, 1, None);
        check(&Outcome::Gone, 0, 1, None);
    }

    #[test]
    fn throttles_are_tried_until_the_event_is_too_old() {
        check(&Outcome::System, 0, 0, Some((1, 0)));
        check(&Outcome::System, 2, 8, Some((8, 2)));
        check(&Outcome::System, 0, 4000, Some((300, 0)));
        check(&Outcome::System, 0, 6 * 3600 - 100, None);
    }
}
