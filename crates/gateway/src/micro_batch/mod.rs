//! Requests that come at the same time, handed to the handler as one list, for functions that ask for it by the tag
//! `lambent:batch`.
//!
//! ```text
//! requests of one revision ─> line: waits for others? ─> one invocation: [event, event, …]
//!                                                                         │
//! each caller <── its own item, its own request id <── [answer, answer, …]┘
//! ```
//! When a list goes is decided by one plain machine ([`line`]); how events become a list and a list becomes answers is
//! in [`list`]. A list is an invocation like any other: one slot, one environment, one START and REPORT under an id of
//! its own, which every caller is told in `X-Lambent-Batch`. Lines are told apart by the lease's revision and by the ARN
//! that was asked for, with the client context, since the handler sees them; so a list never mixes accounts, versions or
//! aliases. The handler is given a list also of one request. What is asynchronous or streamed comes as itself.

mod line;
mod list;

use crate::Gateway;
use crate::invocation::{self, Ask, BATCH, Started};
use crate::lambda::ApiError;
use api::{Ending, ErrorMark, ResponseMode};
use axum::http::HeaderValue;
use bytes::Bytes;
use chunk::Account;
use control::{Batching, Resolved};
use line::{Joined, Line};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Lines that are remembered while nothing waits in them; beyond it the idle ones are forgotten, and the next request
/// of each goes at once.
const LINES_IDLE_MAX: usize = 1024;

/// The lines of all functions.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    lines: Mutex<HashMap<Box<str>, Line<Item>>>,
}

/// One request in a line.
#[derive(Debug)]
struct Item {
    /// As it was when the request came: limits change while lists follow each other.
    resolved: Resolved,
    payload: Bytes,
    tail: bool,
    trace_id: String,
    caller: oneshot::Sender<Result<Started, ApiError>>,
}

/// What the requests of a line have in common.
#[derive(Clone, Debug)]
struct Target {
    key: Box<str>,
    account: Account,
    name: String,
    qualifier: Option<String>,
    client_context: Option<String>,
    resolved: Resolved,
    batching: Batching,
}

/// The answer to one request, later.
pub(crate) type Waiting = oneshot::Receiver<Result<Started, ApiError>>;

/// Puts a request into a list. One that is dropped before its list goes is left out.
pub(crate) fn enter(gateway: &Gateway, resolved: Resolved, ask: Ask<'_>, batching: Batching) -> Waiting {
    let (caller, answer) = oneshot::channel();
    let target = Target {
        key: key(&resolved, &ask),
        account: ask.account.clone(),
        name: ask.name.to_owned(),
        qualifier: ask.qualifier.map(str::to_owned),
        client_context: ask.client_context,
        resolved,
        batching,
    };
    let item = Item {
        resolved: target.resolved.clone(),
        payload: ask.payload,
        tail: ask.tail,
        trace_id: ask.trace_id,
        caller,
    };
    join(gateway, &target, item);
    answer
}

/// Waits for the answer.
pub(crate) async fn answered(answer: Waiting) -> Result<Started, ApiError> {
    // Without an answer the list's task has panicked.
    answer.await.unwrap_or_else(|_| {
        let message = "the task of this request's batch failed; the server's log says why";
        Err(ApiError::new("ServiceException", message))
    })
}

fn key(resolved: &Resolved, ask: &Ask<'_>) -> Box<str> {
    let qualifier = ask.qualifier.unwrap_or_default();
    let context = ask.client_context.as_deref().unwrap_or_default();
    // No part but the last has a space.
    format!("{} {} {qualifier} {context}", resolved.lease.revision, ask.account).into()
}

fn join(gateway: &Gateway, target: &Target, item: Item) {
    let bytes = item.payload.len();
    let joined = {
        let mut lines = gateway.batches.lock();
        if lines.len() >= LINES_IDLE_MAX && !lines.contains_key(&target.key) {
            lines.retain(|_, line| !line.is_idle());
        }
        let line = lines.entry(target.key.clone()).or_default();
        line.join(item, bytes, Instant::now(), &target.batching)
    };
    let Joined { ready, alarm } = joined;
    if let Some(number) = alarm {
        call_later(gateway, target, number);
    }
    if let Some(items) = ready {
        start(gateway, target.clone(), items);
    }
}

/// Lets the list that is being gathered go when its first event has waited long enough.
fn call_later(gateway: &Gateway, target: &Target, number: u64) {
    let (gateway, target) = (gateway.clone(), target.clone());
    // Ends after the tag's wait, at most a second.
    gateway.tasks.clone().spawn(async move {
        tokio::time::sleep(target.batching.wait).await;
        let items = gateway.batches.with(&target.key, |line| line.called(number));
        if let Some(items) = items {
            start(&gateway, target, items);
        }
    });
}

fn start(gateway: &Gateway, target: Target, items: Vec<Item>) {
    let under_way = UnderWay {
        gateway: gateway.clone(),
        events: items.len(),
        target,
    };
    // It is owned by the gateway's tasks, which the drain waits for.
    gateway.tasks.spawn(async move { under_way.run(items).await });
}

/// A list that runs. When it is over, also by a panic, the next one may go.
struct UnderWay {
    gateway: Gateway,
    target: Target,
    events: usize,
}

impl UnderWay {
    async fn run(self, items: Vec<Item>) {
        // Whoever has hung up before anything began is not worked for.
        let items: Vec<Item> = items.into_iter().filter(|item| !item.caller.is_closed()).collect();
        if items.is_empty() {
            return;
        }
        self.gateway.metrics.batch(items.len());
        let id = Uuid::new_v4().to_string();
        let started = self.invoke(&id, &items).await;
        // Its environment can take the next list while this one's answers are told apart.
        let version = self.target.resolved.executed_version.clone();
        drop(self);
        answer(items, started, &Batch { id, version }).await;
    }

    async fn invoke(&self, id: &str, items: &[Item]) -> Result<Started, ApiError> {
        let target = &self.target;
        let ask = Ask {
            account: &target.account,
            name: &target.name,
            qualifier: target.qualifier.as_deref(),
            request_id: id,
            payload: list::joined(items.iter().map(|item| &item.payload)),
            client_context: target.client_context.clone(),
            trace_id: self.trace(items),
            mode: ResponseMode::Buffered,
            tail: items.iter().any(|item| item.tail),
        };
        // The last one's: a limit that was changed meanwhile holds, however long lists follow each other.
        let resolved = items.last().map_or(&target.resolved, |item| &item.resolved);
        invocation::begin(&self.gateway, resolved.clone(), ask, None).await
    }

    /// That of the item which has come round most often: a loop is not hidden by others.
    fn trace(&self, items: &[Item]) -> String {
        let arn = &self.target.resolved.lease.function.arn;
        let rounds = |item: &&Item| invocation::entered(&item.trace_id, arn).count;
        items
            .iter()
            .max_by_key(rounds)
            .map(|item| item.trace_id.clone())
            .unwrap_or_default()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let wait = self.target.batching.wait;
        let next = self
            .gateway
            .batches
            .with(&self.target.key, |line| line.ended(self.events, Instant::now(), wait));
        // Without a runtime the process is ending.
        if let Some(items) = next
            && tokio::runtime::Handle::try_current().is_ok()
        {
            start(&self.gateway, self.target.clone(), items);
        }
    }
}

/// The list that callers are answered from.
struct Batch {
    id: String,
    version: String,
}

async fn answer(items: Vec<Item>, started: Result<Started, ApiError>, batch: &Batch) {
    let (started, mark, body) = match started {
        Ok(mut started) => {
            let body = std::mem::replace(&mut started.body, api::Body::Whole(Bytes::new()));
            match invocation::collect(body).await {
                Ok(body) => (started.running, started.error, body),
                Err(error) => return refuse(items, &error),
            }
        }
        Err(error) => return refuse(items, &error),
    };
    let answers = list::answers(&body, mark, items.len(), &batch.id);
    let is_alone = items.len() == 1;
    let mut waiting = Vec::new();
    for (item, (mark, body)) in items.into_iter().zip(answers) {
        let (sender, ending) = oneshot::channel();
        // A caller that has gone does not want to know.
        let _ = item.caller.send(Ok(batch.started(mark, body, ending)));
        if item.tail {
            waiting.push(sender);
        }
    }
    if !waiting.is_empty()
        && let Some(mut ending) = started.ended().await
    {
        if !is_alone {
            // The log tells of all events of the list, which may be other accounts'.
            ending.log_tail = None;
        }
        tell(waiting, &ending);
    }
}

fn tell(waiting: Vec<oneshot::Sender<Ending>>, ending: &Ending) {
    for sender in waiting {
        let _ = sender.send(ending.clone());
    }
}

fn refuse(items: Vec<Item>, error: &ApiError) {
    for item in items {
        let _ = item.caller.send(Err(error.clone()));
    }
}

impl Batch {
    fn started(&self, mark: Option<ErrorMark>, body: Bytes, ending: oneshot::Receiver<Ending>) -> Started {
        let mut started = Started::whole(self.version.clone(), body, mark, ending);
        // A UUID is a header's value.
        if let Ok(id) = HeaderValue::try_from(self.id.as_str()) {
            started.headers.push((BATCH, id));
        }
        started
    }
}

impl Batches {
    fn with<T>(&self, key: &str, change: impl FnOnce(&mut Line<Item>) -> Option<T>) -> Option<T> {
        self.lock().get_mut(key).and_then(change)
    }

    /// Held for a few lines, never across an await.
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Line<Item>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
