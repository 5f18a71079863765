//! Runs asynchronous events: claims what is due, invokes, and settles what becomes of it.
//!
//! An event is in the record before its caller hears of it, and leaves it only when it ran or was given up; what was
//! claimed by a process that died is claimed again. So each runs at least once. Whoever is to be told of its end is
//! written down in the same commit that forgets it, and told by `destinations`.

mod attempt;
mod fate;
mod record;

use crate::Gateway;
use crate::destinations::Target;
use crate::due::{backoff, keep_starting, take_room, until};
use crate::invocation::{self, WholeAnswer};
use control::{ControlError, EventInvokeConfig, NewDelivery, NewEvent, QualifiedName, QueuedEvent};
use fate::{Condition, Fate, Limits, Tries, fate};
use record::{Ended, Listeners};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Events that are claimed at once.
const CLAIM_EVENTS_MAX: usize = 64;
/// How long a claim holds: the longest function (15 min), a cold start before it, and time to write down the result.
const CLAIM_MS: u64 = 20 * 60 * 1000;

/// Runs events until told to stop; those under way go on in the gateway's tasks.
pub(crate) async fn dispatch(gateway: &Gateway, stop: &CancellationToken) {
    let room = Arc::new(Semaphore::new(gateway.settings.asynchronous_max));
    let bell = gateway.control.events_added();
    keep_starting("claim asynchronous events", &bell, stop, || start_due(gateway, &room)).await;
}

/// Starts all that is due, as there is room. How long nothing else will be.
async fn start_due(gateway: &Gateway, room: &Arc<Semaphore>) -> Result<Duration, ControlError> {
    while claim(gateway, room).await? {}
    let due_ms = gateway.control.next_event_due().await?;
    Ok(until(due_ms, gateway.now_ms()))
}

/// Starts what is due and has room. Whether there was any.
async fn claim(gateway: &Gateway, room: &Arc<Semaphore>) -> Result<bool, ControlError> {
    let permits = take_room(room, CLAIM_EVENTS_MAX).await;
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
    let config = match config_of(&gateway, &queued.event).await {
        Ok(config) => config,
        Err(error) => return put_off(&gateway, &queued, &error).await,
    };
    let limits = Limits::new(config.as_ref());
    let age = || Duration::from_millis(gateway.now_ms().saturating_sub(queued.enqueued_ms));
    let (fate, answer) = if age() > limits.age_max {
        (Fate::Finish(Condition::EventAgeExceeded), None)
    } else {
        let (outcome, answer) = attempt::invoke(&gateway, &queued.event).await;
        let tries = Tries {
            attempt: queued.attempt,
            claims: queued.claims,
            age: age(),
        };
        (fate(&gateway.settings, &limits, &outcome, &tries), answer)
    };
    settle(&gateway, &queued, (fate, answer.as_ref()), config).await;
    drop(permit);
}

async fn config_of(gateway: &Gateway, event: &NewEvent) -> Result<Option<EventInvokeConfig>, ControlError> {
    let qualifier = event.qualifier.as_deref().unwrap_or("$LATEST");
    let target = QualifiedName {
        account: &event.account,
        name: &event.function,
        qualifier,
    };
    gateway.control.event_invoke_config(&target).await
}

/// Nothing is run by settings that cannot be read: retries that nobody wanted, and a destination that is never told.
async fn put_off(gateway: &Gateway, queued: &QueuedEvent, error: &ControlError) {
    let settings = &gateway.settings;
    let wait = backoff(settings.backoff_first, settings.backoff_max, queued.claims);
    let due_ms = gateway
        .now_ms()
        .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    warn!(
        function = queued.event.function,
        "cannot read the event invoke configuration, trying again after {wait:?}: {error}"
    );
    if let Err(error) = gateway.control.retry_event(&queued.id, due_ms, queued.attempt).await {
        warn!("an asynchronous event runs when its claim runs out: {error}");
    }
}

/// Writes down what becomes of an event. Until that is done it is claimed, and runs once more when its claim runs out.
async fn settle(
    gateway: &Gateway,
    queued: &QueuedEvent,
    (fate, answer): (Fate, Option<&WholeAnswer>),
    config: Option<EventInvokeConfig>,
) {
    let settled = match fate {
        Fate::Forget => gateway.control.finish_event(&queued.id, Vec::new()).await,
        Fate::Finish(condition) => {
            let deliveries = match deliveries(gateway, queued, (condition, answer), config).await {
                Ok(deliveries) => deliveries,
                Err(error) => {
                    warn!("an asynchronous event runs once more, since who is to be told cannot be read: {error}");
                    return;
                }
            };
            gateway.metrics.asynchronous_event(condition.as_str());
            gateway.control.finish_event(&queued.id, deliveries).await
        }
        Fate::Retry { wait, attempt } => {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let due_ms = gateway.now_ms().saturating_add(wait_ms);
            gateway.control.retry_event(&queued.id, due_ms, attempt).await
        }
    };
    if let Err(error) = settled {
        warn!("an asynchronous event may run once more, when its claim runs out: {error}");
    }
}

/// Who is told of an event's end, and what.
async fn deliveries(
    gateway: &Gateway,
    queued: &QueuedEvent,
    (condition, answer): (Condition, Option<&WholeAnswer>),
    config: Option<EventInvokeConfig>,
) -> Result<Vec<NewDelivery>, ControlError> {
    let event = &queued.event;
    let (on_success, on_failure) = config.map_or((None, None), |config| (config.on_success, config.on_failure));
    let dead_letter = match condition {
        Condition::Success => None,
        _ => dead_letter_target(gateway, event).await?,
    };
    let named = |arn: String| Target::one_name(&arn, &gateway.region, &event.account);
    let listeners = Listeners {
        on_success: on_success.map(named),
        on_failure: on_failure.map(named),
        dead_letter: dead_letter.map(named),
    };
    let arn = gateway.control.function_arn(&event.account, &event.function);
    let ended = Ended {
        event,
        condition,
        answer,
        invocations: queued.attempt + u32::from(answer.is_some()),
        function_arn: format!("{arn}:{}", event.qualifier.as_deref().unwrap_or("$LATEST")),
        trace_id: invocation::entered(&event.trace_id, &arn).trace_id,
        now_ms: gateway.now_ms(),
    };
    Ok(ended.deliveries(listeners))
}

/// Of a function that is gone there is none.
async fn dead_letter_target(gateway: &Gateway, event: &NewEvent) -> Result<Option<String>, ControlError> {
    let function = gateway
        .control
        .function(&event.account, &event.function, event.qualifier.as_deref())
        .await;
    match function {
        Ok(function) => Ok(function.configuration.dead_letter_target),
        Err(ControlError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
