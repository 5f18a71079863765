//! Runtime API: events, whole responses, errors.

use super::environment::{Answer, Connection, Environment, NEXT, invocation, post, response};
use crate::runtime_api::{DeliverError, RESPONSE_BYTES_MAX, RuntimeAnswer, RuntimeEvent};
use api::{Body, Invocation};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;

/// An environment whose runtime has the event `a`.
async fn given() -> (Environment, Connection, oneshot::Receiver<RuntimeAnswer>) {
    let (environment, mut runtime) = Environment::polling().await;
    let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    assert_eq!(runtime.answer().await.status, 200);
    (environment, runtime, answer)
}

async fn whole(answer: oneshot::Receiver<RuntimeAnswer>) -> (String, Bytes) {
    match answer.await.unwrap() {
        RuntimeAnswer::Response {
            content_type,
            body: Body::Whole(body),
            end: None,
        } => (content_type, body),
        other => panic!("{other:?}"),
    }
}

fn check_accepted(answer: &Answer) {
    assert_eq!((answer.status, answer.json()), (202, json!({"status": "OK"})));
}

#[tokio::test]
async fn an_event_comes_with_its_headers_and_its_response_is_passed_on() {
    let (mut environment, mut runtime) = Environment::polling().await;
    let event = Invocation {
        client_context: Some("{\n\"custom\":{\"key\":\"gr\u{fc}n\"}}".to_owned()),
        ..invocation("id-1", r#"{"a":1}"#)
    };
    let answer = environment.api.deliver(&event, 1_700_000_000_123).unwrap();
    let received = runtime.answer().await;
    assert_eq!((received.status, &received.body[..]), (200, &br#"{"a":1}"#[..]));
    for (name, value) in [
        ("Lambda-Runtime-Aws-Request-Id", "id-1"),
        ("Lambda-Runtime-Deadline-Ms", "1700000000123"),
        ("Lambda-Runtime-Invoked-Function-Arn", event.arn.as_str()),
        ("Lambda-Runtime-Trace-Id", event.trace_id.as_str()),
        ("Lambda-Runtime-Client-Context", "{ \"custom\":{\"key\":\"gr\u{fc}n\"}}"),
        ("Content-Type", "application/json"),
    ] {
        assert_eq!(received.header(name), Some(value));
    }
    assert_eq!(received.header("Lambda-Runtime-Cognito-Identity"), None);
    let path = "/2018-06-01/runtime/invocation/id-1/response";
    runtime.send(&post(path, "Content-Type: text/plain\r\n", "hello")).await;
    check_accepted(&runtime.answer().await);
    assert_eq!(whole(answer).await, ("text/plain".to_owned(), Bytes::from("hello")));
    environment.expect_silence();
    runtime.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
}

#[tokio::test]
async fn thousands_of_events_pass_one_connection() {
    let (mut environment, mut runtime) = Environment::polling().await;
    for number in 0..2000 {
        let id = format!("id-{number}");
        let answer = environment.api.deliver(&invocation(&id, "{}"), 1).unwrap();
        assert_eq!(
            runtime.answer().await.header("Lambda-Runtime-Aws-Request-Id"),
            Some(id.as_str())
        );
        runtime.send(&response(&id, &id)).await;
        check_accepted(&runtime.answer().await);
        assert_eq!(whole(answer).await, ("application/json".to_owned(), Bytes::from(id)));
        runtime.send(NEXT).await;
        environment
            .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
            .await;
    }
}

#[tokio::test]
async fn answers_of_no_current_invocation_are_refused() {
    let (mut environment, mut runtime, answer) = given().await;
    assert_eq!(
        environment.api.deliver(&invocation("b", "{}"), 1).unwrap_err(),
        DeliverError::Busy
    );
    environment
        .call(&response("other", "1"))
        .await
        .check_error(400, "InvalidRequestID");
    environment.call(&response("a", "1")).await;
    environment
        .call(&response("a", "2"))
        .await
        .check_error(403, "InvalidStateTransition");
    assert_eq!(whole(answer).await.1, "1");
    runtime.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
    environment
        .call(&response("a", "3"))
        .await
        .check_error(400, "InvalidRequestID");
}

#[tokio::test]
async fn a_failed_invocation_takes_no_answer() {
    let (mut environment, mut runtime, answer) = given().await;
    environment.api.fail_invocation("other");
    environment.api.fail_invocation("a");
    assert!(answer.await.is_err());
    runtime.send(&response("a", "late")).await;
    runtime.answer().await.check_error(400, "InvalidRequestID");
    runtime.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
    assert!(environment.api.deliver(&invocation("b", "{}"), 1).is_ok());
    assert_eq!(
        runtime.answer().await.header("Lambda-Runtime-Aws-Request-Id"),
        Some("b")
    );
}

#[tokio::test]
async fn an_event_survives_a_runtime_that_hangs_up() {
    let (environment, runtime) = Environment::polling().await;
    drop(runtime);
    // Before or after the server has noticed: the event waits for the next poll.
    let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    let received = environment.call(NEXT).await;
    assert_eq!(received.header("Lambda-Runtime-Aws-Request-Id"), Some("a"));
    // Asked again without an answer, it is given again.
    let received = environment.call(NEXT).await;
    assert_eq!(received.header("Lambda-Runtime-Aws-Request-Id"), Some("a"));
    check_accepted(&environment.call(&response("a", "1")).await);
    assert_eq!(whole(answer).await.1, "1");
}

#[tokio::test]
async fn the_newer_of_two_polls_gets_the_event() {
    let (environment, mut older) = Environment::polling().await;
    let mut newer = environment.connect().await;
    newer.send(NEXT).await;
    older.answer().await.check_error(403, "InvalidStateTransition");
    let _answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    assert_eq!(newer.answer().await.status, 200);
}

#[tokio::test]
async fn a_response_may_have_six_mebibytes_and_a_hundred_bytes() {
    let (mut environment, mut runtime) = Environment::polling().await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (extra, chunks) in [(0, false), (1, false), (0, true), (1, true)] {
        let bytes = RESPONSE_BYTES_MAX + extra;
        let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
        runtime.answer().await;
        let path = "/2018-06-01/runtime/invocation/a/response";
        let body = "x".repeat(bytes);
        runtime
            .send(&if chunks {
                format!("POST {path} HTTP/1.1\r\nHost: x\r\n{chunked}\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n")
            } else {
                post(path, "", &body)
            })
            .await;
        let said = runtime.answer().await;
        if extra == 0 {
            check_accepted(&said);
            assert_eq!(whole(answer).await.1.len(), bytes);
        } else {
            said.check_error(413, "RequestEntityTooLarge");
            assert!(matches!(answer.await.unwrap(), RuntimeAnswer::TooLarge));
        }
        runtime.send(NEXT).await;
        environment
            .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
            .await;
    }
}

#[tokio::test]
async fn a_broken_response_is_truncated() {
    let (_environment, mut runtime, answer) = given().await;
    runtime
        .send("POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        .await;
    drop(runtime);
    assert!(matches!(answer.await.unwrap(), RuntimeAnswer::Truncated));
}

#[tokio::test]
async fn an_unknown_response_mode_is_refused() {
    let (_environment, mut runtime, answer) = given().await;
    let path = "/2018-06-01/runtime/invocation/a/response";
    let header = "Lambda-Runtime-Function-Response-Mode: dripping\r\n";
    runtime.send(&post(path, header, "{}")).await;
    runtime.answer().await.check_error(400, "InvalidFunctionResponseMode");
    assert!(matches!(answer.await.unwrap(), RuntimeAnswer::InvalidResponseMode));
}

#[tokio::test]
async fn errors_are_passed_on_as_they_are() {
    let path = "/2018-06-01/runtime/invocation/a/error";
    let header = "Lambda-Runtime-Function-Error-Type: Function.Bad\r\n";
    let said = r#"{"errorMessage":"no","errorType":"Bad","stackTrace":[]}"#;
    let made = |error_type: &str| {
        let message = "the runtime reported an error and gave no details";
        json!({"errorType": error_type, "errorMessage": message}).to_string()
    };
    for (headers, sent, error_type, body) in [
        (header, said, Some("Function.Bad"), said.to_owned()),
        (header, "", Some("Function.Bad"), made("Function.Bad")),
        ("", "", None, made("Runtime.Unknown")),
        ("", "not JSON", None, "not JSON".to_owned()),
    ] {
        let (_environment, mut runtime, answer) = given().await;
        runtime.send(&post(path, headers, sent)).await;
        check_accepted(&runtime.answer().await);
        let RuntimeAnswer::Error {
            error_type: found,
            body: passed,
        } = answer.await.unwrap()
        else {
            panic!("not an error");
        };
        assert_eq!((found.as_deref(), passed), (error_type, Bytes::from(body)));
    }
}

#[tokio::test]
async fn a_failed_initialisation_is_reported() {
    let mut environment = Environment::start().await;
    let header = "Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError\r\n";
    let request = post("/2018-06-01/runtime/init/error", header, r#"{"errorMessage":"no app"}"#);
    check_accepted(&environment.call(&request).await);
    environment
        .expect(&[RuntimeEvent::InitError {
            error_type: Some("Runtime.ImportModuleError".to_owned()),
            body: Bytes::from(r#"{"errorMessage":"no app"}"#),
        }])
        .await;
    environment
        .call(&request)
        .await
        .check_error(403, "InvalidStateTransition");
    environment.call(NEXT).await.check_error(403, "InvalidStateTransition");
    assert_eq!(
        environment.api.deliver(&invocation("a", "{}"), 1).unwrap_err(),
        DeliverError::InitFailed
    );
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let environment = Environment::start().await;
    for (method, path, status, error_type) in [
        ("GET", "/", 404, "NotFound"),
        ("GET", "/2018-06-01/runtime/restore/next", 404, "NotFound"),
        ("POST", "/2018-06-01/runtime/restore/error", 404, "NotFound"),
        ("POST", "/2018-06-01/runtime/invocation/a/b/response", 404, "NotFound"),
        ("POST", "/2018-06-01/runtime/invocation/next", 405, "MethodNotAllowed"),
        (
            "GET",
            "/2018-06-01/runtime/invocation/a/response",
            405,
            "MethodNotAllowed",
        ),
        ("GET", "/2020-01-01/extension/register", 405, "MethodNotAllowed"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        environment.call(&request).await.check_error(status, error_type);
    }
    let pong = environment
        .call("GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!((pong.status, &pong.body[..]), (200, &b"pong"[..]));
}
