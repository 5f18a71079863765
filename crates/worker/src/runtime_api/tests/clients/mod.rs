//! The three official runtime clients, unmodified, as processes of their own.

mod tools;

use super::environment::{Environment, PATIENCE, invocation, streaming};
use crate::runtime_api::{RuntimeAnswer, RuntimeEvent, StreamEnd};
use api::{Body, Invocation};
use bytes::Bytes;
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PYTHON: &str = r#"
import json

def handler(event, context):
    if "fail" in event:
        raise ValueError(event["fail"])
    assert 0 < context.get_remaining_time_in_millis() <= 60000
    return {"echo": event, "id": context.aws_request_id, "arn": context.invoked_function_arn}
"#;

const NODE: &str = r#"
export const handler = async (event, context) => {
  if ("fail" in event) throw new RangeError(event.fail);
  return { echo: event, id: context.awsRequestId, arn: context.invokedFunctionArn };
};

export const stream = awslambda.streamifyResponse(async (event, output) => {
  output.setContentType("text/plain");
  for (let line = 0; line < event.stream; line++) output.write(`line ${line}\n`);
  if ("fail" in event) throw new RangeError(event.fail);
  output.end();
});
"#;

/// A runtime's process; it ends with the test, however that ends.
struct Runtime(Child);

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a runtime in a directory of its own, and waits until it is idle.
async fn started(mut command: Command, file: &str, code: &str) -> (Environment, Runtime, tempfile::TempDir) {
    let mut environment = Environment::start().await;
    let (runtime, directory) = spawn(&mut command, &environment, file, code);
    environment
        .expect(&[RuntimeEvent::RuntimeReady, RuntimeEvent::AllIdle])
        .await;
    (environment, runtime, directory)
}

fn spawn(command: &mut Command, environment: &Environment, file: &str, code: &str) -> (Runtime, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(file), code).unwrap();
    let child = command
        .current_dir(directory.path())
        .env("AWS_LAMBDA_RUNTIME_API", environment.address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "hello")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/hello")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_REGION", "eu-central-1")
        .env("LAMBDA_TASK_ROOT", directory.path())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    (Runtime(child), directory)
}

fn deadline_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap() + 60_000
}

async fn invoke(environment: &Environment, event: &Invocation) -> RuntimeAnswer {
    let answer = environment.api.deliver(event, deadline_ms()).unwrap();
    timeout(PATIENCE, answer).await.unwrap().unwrap()
}

async fn check_echo(environment: &mut Environment, id: &str) {
    let payload = json!({"key": ["gr\u{fc}n", 1.5, null]});
    let event = invocation(id, &payload.to_string());
    let answer = invoke(environment, &event).await;
    let RuntimeAnswer::Response {
        content_type,
        body: Body::Whole(body),
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!(content_type.starts_with("application/json"), "{content_type}");
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(said, json!({"echo": payload, "id": id, "arn": event.arn}));
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
}

/// The error's payload. Its type is in there: for errors of a function these clients send no header for it.
async fn check_error(environment: &mut Environment) -> Value {
    let answer = invoke(environment, &invocation("fails", r#"{"fail":"no such luck"}"#)).await;
    let RuntimeAnswer::Error { body, .. } = answer else {
        panic!("{answer:?}");
    };
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errorMessage"], "no such luck");
    body
}

async fn check_init_error(mut command: Command, file: &str, code: &str, error_type: &str) {
    let mut environment = Environment::start().await;
    let _running = spawn(&mut command, &environment, file, code);
    let event = environment.event().await;
    let RuntimeEvent::InitError {
        error_type: found,
        body,
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(found.as_deref(), Some(error_type));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errorType"], error_type);
}

/// All pieces of a streamed answer, and its end.
async fn streamed(environment: &mut Environment, payload: &Value) -> (String, Bytes, StreamEnd) {
    let answer = invoke(environment, &streaming("streams", &payload.to_string())).await;
    let RuntimeAnswer::Response {
        content_type,
        body: Body::Stream(pieces),
        end: Some(end),
    } = answer
    else {
        panic!("{answer:?}");
    };
    let body = timeout(PATIENCE, joined(pieces)).await.unwrap();
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
    (content_type, body, end.await.unwrap())
}

async fn joined(mut pieces: mpsc::Receiver<Bytes>) -> Bytes {
    let mut body = Vec::new();
    while let Some(piece) = pieces.recv().await {
        body.extend_from_slice(&piece);
    }
    Bytes::from(body)
}

fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line}\n")).collect()
}

#[tokio::test]
async fn awslambdaric_echoes_and_fails() {
    let (mut environment, _runtime, _directory) = started(tools::python("app.handler"), "app.py", PYTHON).await;
    check_echo(&mut environment, "one").await;
    let body = check_error(&mut environment).await;
    assert_eq!(body["errorType"], "ValueError");
    assert!(body["stackTrace"][0].as_str().unwrap().contains("raise ValueError"));
    check_echo(&mut environment, "two").await;
}

#[tokio::test]
async fn awslambdaric_reports_a_module_that_cannot_be_imported() {
    check_init_error(
        tools::python("app.handler"),
        "app.py",
        "import nothing_like_that",
        "Runtime.ImportModuleError",
    )
    .await;
}

#[tokio::test]
async fn aws_lambda_ric_echoes_and_fails() {
    let (mut environment, _runtime, _directory) = started(tools::node("app.handler"), "app.mjs", NODE).await;
    check_echo(&mut environment, "one").await;
    let body = check_error(&mut environment).await;
    assert_eq!(body["errorType"], "RangeError");
    assert!(body["trace"][0].as_str().unwrap().contains("no such luck"));
    check_echo(&mut environment, "two").await;
}

#[tokio::test]
async fn aws_lambda_ric_streams_and_fails_on_the_way() {
    let (mut environment, _runtime, _directory) = started(tools::node("app.stream"), "app.mjs", NODE).await;
    let (content_type, body, end) = streamed(&mut environment, &json!({"stream": 100})).await;
    assert_eq!(
        (content_type.as_str(), body, end),
        ("text/plain", lines(100).into(), StreamEnd::Complete)
    );
    let (_, body, end) = streamed(&mut environment, &json!({"stream": 2, "fail": "half way"})).await;
    assert_eq!(body, lines(2));
    let StreamEnd::Error { error_type, body } = end else {
        panic!("{end:?}");
    };
    assert_eq!(error_type, "RangeError");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errorMessage"], "half way");
}

#[tokio::test]
async fn aws_lambda_ric_reports_a_module_that_is_not_there() {
    check_init_error(tools::node("app.handler"), "other.mjs", "", "Runtime.ImportModuleError").await;
}

#[tokio::test]
async fn lambda_runtime_echoes_fails_and_streams() {
    let (mut environment, _runtime, _directory) = started(tools::rust(), "none", "").await;
    check_echo(&mut environment, "one").await;
    let body = check_error(&mut environment).await;
    assert!(body["errorType"].as_str().is_some_and(|kind| !kind.is_empty()));
    // The official runtime puts status and headers before a streamed body, ended by eight zeros.
    let (content_type, body, end) = streamed(&mut environment, &json!({"stream": 1000})).await;
    assert_eq!(
        (content_type.as_str(), end),
        (
            "application/vnd.awslambda.http-integration-response",
            StreamEnd::Complete
        )
    );
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (prelude, streamed) = text.split_once("\0\0\0\0\0\0\0\0").unwrap();
    assert_eq!(serde_json::from_str::<Value>(prelude).unwrap()["statusCode"], 200);
    assert_eq!(streamed, lines(1000));
    check_echo(&mut environment, "two").await;
}

#[tokio::test]
async fn lambda_runtime_takes_several_events_at_once() {
    let mut environment = Environment::of_many(3).await;
    let mut command = tools::rust();
    command.env("AWS_LAMBDA_MAX_CONCURRENCY", "3");
    let (_runtime, _directory) = spawn(&mut command, &environment, "none", "");
    environment
        .expect(&[RuntimeEvent::RuntimeReady, RuntimeEvent::AllIdle])
        .await;
    for round in 0..3 {
        let answers = ["a", "b", "c"].map(|id| {
            let id = format!("{id}-{round}");
            let event = invocation(&id, r#"{"together":3}"#);
            (id, environment.api.deliver(&event, deadline_ms()).unwrap())
        });
        for (id, answer) in answers {
            let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
            let RuntimeAnswer::Response {
                body: Body::Whole(body),
                ..
            } = answer
            else {
                panic!("{answer:?}");
            };
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["id"], id);
        }
    }
}
