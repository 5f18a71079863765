//! The path that every invocation takes, whoever asks: resolve, take a slot, let the worker run it, account for it.
//!
//! Warm, it touches no database: the record resolves from memory. Per invocation it takes one lock (the slot's, twice,
//! each for two look-ups) and allocates the two ARNs, the executed version and two boxed futures.

use crate::Gateway;
use crate::concurrency_limits::{Question, Slot, Throttle};
use crate::detached::Detached;
use crate::lambda::ApiError;
use crate::start_records::StartEntry;
use api::{Body, Ending, ErrorMark, Invocation, InvokeError, Lease, Report, ResponseMode};
use bytes::{Bytes, BytesMut};
use chunk::Account;
use control::{Resolved, StartRecord};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Largest answer that is collected: 6 MiB and what Lambda allows around it. Source: the text of
/// Function.ResponseSizeTooLarge, "(6291556 bytes)".
const COLLECTED_BYTES_MAX: usize = 6_291_556;

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
    let slot = take_slot(gateway, ask.account, &resolved).await?;
    let lease = resolved.lease;
    let invocation = Invocation {
        request_id: ask.request_id.to_owned(),
        arn: arn_as_asked(&lease.function.arn, ask.qualifier),
        payload: ask.payload,
        client_context: ask.client_context,
        trace_id: ask.trace_id,
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
    Detached::new(
        gateway.tasks.clone(),
        invoke(account_for, lease, invocation, executed_version),
    )
    .await
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
    Started {
        content_type: "application/json".to_owned(),
        body: Body::Whole(body.to_string().into()),
        error: Some(ErrorMark::Unhandled),
        executed_version,
        running: Running {
            ending: Some(ending),
            account_for: None,
        },
    }
}

fn refusal(error: &InvokeError) -> ApiError {
    match error {
        InvokeError::NoCapacity(_) => throttled("ConcurrentInvocationLimitExceeded", &error.to_string()),
        InvokeError::CannotStart { .. } | InvokeError::InvalidEntrypoint { .. } | InvokeError::ShuttingDown => {
            ApiError::new("ServiceException", error.to_string())
        }
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

/// All of an answer's bytes, of at most [`COLLECTED_BYTES_MAX`]. The worker collects buffered answers itself; this is
/// for one that streams all the same.
pub(crate) async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let mut stream = match body {
        Body::Whole(bytes) => return Ok(bytes),
        Body::Stream(stream) => stream,
    };
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.recv().await {
        if whole.len() + piece.len() > COLLECTED_BYTES_MAX {
            let message =
                format!("Response payload size exceeded maximum allowed payload size ({COLLECTED_BYTES_MAX} bytes).");
            return Err(ApiError::new("ServiceException", message));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Checks that a payload is JSON, without building it. An empty one stands for `{}`.
pub(crate) fn check_payload(payload: Bytes) -> Result<Bytes, ApiError> {
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let refuse = |error: &dyn std::fmt::Display| {
        let message = format!("Could not parse request body into json: {error}");
        ApiError::new("InvalidRequestContentException", message)
    };
    let text = std::str::from_utf8(&payload).map_err(|error| refuse(&error))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| refuse(&error))?;
    Ok(payload)
}

/// A number from 0 to 1 that decides between the versions of a weighted alias: the first 48 bits of the request's UUID,
/// all of them random in version 4.
fn lot_of(request_id: &str) -> f64 {
    let bits = Uuid::parse_str(request_id).map_or(0, |uuid| uuid.as_u128() >> 80);
    let bits = u64::try_from(bits).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "48 bits fit into the 52 of a mantissa")]
    let lot = bits as f64 / (1_u64 << 48) as f64;
    lot
}

/// `Root=1-TIME-ID;Parent=ID;Sampled=0`, made from the request's own id.
pub(crate) fn trace_id(request_id: &str, now_ms: u64) -> String {
    let digits: String = request_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .chain(std::iter::repeat('0'))
        .take(32)
        .collect();
    format!(
        "Root=1-{:08x}-{};Parent={};Sampled=0",
        now_ms / 1000,
        &digits[..24],
        &digits[16..]
    )
}

fn arn_as_asked(arn: &str, qualifier: Option<&str>) -> String {
    match qualifier {
        Some(qualifier) => format!("{arn}:{qualifier}"),
        None => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json() {
        let check = |payload: &'static [u8], expected: Option<&'static [u8]>| {
            assert_eq!(
                check_payload(Bytes::from_static(payload)).ok().as_deref(),
                expected,
                "{payload:?}"
            );
        };
        check(b"", Some(b"{}"));
        check(b"{\"a\": [1, null]}", Some(b"{\"a\": [1, null]}"));
        check(b"\"text\"", Some(b"\"text\""));
        check(b" 7 ", Some(b" 7 "));
        for bad in [&b"{"[..], b"nul", b"{} {}", b"\xff", b"\"\xff\"", b"'a'", b"NaN", b"\0"] {
            check(bad, None);
        }
    }

    #[test]
    fn deep_payloads_do_not_overflow_the_stack() {
        let deep = Bytes::from("[".repeat(3_000_000) + &"]".repeat(3_000_000));
        assert!(check_payload(deep).is_ok());
    }

    #[test]
    fn lots_are_even() {
        let below = (0..10_000)
            .filter(|_| lot_of(&Uuid::new_v4().to_string()) < 0.1)
            .count();
        // Ten standard deviations (30) around the mean.
        assert!((700..1300).contains(&below), "{below}");
        assert!(lot_of("ffffffff-ffff-4fff-bfff-ffffffffffff") < 1.0);
    }

    #[test]
    fn trace_ids_have_the_usual_form() {
        let trace = trace_id("01234567-89ab-4cde-8f01-23456789abcd", 1_795_326_780_000);
        assert_eq!(
            trace,
            "Root=1-6b02833c-0123456789ab4cde8f012345;Parent=8f0123456789abcd;Sampled=0"
        );
    }
}
