//! The path that every invocation takes, whoever asks: resolve, take a slot, let the worker run it, account for it.
//!
//! Warm, it touches no database: the record resolves from memory. Per invocation it takes one lock (the slot's, twice,
//! each for two look-ups) and allocates the two ARNs, the executed version and two boxed futures.

mod answer;
mod lineage;
mod payload;
mod request_id;
mod whole;

pub(crate) use answer::{Found, answer};
pub(crate) use lineage::entered;
pub(crate) use payload::{check_payload, collect};
pub(crate) use request_id::trace_id;
pub(crate) use whole::{WholeAnswer, run_to_end};

use crate::Gateway;
use crate::concurrency_limits::{Question, Slot, Throttle};
use crate::detached::Detached;
use crate::lambda::ApiError;
use crate::start_records::StartEntry;
use answer::Landing;
use api::{Body, Ending, ErrorMark, Invocation, InvokeError, Lease, Report, ResponseMode};
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use chunk::Account;
use control::{Resolved, StartRecord};
use request_id::lot_of;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Names the list that a request was answered as one of.
pub(crate) const BATCH: HeaderName = HeaderName::from_static("x-lambent-batch");

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) account: &'a Account,
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<&'a str>,
    /// A UUID as text.
    pub(crate) request_id: &'a str,
    /// JSON.
    pub(crate) payload: Bytes,
    /// JSON.
    pub(crate) client_context: Option<String>,
    pub(crate) trace_id: String,
    pub(crate) mode: ResponseMode,
    pub(crate) tail: bool,
}

/// An invocation that answers.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) content_type: String,
    pub(crate) body: Body,
    /// The mark of a buffered answer that is an error.
    pub(crate) error: Option<ErrorMark>,
    pub(crate) executed_version: String,
    pub(crate) running: Running,
    /// Further headers of the response, by which Lambent says what it did.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// An invocation that is under way: it holds its slot until it is over, also when nobody looks any more.
#[derive(Debug)]
pub(crate) struct Running {
    ending: Option<oneshot::Receiver<Ending>>,
    account_for: Option<AccountFor>,
}

/// What is left to do when an invocation is over.
#[derive(Debug)]
struct AccountFor {
    gateway: Gateway,
    lease: Arc<Lease>,
    request_id: String,
    /// Taken back early when the whole answer is there: whoever has it may ask again.
    slot: Option<Slot>,
}

/// Checks that a function can be invoked, and does not do it.
pub(crate) async fn check(gateway: &Gateway, ask: &Ask<'_>) -> Result<Resolved, ApiError> {
    let lot = lot_of(ask.request_id);
    Ok(gateway
        .control
        .resolve(ask.account, ask.name, ask.qualifier, lot)
        .await?)
}

/// Runs an invocation until it begins to answer. Dropping the future does not stop it.
pub(crate) async fn run(gateway: &Gateway, ask: Ask<'_>) -> Result<Started, ApiError> {
    let resolved = check(gateway, &ask).await?;
    begin(gateway, resolved, ask, None).await
}

/// Runs what was resolved. `landing` is told of the answer, whoever still waits for it.
pub(crate) async fn begin(
    gateway: &Gateway,
    resolved: Resolved,
    ask: Ask<'_>,
    landing: Option<Landing>,
) -> Result<Started, ApiError> {
    let trace_id = enter_chain(gateway, &ask, &resolved.lease.function.arn).await?;
    let slot = take_slot(gateway, ask.account, &resolved).await?;
    let lease = resolved.lease;
    let invocation = Invocation {
        request_id: ask.request_id.to_owned(),
        arn: arn_as_asked(&lease.function.arn, ask.qualifier),
        payload: ask.payload,
        client_context: ask.client_context,
        trace_id,
        mode: ask.mode,
        tail: ask.tail,
    };
    let account_for = AccountFor {
        gateway: gateway.clone(),
        lease: Arc::clone(&lease),
        request_id: invocation.request_id.clone(),
        slot: Some(slot),
    };
    let executed_version = resolved.executed_version;
    let work = async move {
        let answered = invoke(account_for, lease, invocation, executed_version).await;
        if let Some(landing) = landing {
            landing.land(&answered);
        }
        answered
    };
    Detached::new(gateway.tasks.clone(), work).await
}

/// The trace that the function gets, with itself in the lineage; or an error where it has come round too often.
async fn enter_chain(gateway: &Gateway, ask: &Ask<'_>, arn: &str) -> Result<String, ApiError> {
    let entered = entered(&ask.trace_id, arn);
    // Only what loops asks the database.
    if entered.count > lineage::LOOPS_MAX && gateway.control.recursive_loop(ask.account, ask.name).await? == "Terminate"
    {
        let message = "Lambda has detected your function being invoked in a recursive loop with other AWS resources and \
                       stopped your function's invocation.";
        return Err(ApiError::new("RecursiveInvocationException", message));
    }
    Ok(entered.trace_id)
}

async fn invoke(
    mut account_for: AccountFor,
    lease: Arc<Lease>,
    invocation: Invocation,
    executed_version: String,
) -> Result<Started, ApiError> {
    let worker = Arc::clone(&account_for.gateway.worker);
    match worker.invoke(lease, invocation).await {
        Ok(reply) => {
            if matches!(reply.body, Body::Whole(_)) {
                account_for.slot = None;
            }
            Ok(Started {
                content_type: reply.content_type,
                body: reply.body,
                error: reply.error,
                executed_version,
                running: Running {
                    ending: Some(reply.ending),
                    account_for: Some(account_for),
                },
                headers: Vec::new(),
            })
        }
        Err(InvokeError::InvalidEntrypoint { program, reason }) => Ok(invalid_entrypoint(
            &program,
            &reason,
            &account_for.request_id,
            executed_version,
        )),
        Err(error) => Err(refusal(&error)),
    }
}

/// An image whose program cannot be run is the function's own failure, in Lambda's shape.
fn invalid_entrypoint(program: &str, reason: &str, request_id: &str, executed_version: String) -> Started {
    let message = format!("RequestId: {request_id} Error: fork/exec {program}: {reason}");
    let body = json!({ "errorType": "Runtime.InvalidEntrypoint", "errorMessage": message });
    let (sender, ending) = oneshot::channel();
    let error = Some((ErrorMark::Unhandled, "Runtime.InvalidEntrypoint".to_owned(), message));
    // The receiver is right here.
    let _ = sender.send(Ending {
        error,
        log_tail: None,
        report: Report::default(),
    });
    let body = body.to_string().into();
    Started::whole(executed_version, body, Some(ErrorMark::Unhandled), ending)
}

impl Started {
    /// An answer of JSON that is there, and of which nothing is left to account for.
    pub(crate) fn whole(
        executed_version: String,
        body: Bytes,
        error: Option<ErrorMark>,
        ending: oneshot::Receiver<Ending>,
    ) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            body: Body::Whole(body),
            error,
            executed_version,
            running: Running {
                ending: Some(ending),
                account_for: None,
            },
            headers: Vec::new(),
        }
    }
}

fn refusal(error: &InvokeError) -> ApiError {
    match error {
        InvokeError::NoCapacity(_) => throttled("ConcurrentInvocationLimitExceeded", &error.to_string()),
        InvokeError::CannotStart { .. } | InvokeError::InvalidEntrypoint { .. } | InvokeError::ShuttingDown => {
            ApiError::new("ServiceException", error.to_string())
        }
        InvokeError::RestoreFailed { .. } => ApiError::new("SnapStartException", error.to_string()),
        InvokeError::RestoreTimedOut { .. } => ApiError::new("SnapStartTimeoutException", error.to_string()),
    }
}

fn throttled(reason: &str, message: &str) -> ApiError {
    ApiError::new("TooManyRequestsException", message)
        .with("Reason", reason)
        .with("retryAfterSeconds", "1")
}

async fn take_slot(gateway: &Gateway, account: &Account, resolved: &Resolved) -> Result<Slot, ApiError> {
    let arn = &resolved.lease.function.arn;
    let question = Question {
        account,
        arn,
        reserved: resolved.reserved_concurrency,
        provisioned: (resolved.provisioned_concurrency > 0)
            .then_some((resolved.lease.revision.as_str(), resolved.provisioned_concurrency)),
    };
    let mut entered = gateway.concurrency.enter(&question);
    if entered.as_ref().err() == Some(&Throttle::AskShared) {
        let account_max = u64::from(gateway.settings.account_concurrency_max);
        let shared = gateway.control.unreserved_concurrency(account, account_max).await?;
        gateway
            .concurrency
            .learn(account, u32::try_from(shared).unwrap_or(u32::MAX));
        entered = gateway.concurrency.enter(&question);
    }
    entered.map_err(|throttle| {
        let reason = match throttle {
            Throttle::Function => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Throttle::Account | Throttle::AskShared => "ConcurrentInvocationLimitExceeded",
        };
        throttled(reason, "Rate Exceeded.")
    })
}

impl Running {
    /// Waits until the invocation is over.
    pub(crate) async fn ended(mut self) -> Option<Ending> {
        let ending = self.ending.take()?.await.ok();
        if let (Some(account_for), Some(ending)) = (self.account_for.take(), &ending) {
            account_for.settle(ending);
        }
        ending
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(mut ending), Some(account_for)) = (self.ending.take(), self.account_for.take()) else {
            return;
        };
        match ending.try_recv() {
            Ok(ending) => account_for.settle(&ending),
            Err(oneshot::error::TryRecvError::Closed) => {}
            Err(oneshot::error::TryRecvError::Empty) => account_for.settle_later(ending),
        }
    }
}

impl AccountFor {
    fn settle(&self, ending: &Ending) {
        let Some(start) = &ending.report.cold_start else { return };
        self.gateway.metrics.cold_start(start);
        let function = &self.lease.function;
        self.gateway.starts.push(StartEntry {
            account: function.account.clone(),
            name: function.name.clone(),
            record: StartRecord {
                version: function.version.clone(),
                request_id: self.request_id.clone(),
                start: start.clone(),
            },
        });
    }

    fn settle_later(self, ending: oneshot::Receiver<Ending>) {
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let tasks = self.gateway.tasks.clone();
        let wait = async move {
            if let Ok(ending) = ending.await {
                self.settle(&ending);
            }
        };
        tasks.spawn_on(wait, &runtime);
    }
}

fn arn_as_asked(arn: &str, qualifier: Option<&str>) -> String {
    match qualifier {
        Some(qualifier) => format!("{arn}:{qualifier}"),
        None => arn.to_owned(),
    }
}
