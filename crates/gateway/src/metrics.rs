//! What `/metrics` shows, in the words of Prometheus.

use crate::invocation::Found;
use ::metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder as _, SharedString};
use api::{ColdStart, WorkerReport};
use control::is_restore;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt;
use std::time::Duration;

/// Edges of the histograms of time, in seconds: from a warm invocation of a trivial handler (under 1 ms) to a model that
/// takes a minute to load, about two and a half for each power of ten.
const TIME_BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

static METADATA: Metadata<'static> = Metadata::new("gateway", Level::INFO, None);

/// Counters and histograms of one gateway.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    invoke_time: Histogram,
    invoke_ok: Counter,
    cache_hit: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // It refuses an empty list alone.
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), TIME_BUCKETS)
            .expect("the list of buckets is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let invoke_ok = recorder.register_counter(&requests_key("Invoke", 200), &METADATA);
        let cache_hit = recorder.register_counter(&cache_key(Found::Hit), &METADATA);
        let invoke_time = recorder.register_histogram(&Key::from_name("lambent_invoke_seconds"), &METADATA);
        let this = Self {
            recorder,
            handle,
            invoke_time,
            invoke_ok,
            cache_hit,
        };
        this.describe();
        this
    }

    fn describe(&self) {
        let text = SharedString::const_str;
        let recorder = &self.recorder;
        recorder.describe_counter(
            "lambent_requests_total".into(),
            None,
            text("Requests by operation and HTTP status."),
        );
        recorder.describe_counter(
            "lambent_asynchronous_events_total".into(),
            None,
            text("Asynchronous events that have ended, by condition."),
        );
        recorder.describe_counter(
            "lambent_deliveries_total".into(),
            None,
            text("Tries to tell destinations and dead-letter queues, by kind and result."),
        );
        recorder.describe_counter(
            "lambent_event_source_messages_total".into(),
            None,
            text("Messages of event source mappings, by result."),
        );
        recorder.describe_histogram(
            "lambent_invoke_seconds".into(),
            None,
            text("Time from a request to its answer."),
        );
        recorder.describe_histogram(
            "lambent_cold_start_seconds".into(),
            None,
            text("Time of a cold start by part; `total` is from the request to the runtime's first `next`."),
        );
        recorder.describe_counter(
            "lambent_cold_start_bytes_total".into(),
            None,
            text("Stored bytes of chunks that cold starts read, by tier."),
        );
        for (name, what) in [
            (
                "lambent_snapshots_total",
                "Snapshots of versions that were to be taken, by result: on, off, failed.",
            ),
            ("lambent_restores_total", "Cold starts that went on from a snapshot."),
            (
                "lambent_restore_fall_backs_total",
                "Cold starts that initialised although their version has a snapshot.",
            ),
            (
                "lambent_slower_restores_total",
                "Versions whose restores turned out slower than those of the one before.",
            ),
        ] {
            recorder.describe_counter(name.into(), None, text(what));
        }
        recorder.describe_counter(
            "lambent_response_cache_total".into(),
            None,
            text("Requests of functions with a response cache, by what it had: hit, miss, shared."),
        );
        recorder.describe_gauge(
            "lambent_response_cache_bytes".into(),
            None,
            text("Bytes that the response cache holds."),
        );
        recorder.describe_counter(
            "lambent_batches_total".into(),
            None,
            text("Lists that were handed to handlers by micro-batching."),
        );
        recorder.describe_counter(
            "lambent_batched_requests_total".into(),
            None,
            text("Requests in those lists."),
        );
        recorder.describe_gauge("lambent_environments".into(), None, text("Environments by state."));
        recorder.describe_counter(
            "lambent_environments_started_total".into(),
            None,
            text("Environments started."),
        );
    }

    /// One request and its answer's status.
    pub(crate) fn request(&self, operation: &'static str, status: u16) {
        // The one that must be cheap does not go through a table.
        if status == 200 && operation == "Invoke" {
            self.invoke_ok.increment(1);
        } else {
            self.recorder
                .register_counter(&requests_key(operation, status), &METADATA)
                .increment(1);
        }
    }

    /// How long an invocation took, from request to answer.
    pub(crate) fn invoked(&self, took: Duration) {
        self.invoke_time.record(took);
    }

    /// An asynchronous event that has ended.
    pub(crate) fn asynchronous_event(&self, condition: &'static str) {
        let labels = vec![Label::new("condition", condition)];
        let key = Key::from_parts("lambent_asynchronous_events_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// A try to tell a destination: `delivered`, `retried` or `failed`.
    pub(crate) fn delivery(&self, kind: &'static str, result: &'static str) {
        let labels = vec![Label::new("kind", kind), Label::new("result", result)];
        let key = Key::from_parts("lambent_deliveries_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Messages of an event source: `invoked`, `deleted`, `filtered` or `returned`.
    pub(crate) fn event_source(&self, result: &'static str, messages: usize) {
        let key = Key::from_parts(
            "lambent_event_source_messages_total",
            vec![Label::new("result", result)],
        );
        self.recorder
            .register_counter(&key, &METADATA)
            .increment(messages as u64);
    }

    /// How the response cache stood to a request.
    pub(crate) fn response_cache(&self, found: Found) {
        // As above.
        if found == Found::Hit {
            self.cache_hit.increment(1);
        } else {
            self.recorder
                .register_counter(&cache_key(found), &METADATA)
                .increment(1);
        }
    }

    /// What the response cache holds.
    pub(crate) fn response_cache_bytes(&self, bytes: u64) {
        let key = Key::from_name("lambent_response_cache_bytes");
        self.recorder.register_gauge(&key, &METADATA).set(as_f64(bytes));
    }

    /// A list of so many requests went to a handler.
    pub(crate) fn batch(&self, requests: usize) {
        for (name, count) in [
            ("lambent_batches_total", 1),
            ("lambent_batched_requests_total", requests),
        ] {
            self.recorder
                .register_counter(&Key::from_name(name), &METADATA)
                .increment(count as u64);
        }
    }

    /// What became of a snapshot that was to be taken: `on`, `off` or `failed`.
    pub(crate) fn snapshot(&self, result: &'static str) {
        let labels = vec![Label::new("result", result)];
        let key = Key::from_parts("lambent_snapshots_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// A version turned out to restore slower than the one before it.
    pub(crate) fn slower_restores(&self) {
        self.count("lambent_slower_restores_total");
    }

    fn count(&self, name: &'static str) {
        self.recorder
            .register_counter(&Key::from_name(name), &METADATA)
            .increment(1);
    }

    /// The parts of a cold start.
    pub(crate) fn cold_start(&self, start: &ColdStart) {
        if is_restore(start) {
            self.count("lambent_restores_total");
        }
        if start.fell_back.is_some() {
            self.count("lambent_restore_fall_backs_total");
        }
        self.cold_start_part("total", start.total_us);
        for part in &start.parts {
            self.cold_start_part(&part.name, part.took_us);
        }
        for tier in &start.tiers {
            let labels = vec![Label::new("tier", tier.tier.clone())];
            let key = Key::from_parts("lambent_cold_start_bytes_total", labels);
            self.recorder.register_counter(&key, &METADATA).increment(tier.bytes);
        }
    }

    fn cold_start_part(&self, part: &str, took_us: u64) {
        let key = Key::from_parts("lambent_cold_start_seconds", vec![Label::new("part", part.to_owned())]);
        self.recorder
            .register_histogram(&key, &METADATA)
            .record(Duration::from_micros(took_us));
    }

    /// The text of `/metrics`.
    pub(crate) fn render(&self, report: WorkerReport) -> String {
        for (state, count) in [
            ("idle", report.idle),
            ("busy", report.busy),
            ("starting", report.starting),
        ] {
            let key = Key::from_parts("lambent_environments", vec![Label::new("state", state)]);
            self.recorder.register_gauge(&key, &METADATA).set(as_f64(count));
        }
        let started = Key::from_name("lambent_environments_started_total");
        self.recorder
            .register_counter(&started, &METADATA)
            .absolute(report.started);
        self.handle.render()
    }

    /// Moves what was measured into the histograms' buckets; without it the samples pile up between two renderings.
    pub(crate) fn settle(&self) {
        self.handle.run_upkeep();
    }
}

fn cache_key(found: Found) -> Key {
    Key::from_parts("lambent_response_cache_total", vec![Label::new("result", found.text())])
}

fn requests_key(operation: &'static str, status: u16) -> Key {
    let labels = vec![
        Label::new("operation", operation),
        Label::new("status", status.to_string()),
    ];
    Key::from_parts("lambent_requests_total", labels)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of environments, or of bytes in memory, is far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{StartPart, TierBytes};

    #[test]
    fn all_that_happens_is_shown() {
        let metrics = Metrics::new();
        metrics.request("Invoke", 200);
        metrics.request("Invoke", 200);
        metrics.request("CreateFunction", 409);
        metrics.invoked(Duration::from_micros(700));
        let part = StartPart::new("mount", Duration::ZERO, Duration::from_millis(3));
        let tier = TierBytes {
            tier: "disk".to_owned(),
            chunks: 2,
            bytes: 512,
        };
        metrics.cold_start(&ColdStart {
            begin_ms: 0,
            parts: vec![part],
            total_us: 40_000,
            tiers: vec![tier],
            fell_back: None,
        });
        let restore = StartPart::new("restore", Duration::ZERO, Duration::from_millis(30));
        metrics.cold_start(&ColdStart {
            parts: vec![restore],
            total_us: 50_000,
            ..ColdStart::default()
        });
        metrics.cold_start(&ColdStart {
            total_us: 300_000,
            fell_back: Some("another processor".to_owned()),
            ..ColdStart::default()
        });
        metrics.snapshot("on");
        metrics.slower_restores();
        let text = metrics.render(WorkerReport {
            idle: 4,
            busy: 1,
            starting: 0,
            started: 9,
        });
        for line in [
            r#"lambent_requests_total{operation="Invoke",status="200"} 2"#,
            r#"lambent_requests_total{operation="CreateFunction",status="409"} 1"#,
            r#"lambent_invoke_seconds_bucket{le="0.001"} 1"#,
            r#"lambent_cold_start_seconds_bucket{part="mount",le="0.005"} 1"#,
            r#"lambent_cold_start_seconds_bucket{part="total",le="0.025"} 0"#,
            r#"lambent_cold_start_bytes_total{tier="disk"} 512"#,
            r#"lambent_environments{state="idle"} 4"#,
            "lambent_environments_started_total 9",
            r#"lambent_snapshots_total{result="on"} 1"#,
            "lambent_restores_total 1",
            "lambent_restore_fall_backs_total 1",
            "lambent_slower_restores_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
