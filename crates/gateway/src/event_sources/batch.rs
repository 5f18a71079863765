//! One batch: filtered, invoked, and deleted as far as the function has answered for it.

use super::feed::Feed;
use super::gather::Gathered;
use super::message::{is_wanted, record, trace_of};
use super::pace::Verdict;
use super::report::{Failed, failed};
use super::throttled::{is_throttle, patiently};
use crate::Gateway;
use crate::invocation::{self, Ask};
use crate::lambda::ApiError;
use crate::messaging::Message;
use api::ResponseMode;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

/// Largest event, bytes: 6 MiB. A batch that is larger is invoked in parts.
pub(super) const EVENT_BYTES_MAX: usize = 6_291_456;
/// What stands around the records of an event.
const HEAD: &str = r#"{"Records":["#;
const TAIL: &str = "]}";

/// A message on its way to the function.
struct Record {
    id: String,
    receipt: String,
    trace: Option<String>,
    /// JSON.
    text: String,
}

/// How a part of a batch went.
struct Ended {
    verdict: Verdict,
    /// Whether nothing of it comes again.
    whole: bool,
}

/// Runs a batch, and tells the pace. What is not deleted is visible again after the queue's visibility timeout, by itself.
/// The room is for the records and for an event that is made of them.
pub(super) async fn run(gateway: Gateway, feed: Arc<Feed>, gathered: Gathered, _room: OwnedSemaphorePermit) {
    let (gateway, feed, since) = (&gateway, feed.as_ref(), gathered.since);
    let records = wanted(gateway, feed, gathered.messages).await;
    let run = |part| run_part(gateway, feed, part, since);
    let (verdict, left) = run_parts(parts(records, EVENT_BYTES_MAX), feed.queue.is_fifo(), run).await;
    gateway.metrics.event_source("returned", left);
    // A throttle was said when it was met.
    if verdict != Verdict::Throttled {
        feed.pace.apply(verdict);
    }
}

/// What the filters want; the rest is deleted. A message goes as its record is made.
async fn wanted(gateway: &Gateway, feed: &Feed, messages: Vec<Message>) -> Vec<Record> {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for message in messages {
        let record = record(&feed.queue, &message);
        if is_wanted(&feed.patterns, &record) {
            wanted.push(Record::new(&record));
        } else {
            unwanted.push(receipt_of(&record));
        }
    }
    gateway.metrics.event_source("filtered", unwanted.len());
    delete(gateway, feed, &unwanted).await;
    wanted
}

/// Runs parts one after another. Of a FIFO queue none that comes after one of which something comes again: its messages
/// may be later ones of the same group, and SQS gives them back in their order. Gives the last verdict that was no answer,
/// and how many messages were left.
async fn run_parts<F>(parts: Vec<Vec<Record>>, is_fifo: bool, run: impl Fn(Vec<Record>) -> F) -> (Verdict, usize)
where
    F: Future<Output = Ended>,
{
    let mut verdict = Verdict::Answered;
    let mut parts = parts.into_iter();
    for part in parts.by_ref() {
        let ended = run(part).await;
        if ended.verdict != Verdict::Answered {
            verdict = ended.verdict;
        }
        if is_fifo && !ended.whole {
            break;
        }
    }
    (verdict, parts.map(|part| part.len()).sum())
}

async fn run_part(gateway: &Gateway, feed: &Feed, records: Vec<Record>, since: Instant) -> Ended {
    gateway.metrics.event_source("invoked", records.len());
    let attempt = || invoke(gateway, feed, &records);
    let (verdict, failed) = match patiently(&gateway.settings, feed, since, attempt).await {
        Ok(answer) => (Verdict::Answered, failures(feed, &records, answer)),
        Err(error) if is_throttle(&error) => (Verdict::Throttled, Failed::All),
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
    let is_deleted = delete(gateway, feed, &receipts).await;
    Ended {
        verdict,
        whole: is_deleted && receipts.len() == records.len(),
    }
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

/// None is a function that failed.
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
    let answer = invocation::run_to_end(gateway, ask).await?;
    Ok(answer.error.is_none().then_some(answer.payload))
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

/// Whether all are gone. A message that cannot be deleted comes again: at least once is all that SQS promises, too.
async fn delete(gateway: &Gateway, feed: &Feed, receipts: &[String]) -> bool {
    if receipts.is_empty() {
        return true;
    }
    let deleted = gateway.messaging.delete(&feed.queue, receipts).await;
    if let Err(error) = &deleted {
        let (function, mapping) = (&feed.source.function, &feed.source.id);
        warn!(function, mapping, "messages that were done may come again: {error}");
    }
    deleted.is_ok()
}

fn receipt_of(record: &Value) -> String {
    record["receiptHandle"].as_str().unwrap_or_default().to_owned()
}

impl Record {
    fn new(record: &Value) -> Self {
        Self {
            id: record["messageId"].as_str().unwrap_or_default().to_owned(),
            receipt: receipt_of(record),
            trace: trace_of(record).map(str::to_owned),
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
    use std::sync::Mutex;

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
    #[tokio::test]
    async fn a_fifo_queue_keeps_its_order_when_a_batch_is_cut() {
        use Verdict::{Answered, Broken, Throttled};
        let check = async |is_fifo, (verdict, whole), expected: (&[usize], Verdict, usize)| {
            let ran = Mutex::new(Vec::new());
            // All is well but for the part with two messages.
            let run = |part: Vec<Record>| {
                ran.lock().unwrap().push(part.len());
                let (verdict, whole) = if part.len() == 2 {
                    (verdict, whole)
                } else {
                    (Answered, true)
                };
                std::future::ready(Ended { verdict, whole })
            };
            let parts = [1, 2, 3, 4].map(|count| records(&vec![1; count])).into();
            let (found, left) = run_parts(parts, is_fifo, run).await;
            assert_eq!(
                (ran.into_inner().unwrap().as_slice(), found, left),
                expected,
                "{is_fifo} {verdict:?} {whole}"
            );
        };
        check(true, (Answered, true), (&[1, 2, 3, 4], Answered, 0)).await;
        // A function that fails answers, too.
        check(true, (Answered, false), (&[1, 2], Answered, 7)).await;
        check(true, (Throttled, false), (&[1, 2], Throttled, 7)).await;
        check(true, (Broken, false), (&[1, 2], Broken, 7)).await;
        check(false, (Answered, false), (&[1, 2, 3, 4], Answered, 0)).await;
        check(false, (Throttled, false), (&[1, 2, 3, 4], Throttled, 0)).await;
    }
}
