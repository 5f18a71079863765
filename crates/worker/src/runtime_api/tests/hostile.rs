//! What an environment may try: it is bounded, answered, and harms nobody.

use super::environment::{Connection, Environment, NEXT, invocation, post, response};
use crate::runtime_api::RuntimeEvent;
use crate::runtime_api::server::CONNECTIONS_MAX;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn more_connections_than_are_served_do_not_stop_the_runtime() {
    let (environment, mut runtime) = Environment::polling().await;
    let mut idle: Vec<Connection> = Vec::new();
    // As many as are served, and some that wait in the listener's backlog.
    for _ in 0..CONNECTIONS_MAX + 64 {
        idle.push(environment.connect().await);
    }
    let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    assert_eq!(runtime.answer().await.status, 200);
    runtime.send(&response("a", "{}")).await;
    assert_eq!(runtime.answer().await.status, 202);
    assert!(answer.await.is_ok());
    // Those beyond the limit wait, and are served once the others are gone.
    drop(idle);
    assert_eq!(
        environment
            .call("GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn endless_headers_end() {
    let environment = Environment::start().await;
    let mut connection = environment.connect().await;
    connection
        .send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n")
        .await;
    let header = format!("X: {}\r\n", "y".repeat(1000));
    // The server hangs up in the middle: then writing fails.
    for _ in 0..10_000 {
        if connection.stream.write_all(header.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = connection.answer_or_end().await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
    assert_eq!(
        environment
            .call("GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_stack_trace_of_a_mebibyte_fits_into_a_header() {
    let (environment, mut runtime) = Environment::polling().await;
    let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    runtime.answer().await;
    let header = format!("Lambda-Runtime-Function-XRay-Error-Cause: {}\r\n", "x".repeat(1 << 20));
    runtime
        .send(&post("/2018-06-01/runtime/invocation/a/error", &header, "{}"))
        .await;
    assert_eq!(runtime.answer().await.status, 202);
    assert!(answer.await.is_ok());
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let (environment, mut runtime) = Environment::polling().await;
    for text in [
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut connection = environment.connect().await;
        connection.send(text).await;
        let answer = connection.answer_or_end().await;
        assert!(answer.is_none_or(|answer| answer.status == 400), "{text:?}");
    }
    let _answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    assert_eq!(runtime.answer().await.status, 200);
}

#[tokio::test]
async fn a_runtime_that_never_reads_holds_nobody_up() {
    let (mut environment, runtime) = Environment::polling().await;
    let event = invocation("a", &"x".repeat(6 << 20));
    let answer = environment.api.deliver(&event, 1).unwrap();
    environment.api.fail_invocation("a");
    assert!(answer.await.is_err());
    let mut other = environment.connect().await;
    other.send(NEXT).await;
    environment
        .expect(&[RuntimeEvent::RuntimeIdle, RuntimeEvent::AllIdle])
        .await;
    let _answer = environment.api.deliver(&invocation("b", "{}"), 1).unwrap();
    assert_eq!(other.answer().await.status, 200);
    drop(runtime);
}

#[tokio::test]
async fn large_bodies_are_refused_where_small_ones_are_due() {
    let environment = Environment::start().await;
    let body = "x".repeat(1 << 20);
    let header = "Lambda-Extension-Name: x\r\n";
    let answer = environment
        .call(&post("/2020-01-01/extension/register", header, &body))
        .await;
    answer.check_error(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (environment, mut runtime) = Environment::polling().await;
    let answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    runtime
        .send(&format!("{}{}{NEXT}", response("a", "1"), response("a", "2")))
        .await;
    assert_eq!(runtime.answer().await.status, 200);
    assert_eq!(runtime.answer().await.status, 202);
    runtime.answer().await.check_error(403, "InvalidStateTransition");
    assert!(answer.await.is_ok());
}

#[tokio::test]
async fn dropping_the_server_hangs_up() {
    let (environment, mut runtime) = Environment::polling().await;
    let mut idle = environment.connect().await;
    drop(environment);
    assert!(runtime.answer_or_end().await.is_none());
    assert!(idle.answer_or_end().await.is_none());
}
