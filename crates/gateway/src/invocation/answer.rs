//! Invocations whose answer is wanted whole: from the cache, as one of a list, or by themselves.
//!
//! Which of these is the function's own wish (`lambent:` tags). An answer from the cache takes no slot and no
//! environment, and is billed nothing: in place of a log it has a REPORT line of its own.

use super::{Ask, Running, Started, begin, check, enter_chain};
use crate::Gateway;
use crate::detached::Detached;
use crate::lambda::ApiError;
use crate::micro_batch;
use crate::response_cache::{self, Asked, Flight, Kept, Request};
use api::{Body, Ending, Report};
use axum::http::{HeaderName, HeaderValue};
use control::{Resolved, ResponseCaching, Traffic};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Says how the cache stood to a request: `hit`, `miss` (it was computed for this request), `shared` (it was computed
/// for an equal one at the same time). Only functions with the tag have it.
const CACHE: HeaderName = HeaderName::from_static("x-lambent-cache");

/// The value of [`CACHE`], and the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Hit,
    Miss,
    Shared,
}

impl Found {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shared => "shared",
        }
    }
}

/// Answers a synchronous invocation that is not streamed. Dropping the future stops nothing that has begun.
pub(crate) async fn answer(gateway: &Gateway, ask: Ask<'_>) -> Result<Started, ApiError> {
    let resolved = check(gateway, &ask).await?;
    let traffic = Arc::clone(&resolved.traffic);
    match &traffic.response_cache {
        Some(caching) => look_up(gateway, resolved, ask, caching).await,
        None => execute(gateway, resolved, ask, None).await,
    }
}

async fn look_up(
    gateway: &Gateway,
    resolved: Resolved,
    ask: Ask<'_>,
    caching: &ResponseCaching,
) -> Result<Started, ApiError> {
    let request = Request {
        revision: &resolved.lease.revision,
        caching,
        client_context: ask.client_context.as_deref(),
        event: &ask.payload,
    };
    let Some(key) = response_cache::key(&request) else {
        return missed(gateway, execute(gateway, resolved, ask, None).await);
    };
    let arn = &resolved.lease.function.arn;
    match gateway.responses.ask(arn, key, caching, Instant::now()) {
        Asked::Kept(kept) => Ok(from_cache(gateway, &resolved, &ask, &kept, Found::Hit)),
        Asked::Wait(waiting) => match waiting.await {
            Ok(kept) => Ok(from_cache(gateway, &resolved, &ask, &kept, Found::Shared)),
            // A failure is not shared.
            Err(_) => missed(gateway, execute(gateway, resolved, ask, None).await),
        },
        Asked::Compute(flight) => {
            let known = (caching, gateway.now_ms());
            let flight = match gateway.responses.find_shared(flight, arn, known).await {
                Ok(kept) => return Ok(from_cache(gateway, &resolved, &ask, &kept, Found::Hit)),
                Err(flight) => flight,
            };
            let landing = Landing {
                gateway: gateway.clone(),
                flight,
                arn: arn.clone(),
                traffic: Arc::clone(&resolved.traffic),
            };
            missed(gateway, execute(gateway, resolved, ask, Some(landing)).await)
        }
    }
}

async fn execute(
    gateway: &Gateway,
    resolved: Resolved,
    ask: Ask<'_>,
    landing: Option<Landing>,
) -> Result<Started, ApiError> {
    let Some(batching) = resolved.traffic.batching else {
        return begin(gateway, resolved, ask, landing).await;
    };
    // Here it is this caller alone who is refused.
    enter_chain(gateway, &ask, &resolved.lease.function.arn).await?;
    let answer = micro_batch::enter(gateway, resolved, ask, batching);
    let Some(landing) = landing else {
        return micro_batch::answered(answer).await;
    };
    let work = async move {
        let answered = micro_batch::answered(answer).await;
        landing.land(&answered);
        answered
    };
    Detached::new(gateway.tasks.clone(), work).await
}

/// What is to be done with an answer that others may wait for.
pub(crate) struct Landing {
    gateway: Gateway,
    flight: Flight,
    arn: String,
    traffic: Arc<Traffic>,
}

impl Landing {
    /// Keeps the answer if it is a success and whole.
    pub(super) fn land(self, answered: &Result<Started, ApiError>) {
        let Ok(Started {
            content_type,
            body: Body::Whole(body),
            error: None,
            ..
        }) = answered
        else {
            return;
        };
        let Some(caching) = &self.traffic.response_cache else {
            return;
        };
        let kept = Kept::copy_of(content_type, body, Instant::now());
        let computed = (caching, self.gateway.now_ms());
        self.gateway.responses.land(self.flight, &self.arn, computed, kept);
    }
}

fn missed(gateway: &Gateway, mut answered: Result<Started, ApiError>) -> Result<Started, ApiError> {
    gateway.metrics.response_cache(Found::Miss);
    if let Ok(started) = &mut answered {
        started.mark(Found::Miss);
    }
    answered
}

fn from_cache(gateway: &Gateway, resolved: &Resolved, ask: &Ask<'_>, kept: &Kept, found: Found) -> Started {
    gateway.metrics.response_cache(found);
    let mut started = Started {
        content_type: kept.content_type.clone(),
        body: Body::Whole(kept.body.clone()),
        error: None,
        executed_version: resolved.executed_version.clone(),
        running: Running::over(ask.tail.then(|| unbilled(resolved, ask.request_id, found))),
        headers: Vec::with_capacity(1),
    };
    started.mark(found);
    started
}

/// The end of an invocation that never ran.
fn unbilled(resolved: &Resolved, request_id: &str, found: Found) -> Ending {
    let memory_mb = resolved.lease.memory_mb;
    let line = format!(
        "REPORT RequestId: {request_id}\tDuration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: {memory_mb} MB\tMax \
         Memory Used: 0 MB\tResponse Cache: {}\n",
        found.text()
    );
    Ending {
        error: None,
        log_tail: Some(line.into()),
        report: Report {
            memory_mb,
            ..Report::default()
        },
    }
}

impl Started {
    fn mark(&mut self, found: Found) {
        self.headers.push((CACHE, HeaderValue::from_static(found.text())));
    }
}

impl Running {
    /// Of an invocation that is over, or has never been.
    fn over(ending: Option<Ending>) -> Self {
        let ending = ending.map(|ending| {
            let (sender, receiver) = oneshot::channel();
            // The receiver is right here.
            let _ = sender.send(ending);
            receiver
        });
        Self {
            ending,
            account_for: None,
        }
    }
}
