//! Runtime API: responses that stream.

use super::environment::{Connection, Environment, NEXT, PATIENCE, invocation, streaming};
use crate::runtime_api::{RESPONSE_BYTES_MAX, RuntimeAnswer, RuntimeEvent, STREAM_BYTES_MAX, StreamEnd};
use api::{Body, Invocation};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const HEAD: &str = "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\nContent-Type: text/event-stream\r\n\
    Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
    Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n";

/// base64 of `{"errorMessage":"half way"}`.
const FAILED: &str = "0\r\nLambda-Runtime-Function-Error-Type: Function.Late\r\n\
    Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJoYWxmIHdheSJ9\r\n\r\n";

async fn begun(event: &Invocation) -> (Environment, Connection, oneshot::Receiver<RuntimeAnswer>) {
    let (environment, mut runtime) = Environment::polling().await;
    let answer = environment.api.deliver(event, 1).unwrap();
    runtime.answer().await;
    runtime.send(HEAD).await;
    (environment, runtime, answer)
}

async fn stream(answer: oneshot::Receiver<RuntimeAnswer>) -> (mpsc::Receiver<Bytes>, oneshot::Receiver<StreamEnd>) {
    match timeout(PATIENCE, answer).await.unwrap().unwrap() {
        RuntimeAnswer::Response {
            content_type,
            body: Body::Stream(pieces),
            end: Some(end),
        } => {
            assert_eq!(content_type, "text/event-stream");
            (pieces, end)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pieces_arrive_before_the_end() {
    let (mut environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    let (mut pieces, mut end) = stream(answer).await;
    for piece in ["one", "two"] {
        runtime.send(&format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        assert_eq!(timeout(PATIENCE, pieces.recv()).await.unwrap().unwrap(), piece);
    }
    assert!(end.try_recv().is_err());
    runtime.send("0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.status, 202);
    assert_eq!(pieces.recv().await, None);
    assert_eq!(end.try_recv(), Ok(StreamEnd::Complete));
    runtime.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
}

#[tokio::test]
async fn an_error_on_the_way_is_in_the_trailers() {
    let (_environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    let (mut pieces, end) = stream(answer).await;
    runtime.send(&format!("3\r\none\r\n{FAILED}")).await;
    assert_eq!(runtime.answer().await.status, 202);
    assert_eq!(pieces.recv().await.unwrap(), "one");
    assert_eq!(pieces.recv().await, None);
    let expected = StreamEnd::Error {
        error_type: "Function.Late".to_owned(),
        body: Bytes::from(r#"{"errorMessage":"half way"}"#),
    };
    assert_eq!(end.await, Ok(expected));
}

#[tokio::test]
async fn a_stream_is_collected_for_a_caller_who_cannot_take_it() {
    let (_environment, mut runtime, answer) = begun(&invocation("a", "{}")).await;
    runtime.send("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.status, 202);
    let answer = answer.await.unwrap();
    assert!(
        matches!(&answer, RuntimeAnswer::Response { body: Body::Whole(body), end: None, .. } if body == "onetwo"),
        "{answer:?}"
    );
    let (_environment, mut runtime, answer) = begun(&invocation("a", "{}")).await;
    runtime.send(&format!("3\r\none\r\n{FAILED}")).await;
    let answer = answer.await.unwrap();
    assert!(
        matches!(&answer, RuntimeAnswer::Error { error_type: Some(kind), body }
            if kind == "Function.Late" && body == r#"{"errorMessage":"half way"}"#),
        "{answer:?}"
    );
    let (_environment, mut runtime, answer) = begun(&invocation("a", "{}")).await;
    let bytes = RESPONSE_BYTES_MAX + 1;
    runtime
        .send(&format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes)))
        .await;
    runtime.answer().await.check_error(413, "RequestEntityTooLarge");
    assert!(matches!(answer.await.unwrap(), RuntimeAnswer::TooLarge));
}

#[tokio::test]
async fn a_whole_response_is_whole_for_a_caller_of_streams() {
    let (environment, mut runtime) = Environment::polling().await;
    let answer = environment.api.deliver(&streaming("a", "{}"), 1).unwrap();
    runtime.answer().await;
    runtime.send(&super::environment::response("a", "{}")).await;
    let answer = answer.await.unwrap();
    assert!(matches!(&answer, RuntimeAnswer::Response { body: Body::Whole(body), .. } if body == "{}"));
}

#[tokio::test]
async fn a_broken_stream_is_truncated() {
    let (_environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    let (mut pieces, end) = stream(answer).await;
    runtime.send("3\r\none\r\n5\r\ntw").await;
    drop(runtime);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece);
    }
    assert!(bytes.starts_with(b"one"));
    assert_eq!(end.await, Ok(StreamEnd::Truncated));
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_stop_the_function() {
    let (mut environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    drop(stream(answer).await);
    let piece = "x".repeat(1 << 20);
    for _ in 0..8 {
        runtime.send(&format!("{:x}\r\n{piece}\r\n", piece.len())).await;
    }
    runtime.send("0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.status, 202);
    runtime.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
}

#[tokio::test]
async fn a_slow_caller_slows_the_runtime_and_a_failed_invocation_frees_it() {
    let (environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    let (pieces, end) = stream(answer).await;
    let piece = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    let writing = tokio::spawn(async move {
        // Far more than sockets and queue hold; it gets on when nobody waits for it any more.
        for _ in 0..1024 {
            runtime.send(&piece).await;
        }
        runtime.send("0\r\n\r\n").await;
        runtime.answer().await
    });
    environment.api.fail_invocation("a");
    drop((pieces, end));
    writing.await.unwrap().check_error(400, "InvalidRequestID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_at_its_limit() {
    let (_environment, mut runtime, answer) = begun(&streaming("a", "{}")).await;
    let (mut pieces, end) = stream(answer).await;
    let writing = tokio::spawn(async move {
        let piece = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
        for _ in 0..=STREAM_BYTES_MAX >> 20 {
            runtime.send(&piece).await;
        }
        runtime.send("0\r\n\r\n").await;
        runtime.answer().await
    });
    let mut bytes = 0;
    while let Some(piece) = pieces.recv().await {
        bytes += piece.len() as u64;
    }
    assert_eq!(end.await, Ok(StreamEnd::TooLarge));
    assert!(
        bytes <= STREAM_BYTES_MAX && bytes > STREAM_BYTES_MAX - (1 << 20),
        "{bytes}"
    );
    writing.await.unwrap().check_error(413, "RequestEntityTooLarge");
}
