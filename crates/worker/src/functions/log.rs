//! The log of one environment: lines on their way to the record, and the tail of an invocation.
//!
//! Lines are gathered into batches and handed on without waiting. When the record is behind, lines are dropped and
//! counted; a function is never slowed down by its log.

use super::calendar::{date, now_ms, timestamp};
use super::records::{Record, SystemLevel};
use api::{Lease, LogBatch, LogEvent, LogFormat};
use bytes::Bytes;
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Lines of a batch, at most. A batch is one transaction of the record; CloudWatch's own batches hold 10,000 lines.
const BATCH_LINES_MAX: usize = 1000;

/// Bytes of a batch, at most, but for a last line that crosses the limit. CloudWatch's own limit is 1 MiB.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long a line waits for others. A person who tails a log does not notice it.
const BATCH_WAIT: Duration = Duration::from_millis(100);

/// Bytes of `X-Amz-Log-Result` before base64: Lambda's.
const TAIL_BYTES_MAX: usize = 4096;

/// Log levels of Lambda, least important first.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// The log of one environment.
#[derive(Debug)]
pub(crate) struct Log {
    batch: LogBatch,
    batch_bytes: usize,
    batch_begin: Option<Instant>,
    sender: mpsc::Sender<LogBatch>,
    format: LogFormat,
    system_level: SystemLevel,
    /// Lines of the function that say a lower level are left out.
    application_level: Option<usize>,
    /// The end of the invocation's log, while somebody wants it.
    tail: Option<VecDeque<u8>>,
    /// Lines that found no room since the last batch that did.
    dropped: u64,
}

impl Log {
    /// A new stream, named as Lambda names it.
    pub(crate) fn new(lease: &Lease, sender: mpsc::Sender<LogBatch>) -> Self {
        let logging = &lease.logging;
        let application_level = (logging.format == LogFormat::Json).then(|| {
            let level = logging.application_level.as_deref().unwrap_or("INFO");
            level_rank(level).unwrap_or(0)
        });
        Self {
            batch: LogBatch {
                account: lease.function.account.clone(),
                group: logging.group.clone(),
                stream: stream_name(&lease.function.version, now_ms(), uuid::Uuid::new_v4()),
                events: Vec::new(),
            },
            batch_bytes: 0,
            batch_begin: None,
            sender,
            format: logging.format,
            system_level: SystemLevel::of_settings(logging.system_level.as_deref()),
            application_level,
            tail: None,
            dropped: 0,
        }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.batch.stream
    }

    pub(crate) const fn format(&self) -> LogFormat {
        self.format
    }

    /// A line of the function or of an extension.
    pub(crate) fn line(&mut self, line: &str) {
        if self.application_level.is_some_and(|least| is_below(line, least)) {
            return;
        }
        self.add(line.to_owned());
    }

    /// A record of the platform.
    pub(crate) fn platform(&mut self, record: &Record<'_>) {
        let line = match self.format {
            LogFormat::Text => record.text(),
            LogFormat::Json if record.level() < self.system_level => None,
            LogFormat::Json => {
                let (time, kind) = (timestamp(now_ms()), record.kind());
                Some(json!({"time": time, "type": kind, "record": record.json()}).to_string())
            }
        };
        if let Some(line) = line {
            self.add(line);
        }
    }

    /// A line of the platform that only text logs have.
    pub(crate) fn text(&mut self, line: impl FnOnce() -> String) {
        if self.format == LogFormat::Text {
            self.add(line());
        }
    }

    /// Keeps the end of what comes from now on, or stops keeping it.
    pub(crate) fn keep_tail(&mut self, is_wanted: bool) {
        self.tail = is_wanted.then(VecDeque::new);
    }

    /// Keeps the end of what comes from now on, or of what came since somebody else began to keep it.
    pub(crate) fn share_tail(&mut self) {
        self.tail.get_or_insert_default();
    }

    /// What is kept; it stays.
    pub(crate) fn copy_tail(&self) -> Option<Bytes> {
        let tail = self.tail.as_ref()?;
        Some(tail.iter().copied().collect())
    }

    /// What [`Self::keep_tail`] has kept.
    pub(crate) fn take_tail(&mut self) -> Option<Bytes> {
        self.tail.take().map(|tail| Bytes::from(Vec::from(tail)))
    }

    /// When the batch is to be sent, if there is one.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        self.batch_begin.map(|begin| begin + BATCH_WAIT)
    }

    /// Sends the batch if it has waited long enough.
    pub(crate) fn flush_due(&mut self, now: Instant) {
        if self.flush_at().is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    /// Sends what is there.
    pub(crate) fn flush(&mut self) {
        if self.batch_begin.take().is_none() {
            return;
        }
        self.batch_bytes = 0;
        let mut events = std::mem::take(&mut self.batch.events);
        let lines = events.len() as u64;
        if self.dropped > 0 {
            let message = format!(
                "{} log lines were dropped: they came faster than they are stored",
                self.dropped
            );
            let timestamp_ms = events[0].timestamp_ms;
            events.insert(0, LogEvent { timestamp_ms, message });
        }
        let batch = LogBatch {
            events,
            ..self.batch.clone()
        };
        match self.sender.try_send(batch) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += lines,
        }
    }

    /// A way to write a line of the platform later, when the environment's own log may have gone on.
    pub(crate) fn aside(&self) -> LogAside {
        LogAside {
            batch: LogBatch {
                events: Vec::new(),
                ..self.batch.clone()
            },
            format: self.format,
            sender: self.sender.clone(),
        }
    }

    fn add(&mut self, message: String) {
        if let Some(tail) = &mut self.tail {
            tail.extend(message.as_bytes());
            tail.push_back(b'\n');
            let excess = tail.len().saturating_sub(TAIL_BYTES_MAX);
            tail.drain(..excess);
        }
        self.batch_bytes += message.len();
        self.batch.events.push(LogEvent {
            timestamp_ms: now_ms(),
            message,
        });
        self.batch_begin.get_or_insert_with(Instant::now);
        if self.batch.events.len() >= BATCH_LINES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            self.flush();
        }
    }
}

/// One line that comes beside the others.
#[derive(Debug)]
pub(crate) struct LogAside {
    batch: LogBatch,
    format: LogFormat,
    sender: mpsc::Sender<LogBatch>,
}

impl LogAside {
    /// Writes a line, or a record in a log of JSON format. It is dropped when the record of the log is behind.
    pub(crate) fn write(mut self, text: String, kind: &str, record: &impl serde::Serialize) {
        let now = now_ms();
        let message = match self.format {
            LogFormat::Text => text,
            LogFormat::Json => json!({"time": timestamp(now), "type": kind, "record": record}).to_string(),
        };
        self.batch.events.push(LogEvent {
            timestamp_ms: now,
            message,
        });
        if self.sender.try_send(self.batch).is_err() {
            tracing::warn!("a cold start's line was dropped: log lines come faster than they are stored");
        }
    }
}

/// `YYYY/MM/DD/[VERSION]` and 32 hexadecimal digits.
fn stream_name(version: &str, time_ms: u64, id: uuid::Uuid) -> String {
    let (year, month, day) = date(time_ms);
    format!("{year:04}/{month:02}/{day:02}/[{version}]{}", id.simple())
}

/// Whether a line is an object with a level below the least one that is wanted. Other lines have no level: they stay.
fn is_below(line: &str, least: usize) -> bool {
    #[derive(serde::Deserialize)]
    struct Levelled {
        level: Option<String>,
    }
    if !line.starts_with('{') {
        return false;
    }
    let level = serde_json::from_str(line).ok().and_then(|Levelled { level }| level);
    level
        .and_then(|level| level_rank(&level))
        .is_some_and(|rank| rank < least)
}

fn level_rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level))
}

#[cfg(test)]
mod tests {
    use super::{Log, is_below, level_rank, stream_name};
    use crate::functions::records::Record;
    use crate::functions::test_lease;
    use api::{LogBatch, LogFormat};
    use tokio::sync::mpsc;

    fn log(format: LogFormat, queue: usize) -> (Log, mpsc::Receiver<LogBatch>) {
        let (sender, receiver) = mpsc::channel(queue);
        let mut lease = test_lease::lease("one");
        lease.logging.format = format;
        (Log::new(&lease, sender), receiver)
    }

    fn messages(receiver: &mut mpsc::Receiver<LogBatch>) -> Vec<String> {
        let batch = receiver.try_recv().unwrap();
        batch.events.into_iter().map(|event| event.message).collect()
    }

    const START: Record<'_> = Record::Start {
        request_id: "id",
        version: "7",
    };

    #[test]
    fn streams_are_named_as_lambda_names_them() {
        let name = stream_name("$LATEST", 1_710_356_184_046, uuid::Uuid::from_u128(10));
        assert_eq!(name, "2024/03/13/[$LATEST]0000000000000000000000000000000a");
    }

    #[test]
    fn lines_are_batched_in_order() {
        let (mut log, mut receiver) = log(LogFormat::Text, 4);
        log.platform(&START);
        log.line("hello");
        assert!(receiver.try_recv().is_err());
        log.flush();
        assert_eq!(messages(&mut receiver), ["START RequestId: id Version: 7", "hello"]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (mut log, mut receiver) = log(LogFormat::Text, 1);
        for line in ["one", "two", "three"] {
            log.line(line);
            log.flush();
        }
        assert_eq!(messages(&mut receiver), ["one"]);
        log.line("four");
        log.flush();
        let dropped = "2 log lines were dropped: they came faster than they are stored";
        assert_eq!(messages(&mut receiver), [dropped, "four"]);
    }

    #[test]
    fn the_tail_is_the_last_4_kib() {
        let (mut log, _receiver) = log(LogFormat::Text, 1000);
        log.line("before");
        log.keep_tail(true);
        for number in 0..1000 {
            log.line(&format!("line {number:04}"));
        }
        let tail = log.take_tail().unwrap();
        assert_eq!(tail.len(), 4096);
        assert!(tail.ends_with(b"line 0998\nline 0999\n"));
        assert_eq!(log.take_tail(), None);
    }

    #[test]
    fn json_logs_hold_records() {
        let (mut log, mut receiver) = log(LogFormat::Json, 4);
        log.platform(&START);
        log.text(|| "END".to_owned());
        log.flush();
        let lines = messages(&mut receiver);
        let record: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(record["type"], "platform.start");
        assert_eq!(record["record"]["requestId"], "id");
    }

    #[test]
    fn only_levels_below_are_left_out() {
        let info = level_rank("INFO").unwrap();
        assert!(is_below(r#"{"level":"debug","message":"x"}"#, info));
        assert!(!is_below(r#"{"level":"ERROR"}"#, info));
        assert!(!is_below(r#"{"message":"x"}"#, info));
        assert!(!is_below("DEBUG plain", info));
        assert!(!is_below("{not json", info));
    }
}
