//! A worker that does what the event says, so that a client can drive every path of the gateway.

use api::{
    Body, ColdStart, Ending, ErrorMark, Invocation, InvokeError, Lease, ProvisionReport, ProvisionTarget, Reply,
    Report, SnapshotFailure, StartPart, TakenSnapshot, Worker, WorkerReport,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Runs no function: it plays one.
#[derive(Debug)]
pub(crate) struct PlayingWorker {
    tries: Mutex<HashMap<String, u32>>,
    /// One permit lets one `hold` go.
    gate: Semaphore,
    /// Whether `hold` waits at all.
    holds: bool,
}

impl PlayingWorker {
    pub(crate) fn new(holds: bool) -> Self {
        Self {
            tries: Mutex::default(),
            gate: Semaphore::new(0),
            holds,
        }
    }

    fn count(&self, request_id: &str) -> u32 {
        let mut tries = self.tries.lock().expect("nobody panics while holding this lock");
        let count = tries.entry(request_id.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn tries_of(&self, request_id: &str) -> u32 {
        self.tries
            .lock()
            .expect("nobody panics while holding this lock")
            .get(request_id)
            .copied()
            .unwrap_or(0)
    }
}

#[async_trait]
impl Worker for PlayingWorker {
    async fn invoke(&self, lease: Arc<Lease>, invocation: Invocation) -> Result<Reply, InvokeError> {
        let event: Value = serde_json::from_slice(&invocation.payload).unwrap_or_default();
        let tries = self.count(&invocation.request_id);
        match event["do"]
            .as_str()
            .or(event["queryStringParameters"]["do"].as_str())
            .unwrap_or("echo")
        {
            "answer" => Ok(whole(event["answer"].to_string())),
            "raise" => Ok(failed(&event)),
            "stream" => Ok(streamed(&event, None)),
            "stream-fail" => Ok(streamed(&event, Some("Function.Broke"))),
            "http-stream" => Ok(http_streamed()),
            "no-capacity" => Err(InvokeError::NoCapacity("memory".to_owned())),
            "cannot-start" => Err(InvokeError::CannotStart {
                function: lease.function.name.clone(),
                reason: "mount".to_owned(),
            }),
            "entrypoint" => Err(InvokeError::InvalidEntrypoint {
                program: "/nowhere".to_owned(),
                reason: "no such file or directory".to_owned(),
            }),
            "fail-first" if u64::from(tries) <= event["times"].as_u64().unwrap_or(0) => Ok(failed(&event)),
            "refuse-first" if u64::from(tries) <= event["times"].as_u64().unwrap_or(0) => {
                Err(InvokeError::NoCapacity("memory".to_owned()))
            }
            "tries" => Ok(whole(
                self.tries_of(event["of"].as_str().unwrap_or_default()).to_string(),
            )),
            "hold" => {
                if self.holds {
                    self.gate.acquire().await.expect("the gate is never closed").forget();
                }
                Ok(whole("\"held\"".to_owned()))
            }
            "release" => {
                self.gate.add_permits(1);
                Ok(whole("\"released\"".to_owned()))
            }
            _ => Ok(whole(echo(&lease, &invocation, &event).to_string())),
        }
    }

    async fn retire(&self, _arn: &str, _revisions_kept: &[String]) {}

    async fn provision(&self, _arn: &str, _targets: Vec<ProvisionTarget>) {}

    fn provisioned(&self, _arn: Option<&str>) -> Vec<ProvisionReport> {
        Vec::new()
    }

    async fn provisioned_changed(&self, seen: u64) -> u64 {
        if seen != 0 {
            std::future::pending::<()>().await;
        }
        1
    }

    /// As the function's variable SNAPSHOT says.
    async fn snapshot(&self, lease: Arc<Lease>) -> Result<TakenSnapshot, SnapshotFailure> {
        let mut variables = lease.program.environment.iter();
        let wish = variables.find(|(name, _)| name == "SNAPSHOT");
        match wish.map_or("", |(_, value)| value.as_str()) {
            "taken" => Ok(taken()),
            "taken-second" if self.count(&lease.revision) > 1 => Ok(taken()),
            "taken-second" => Err(SnapshotFailure::Worker {
                reason: "the disk is full".to_owned(),
            }),
            "failed" => Err(SnapshotFailure::Init {
                error_type: "Runtime.ExitError".to_owned(),
                message: "exit status 1".to_owned(),
            }),
            _ => Err(SnapshotFailure::Unsuitable {
                reason: "this worker plays".to_owned(),
            }),
        }
    }

    fn report(&self) -> WorkerReport {
        WorkerReport {
            idle: 1,
            busy: 0,
            starting: 0,
            started: 1,
        }
    }
}

/// A snapshot of nothing.
fn taken() -> TakenSnapshot {
    let directory = tempfile::tempdir().expect("a directory can be made").keep();
    std::fs::write(directory.join("pages-1.img"), b"memory").expect("a file can be made");
    TakenSnapshot {
        directory,
        memory_bytes: 6,
        init: Duration::from_millis(900),
        checkpoint: Duration::from_millis(80),
        processor: "made-up".to_owned(),
    }
}

fn echo(lease: &Lease, invocation: &Invocation, event: &Value) -> Value {
    json!({
        "event": event, "arn": invocation.arn, "version": lease.function.version, "name": lease.function.name,
        "clientContext": invocation.client_context, "requestId": invocation.request_id, "traceId": invocation.trace_id,
    })
}

fn ending(error: Option<(ErrorMark, String, String)>) -> Ending {
    let part = StartPart::new("mount", Duration::ZERO, Duration::from_millis(3));
    let cold_start = ColdStart {
        begin_ms: 1,
        parts: vec![part],
        total_us: 40_000,
        tiers: Vec::new(),
        fell_back: None,
    };
    let report = Report {
        cold_start: Some(cold_start),
        ..Report::default()
    };
    Ending {
        error,
        log_tail: Some(Bytes::from_static(b"REPORT the end")),
        report,
    }
}

fn over(error: Option<(ErrorMark, String, String)>) -> oneshot::Receiver<Ending> {
    let (sender, receiver) = oneshot::channel();
    sender.send(ending(error)).expect("the receiver is right here");
    receiver
}

fn whole(body: String) -> Reply {
    Reply {
        content_type: "application/json".to_owned(),
        body: Body::Whole(body.into()),
        ending: over(None),
        error: None,
    }
}

fn failed(event: &Value) -> Reply {
    let kind = event["kind"].as_str().unwrap_or("ValueError").to_owned();
    let body = json!({ "errorType": kind, "errorMessage": "no" }).to_string();
    Reply {
        content_type: "application/json".to_owned(),
        body: Body::Whole(body.into()),
        ending: over(Some((ErrorMark::Unhandled, kind, "no".to_owned()))),
        error: Some(ErrorMark::Unhandled),
    }
}

fn streamed(event: &Value, failure: Option<&str>) -> Reply {
    let pieces = event["pieces"].as_array().cloned().unwrap_or_default();
    let pieces = pieces
        .into_iter()
        .map(|piece| Bytes::from(piece.as_str().unwrap_or_default().to_owned()))
        .collect();
    let error = failure.map(|kind| (ErrorMark::Unhandled, kind.to_owned(), "half way".to_owned()));
    stream_of("text/plain", pieces, error)
}

fn http_streamed() -> Reply {
    let head = r#"{"statusCode":206,"headers":{"X-Streamed":"yes"},"cookies":["a=b"]}"#;
    let first = [head.as_bytes(), &[0; 5]].concat();
    let pieces = vec![
        Bytes::from(first),
        Bytes::from_static(b"\0\0\0one,"),
        Bytes::from_static(b"two"),
    ];
    stream_of("application/vnd.awslambda.http-integration-response", pieces, None)
}

fn stream_of(content_type: &str, pieces: Vec<Bytes>, error: Option<(ErrorMark, String, String)>) -> Reply {
    let (sender, receiver) = mpsc::channel(1);
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let _ = end.send(ending(error));
    });
    Reply {
        content_type: content_type.to_owned(),
        body: Body::Stream(receiver),
        ending: ended,
        error: None,
    }
}

/// The Python that `cargo xtask setup` makes, with boto3.
pub(crate) fn python() -> std::path::PathBuf {
    let from = |name: &str, below: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(std::path::Path::new(&value).join(below))
    };
    let cache = from("LAMBENT_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "lambent"))
        .or_else(|| from("HOME", ".cache/lambent"));
    let python = cache
        .expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set")
        .join("venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    python
}
