//! One batch: filtered, invoked, and deleted as far as the function has answered for it.

use super::filter::Pattern;
use super::gather::Gathered;
use super::message::{is_wanted, record, trace_of};
use super::pace::Verdict;
use super::report::{Failed, failed};
use crate::Gateway;
use crate::due::backoff;
use crate::invocation::{self, Ask};
use crate::lambda::ApiError;
use crate::messaging::QueueArn;
use api::ResponseMode;
use bytes::Bytes;
use control::EventSource;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

/// Largest event, bytes: 6 MiB. A batch that is larger is invoked in parts.
pub(super) const EVENT_BYTES_MAX: usize = 6_291_456;
/// What stands around the records of an event.
const HEAD: &str = r#"{"Records":["#;
const TAIL: &str = "]}";

/// What stays the same for all batches of a mapping.
pub(super) struct Feed {
    pub(super) source: EventSource,
    pub(super) queue: QueueArn,
    pub(super) patterns: Vec<Pattern>,
    /// How long a received message is out of sight.
    pub(super) visibility: Duration,
}

/// A message on its way to the function.
struct Record {
    id: String,
    receipt: String,
    trace: Option<String>,
    /// JSON.
    text: String,
}

/// Runs a batch. What is not deleted is visible again after the queue's visibility timeout, by itself.
pub(super) async fn run(gateway: Gateway, feed: std::sync::Arc<Feed>, gathered: Gathered) -> Verdict {
    let records = gathered.messages.iter().map(|message| record(&feed.queue, message));
    let (wanted, unwanted): (Vec<Value>, Vec<Value>) = records.partition(|record| is_wanted(&feed.patterns, record));
    if !unwanted.is_empty() {
        gateway.metrics.event_source("filtered", unwanted.len());
        let receipts: Vec<String> = unwanted.iter().map(receipt_of).collect();
        delete(&gateway, &feed, &receipts).await;
    }
    let mut verdict = Verdict::Answered;
    let wanted = wanted.into_iter().map(Record::new).collect();
    for part in parts(wanted, EVENT_BYTES_MAX) {
        match run_part(&gateway, &feed, &part, gathered.since).await {
            Verdict::Answered => {}
            other => verdict = other,
        }
    }
    verdict
}

async fn run_part(gateway: &Gateway, feed: &Feed, records: &[Record], since: Instant) -> Verdict {
    gateway.metrics.event_source("invoked", records.len());
    let answered = invoke_patiently(gateway, feed, records, since).await;
    let (verdict, failed) = match answered {
        Ok(answer) => (Verdict::Answered, failures(feed, records, answer)),
        Err(error) if error.code == "TooManyRequestsException" => (Verdict::Throttled, Failed::All),
        Err(error) => {
            let (function, mapping) = (&feed.source.function, &feed.source.id);
            warn!(function, mapping, "messages go back to their queue: {}", error.message);
            (Verdict::Broken, Failed::All)
        }
    };
    let done = records.iter().filter(|record| match &failed {
        Failed::All => false,
        Failed::These(ids) => !ids.contains(&record.id),
    });
    let receipts: Vec<String> = done.map(|record| record.receipt.clone()).collect();
    gateway.metrics.event_source("returned", records.len() - receipts.len());
    gateway.metrics.event_source("deleted", receipts.len());
    delete(gateway, feed, &receipts).await;
    verdict
}

fn failures(feed: &Feed, records: &[Record], answer: Option<Bytes>) -> Failed {
    match answer {
        None => Failed::All,
        Some(answer) if feed.source.settings.reports_failures => {
            let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
            failed(&answer, &ids)
        }
        Some(_) => Failed::These(Vec::new()),
    }
}

/// Invokes; a throttled invocation is tried again while the messages stay out of sight for longer than its wait: giving
/// them back at once would count against the queue's limit of receives. None is a function that failed.
async fn invoke_patiently(
    gateway: &Gateway,
    feed: &Feed,
    records: &[Record],
    since: Instant,
) -> Result<Option<Bytes>, ApiError> {
    let mut tries = 0;
    loop {
        let error = match invoke(gateway, feed, records).await {
            Err(error) if error.code == "TooManyRequestsException" => error,
            other => return other,
        };
        tries += 1;
        let wait = backoff(gateway.settings.backoff_first, gateway.settings.backoff_max, tries);
        // Half of the timeout is the function's.
        if since.elapsed() + wait > feed.visibility / 2 {
            return Err(error);
        }
        debug!(
            function = feed.source.function,
            "a batch is throttled, trying again after {wait:?}"
        );
        tokio::time::sleep(wait).await;
    }
}

async fn invoke(gateway: &Gateway, feed: &Feed, records: &[Record]) -> Result<Option<Bytes>, ApiError> {
    let request_id = Uuid::new_v4().to_string();
    let texts: Vec<&str> = records.iter().map(|record| record.text.as_str()).collect();
    let ask = Ask {
        account: &feed.source.account,
        name: &feed.source.function,
        qualifier: feed.source.qualifier.as_deref(),
        request_id: &request_id,
        payload: [HEAD, &texts.join(","), TAIL].concat().into(),
        client_context: None,
        trace_id: trace(gateway, feed, records, &request_id),
        mode: ResponseMode::Buffered,
        tail: false,
    };
    let started = invocation::run(gateway, ask).await?;
    let answer = invocation::collect(started.body).await?;
    let ending = started.running.ended().await;
    let ending = ending.ok_or_else(|| ApiError::new("ServiceException", "the invocation's end is unknown"))?;
    let is_failure = started.error.is_some() || ending.error.is_some();
    Ok((!is_failure).then_some(answer))
}

/// Of the messages' traces the one that has come through the function most often: a loop must be seen in any batch.
fn trace(gateway: &Gateway, feed: &Feed, records: &[Record], request_id: &str) -> String {
    let arn = gateway
        .control
        .function_arn(&feed.source.account, &feed.source.function);
    let traces = records.iter().filter_map(|record| record.trace.as_ref());
    let most = traces.max_by_key(|trace| invocation::entered(trace, &arn).count);
    most.cloned()
        .unwrap_or_else(|| invocation::trace_id(request_id, gateway.now_ms()))
}

/// A message that cannot be deleted comes again: at least once is all that SQS promises, too.
async fn delete(gateway: &Gateway, feed: &Feed, receipts: &[String]) {
    if let Err(error) = gateway.messaging.delete(&feed.queue, receipts).await {
        let (function, mapping) = (&feed.source.function, &feed.source.id);
        warn!(function, mapping, "messages that were done may come again: {error}");
    }
}

fn receipt_of(record: &Value) -> String {
    record["receiptHandle"].as_str().unwrap_or_default().to_owned()
}

impl Record {
    #[expect(clippy::needless_pass_by_value, reason = "it is used up")]
    fn new(record: Value) -> Self {
        Self {
            id: record["messageId"].as_str().unwrap_or_default().to_owned(),
            receipt: receipt_of(&record),
            trace: trace_of(&record).map(str::to_owned),
            text: record.to_string(),
        }
    }
}

/// As few parts as fit an event each, in order. A message that fits none is one alone, and fails.
fn parts(records: Vec<Record>, bytes_max: usize) -> Vec<Vec<Record>> {
    let mut parts: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let more = record.text.len() + 1;
        match parts.last_mut() {
            Some(part) if bytes + more <= bytes_max => {
                part.push(record);
                bytes += more;
            }
            _ => {
                parts.push(vec![record]);
                bytes = HEAD.len() + TAIL.len() + more;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(sizes: &[usize]) -> Vec<Record> {
        let record = |bytes: &usize| Record {
            id: String::new(),
            receipt: String::new(),
            trace: None,
            text: "x".repeat(*bytes),
        };
        sizes.iter().map(record).collect()
    }

    #[test]
    fn a_large_batch_is_cut_where_an_event_is_full() {
        let check = |sizes: &[usize], expected: &[usize]| {
            let lengths: Vec<usize> = parts(records(sizes), 100).iter().map(Vec::len).collect();
            assert_eq!(lengths, expected, "{sizes:?}");
        };
        check(&[], &[]);
        check(&[10, 10, 10], &[3]);
        check(&[50, 50], &[1, 1]);
        check(&[40, 40, 40, 40], &[2, 2]);
        check(&[500, 1, 1], &[1, 2]);
    }
}
