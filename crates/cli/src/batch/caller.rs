//! One record's invocation: what is tried again, what is the record's error, and what ends the batch.
//!
//! | answer | what it means |
//! |---|---|
//! | 2xx | the result; the function's own error is the record's error, and stands |
//! | 429, 5xx, 409 | a throttle, a fault of the system, a function in preparation: tried again; at last the record's error |
//! | no answer | the endpoint is gone: tried again; at last the batch ends, and can be gone on with |
//! | 401, 403, 404 | no record can succeed: the batch ends, and can be gone on with |
//! | other 4xx | the record's error |

use super::input::LINE_BYTES_MAX;
use super::line;
use super::{Answer, Facts, InputHash, Record, Task};
use crate::lambda_client::{Call, LambdaClient, Response, escape, function_path};
use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Before the second try; doubles with each further one. Half of a typical short invocation's time.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// The longest pause. With ten retries, the default, all pauses together are 43 to 86 s: an endpoint may be restarted.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Asks one function.
pub(crate) struct Caller {
    client: LambdaClient,
    path: String,
    retries_max: u32,
    /// Calls beyond the first of a record.
    retries: AtomicU64,
}

/// What a response means for its record.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Result,
    /// The function's own error.
    FunctionError,
    /// The record cannot be served as it is.
    Refused,
    Again,
    /// Nothing can be served.
    Stop,
}

/// The endpoint would not run the function.
#[derive(Debug, thiserror::Error)]
#[error("cannot invoke {function}: {error}")]
struct DryRunRefused {
    function: String,
    error: String,
}

impl Caller {
    pub(crate) fn new(client: LambdaClient, task: &Task, retries_max: u32) -> Self {
        let query = task.qualifier.as_ref();
        let query = query.map_or_else(String::new, |qualifier| format!("?Qualifier={}", escape(qualifier)));
        Self {
            client,
            path: function_path(&task.function, &format!("/invocations{query}")),
            retries_max,
            retries: AtomicU64::new(0),
        }
    }

    /// Asks whether the function is there and may be invoked; runs nothing.
    pub(crate) async fn dry_run(&self, task: &Task) -> Result<()> {
        let response = self.send(Bytes::from_static(b"{}"), "DryRun").await?;
        if response.status < 300 {
            return Ok(());
        }
        let refused = DryRunRefused {
            function: task.function.clone(),
            error: response.error(),
        };
        Err(refused.into())
    }

    /// Calls beyond the first of a record.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Gets a record's answer.
    ///
    /// Errors: none that concern this record alone; the batch cannot go on.
    pub(crate) async fn answer(&self, record: Record) -> Result<Answer> {
        let Some(event) = record.event else {
            let message = format!("The line has more than {LINE_BYTES_MAX} bytes, the most that a function takes.");
            let error = line::error(record.line, "service", "RequestTooLargeException", &message);
            return Ok(answer(record.number, record.hash, Facts::default(), error));
        };
        let mut tries = 1;
        loop {
            let asked = self.send(event.clone(), "RequestResponse").await;
            let is_last = tries > self.retries_max;
            let again = match &asked {
                Ok(response) => meaning(response) == Meaning::Again,
                Err(_) => true,
            };
            if !again || is_last {
                let response = asked.with_context(|| format!("line {} was tried {tries} times", record.line))?;
                if meaning(&response) == Meaning::Stop {
                    anyhow::bail!("line {} is refused: {}", record.line, response.error());
                }
                return Ok(settle((record.number, record.line), record.hash, &response, tries));
            }
            tokio::time::sleep(pause(tries, record.number)).await;
            tries += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn send(&self, body: Bytes, sort: &str) -> Result<Response> {
        let call = Call {
            method: "POST",
            path: self.path.clone(),
            headers: vec![("x-amz-invocation-type", sort), ("x-amz-log-type", "Tail")],
            body,
            service: "lambda",
        };
        self.client.send(call).await
    }
}

/// Doubles with each try, and differs from record to record, so that those who were throttled together do not come back
/// together.
fn pause(tries: u32, number: u64) -> Duration {
    let longest = PAUSE_FIRST.saturating_mul(1 << (tries - 1).min(16)).min(PAUSE_MAX);
    // The golden ratio's multiples spread evenly over the unit interval, whatever numbers are taken.
    let share = (number as f64 * 0.618_033_988_749_895).fract();
    longest.mul_f64(0.5 + share / 2.0)
}

fn meaning(response: &Response) -> Meaning {
    match response.status {
        ..300 if response.header("x-amz-function-error").is_some() => Meaning::FunctionError,
        ..300 => Meaning::Result,
        409 | 429 | 500.. => Meaning::Again,
        401 | 403 | 404 => Meaning::Stop,
        _ => Meaning::Refused,
    }
}

/// An answer that stands.
fn settle((number, input_line): (u64, u64), hash: InputHash, response: &Response, tries: u32) -> Answer {
    let meaning = meaning(response);
    let (billed_ms, memory_mb) = response.header("x-amz-log-result").and_then(billed).unwrap_or_default();
    let facts = Facts {
        is_error: meaning != Meaning::Result,
        billed_ms,
        memory_mb,
        tries,
    };
    let result = match meaning {
        Meaning::Result => line::response(input_line, &response.body),
        Meaning::FunctionError => {
            let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            line::error(input_line, "function", &text("errorType"), &text("errorMessage"))
        }
        Meaning::Refused | Meaning::Again | Meaning::Stop => {
            let code = response.code().unwrap_or_default();
            let message = response.message().unwrap_or_default();
            line::error(input_line, "service", &code, &message)
        }
    };
    answer(number, hash, facts, result)
}

fn answer(number: u64, hash: InputHash, facts: Facts, result: Vec<u8>) -> Answer {
    let is_error = facts.is_error || facts.tries == 0;
    Answer {
        number,
        hash,
        facts: Facts { is_error, ..facts },
        result,
    }
}

/// Billed milliseconds and memory in MB, as the end of an invocation's log says them: REPORT, or `platform.report`.
fn billed(log: &str) -> Option<(u64, u64)> {
    let log = BASE64_STANDARD.decode(log).ok()?;
    let log = String::from_utf8_lossy(&log);
    let line = log.lines().rev().find(|line| {
        line.starts_with("REPORT RequestId") || (line.starts_with('{') && line.contains("platform.report"))
    })?;
    if line.starts_with('{') {
        let event: Value = serde_json::from_str(line).ok()?;
        let metrics = &event["record"]["metrics"];
        return Some((metrics["billedDurationMs"].as_u64()?, metrics["memorySizeMB"].as_u64()?));
    }
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split(' ').next()?.parse().ok()
    };
    Some((number("Billed Duration: ")?, number("Memory Size: ")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        Response::of(status, headers, body)
    }

    fn settled(response: &Response) -> (Facts, String) {
        let answer = settle((4, 5), InputHash::of(&blake3::Hasher::new()), response, 2);
        (answer.facts, String::from_utf8(answer.result).unwrap())
    }

    #[test]
    fn answers_stand_as_they_were_written_but_on_one_line() {
        for (body, expected) in [
            ("{\"n\": 12345678901234567890123}", "{\"n\": 12345678901234567890123}"),
            ("[1,\r\n 2]", "[1,   2]"),
            ("\"a\\nb\"", "\"a\\nb\""),
            ("", "null"),
            ("not json", "\"not json\""),
        ] {
            let (facts, result) = settled(&response(200, &[], body));
            assert_eq!(result, format!("{{\"line\":5,\"response\":{expected}}}"));
            assert!(!facts.is_error);
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let failed = response(
            200,
            &[("x-amz-function-error", "Unhandled")],
            r#"{"errorType": "ValueError", "errorMessage": "no \"name\"", "stackTrace": []}"#,
        );
        let (facts, result) = settled(&failed);
        assert!(facts.is_error);
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!(
            result,
            json!({"line": 5, "error": {"kind": "function", "type": "ValueError", "message": "no \"name\""}})
        );
        let refused = response(
            400,
            &[("x-amzn-errortype", "InvalidRequestContentException:http://x")],
            r#"{"message": "Could not parse request body into json"}"#,
        );
        let result: Value = serde_json::from_str(&settled(&refused).1).unwrap();
        assert_eq!(result["error"]["type"], "InvalidRequestContentException");
        assert_eq!(result["error"]["kind"], "service");
    }

    #[test]
    fn statuses_mean_what_the_table_says() {
        for (status, expected) in [
            (200, Meaning::Result),
            (400, Meaning::Refused),
            (403, Meaning::Stop),
            (404, Meaning::Stop),
            (409, Meaning::Again),
            (413, Meaning::Refused),
            (429, Meaning::Again),
            (500, Meaning::Again),
            (503, Meaning::Again),
        ] {
            assert_eq!(meaning(&response(status, &[], "{}")), expected, "{status}");
        }
    }

    #[test]
    fn the_bill_is_read_from_text_and_from_json() {
        let text = "START RequestId: x Version: 1\nEND RequestId: x\nREPORT RequestId: x\tDuration: 1.23 ms\t\
                    Billed Duration: 102 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t\n";
        let json = "{\"time\":\"t\",\"type\":\"platform.report\",\"record\":{\"requestId\":\"x\",\"metrics\":\
                    {\"durationMs\":1.2,\"billedDurationMs\":7,\"memorySizeMB\":256}}}\n";
        for (log, expected) in [
            (text, Some((102, 128))),
            (json, Some((7, 256))),
            ("said nothing\n", None),
            ("REPORT RequestId: x\tBilled Duration: many ms\tMemory Size: 1 MB", None),
        ] {
            assert_eq!(billed(&BASE64_STANDARD.encode(log)), expected, "{log}");
        }
        assert_eq!(billed("not base64!"), None);
    }

    #[test]
    fn pauses_double_and_have_an_end() {
        for number in 0..100 {
            for tries in 1..40 {
                let pause = pause(tries, number);
                let longest = PAUSE_MAX.min(PAUSE_FIRST * (1 << (tries - 1).min(10)));
                assert!(pause >= longest / 2 && pause <= longest, "{tries}: {pause:?}");
            }
        }
        let all: Duration = (1..=10).map(|tries| pause(tries, 0)).sum();
        assert!(
            all >= Duration::from_secs(42) && all <= Duration::from_secs(44),
            "{all:?}"
        );
    }
}
