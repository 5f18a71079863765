//! Telemetry API and Logs API, with subscribers that listen on loopback.

use super::environment::{Environment, NEXT, PATIENCE, post};
use crate::runtime_api::{Connector, RuntimeEvent, TelemetryEvent, TelemetryRecord};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

fn loopback() -> Option<Connector> {
    Some(Arc::new(|port| TcpStream::connect(("127.0.0.1", port))))
}

async fn register(environment: &Environment) -> String {
    let header = "Lambda-Extension-Name: watcher\r\n";
    let answer = environment
        .call(&post("/2020-01-01/extension/register", header, "{}"))
        .await;
    answer.header("Lambda-Extension-Identifier").unwrap().to_owned()
}

fn put(path: &str, identifier: &str, body: &Value) -> String {
    let header = format!("Lambda-Extension-Identifier: {identifier}\r\n");
    post(path, &header, &body.to_string()).replacen("POST", "PUT", 1)
}

fn subscription(protocol: &str, port: u16) -> Value {
    json!({
        "schemaVersion": "2022-12-13",
        "types": ["platform", "function"],
        "buffering": {"timeoutMs": 25},
        "destination": {"protocol": protocol, "URI": format!("http://sandbox.localdomain:{port}/in"), "port": port},
    })
}

fn line(text: &str) -> TelemetryEvent {
    TelemetryEvent {
        time_ms: 1,
        record: TelemetryRecord::Function(json!(text)),
    }
}

/// One POST: its path and its events.
async fn receive(listener: &TcpListener) -> (String, Vec<Value>) {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).await.unwrap();
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).await.unwrap();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    (
        head.lines().next().unwrap().to_owned(),
        serde_json::from_slice(&body).unwrap(),
    )
}

/// What came until that many events were there: their types and records.
async fn received(listener: &TcpListener, count: usize) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while events.len() < count {
        let (request, batch) = receive(listener).await;
        assert_eq!(request, "POST /in HTTP/1.1");
        events.extend(batch);
    }
    let pair = |event: Value| (event["type"].as_str().unwrap().to_owned(), event["record"].clone());
    events.into_iter().map(pair).collect()
}

#[tokio::test]
async fn events_are_sent_with_those_from_before_the_subscription() {
    let environment = Environment::start_with(loopback()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    environment.api.telemetry(line("early"));
    let identifier = register(&environment).await;
    let request = put("/2022-07-01/telemetry", &identifier, &subscription("HTTP", port));
    let answer = environment.call(&request).await;
    assert_eq!((answer.status, answer.json()), (200, json!("OK")));
    environment.api.telemetry(TelemetryEvent {
        time_ms: 1,
        record: TelemetryRecord::Extension(json!("not asked for")),
    });
    environment.api.telemetry(line("late"));
    let told = json!({"name": "watcher", "state": "Subscribed", "types": ["platform", "function"]});
    let expected = [
        ("function".to_owned(), json!("early")),
        ("platform.telemetrySubscription".to_owned(), told),
        ("function".to_owned(), json!("late")),
    ];
    assert_eq!(received(&listener, 3).await, expected);
}

#[tokio::test]
async fn subscriptions_end_with_the_initialisation() {
    let mut environment = Environment::start_with(loopback()).await;
    let identifier = register(&environment).await;
    let mut runtime = environment.connect().await;
    runtime.send(NEXT).await;
    environment.expect(&[RuntimeEvent::RuntimeReady]).await;
    assert!(environment.api.wants_telemetry());
    let mut extension = environment.connect().await;
    let header = format!("Lambda-Extension-Identifier: {identifier}");
    extension
        .send(&format!(
            "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
        ))
        .await;
    environment.expect(&[RuntimeEvent::AllIdle]).await;
    assert!(!environment.api.wants_telemetry());
    let request = put("/2022-07-01/telemetry", &identifier, &subscription("HTTP", 8080));
    environment
        .call(&request)
        .await
        .check_error(403, "Telemetry.SubscriptionClosed");
    let request = put(
        "/2020-08-15/logs",
        &identifier,
        &json!({
            "types": ["platform"], "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"},
        }),
    );
    environment
        .call(&request)
        .await
        .check_error(403, "Logs.SubscriptionClosed");
}

#[tokio::test]
async fn without_a_way_inside_subscriptions_are_not_supported() {
    let environment = Environment::start().await;
    let identifier = register(&environment).await;
    let request = put("/2022-07-01/telemetry", &identifier, &subscription("HTTP", 8080));
    environment
        .call(&request)
        .await
        .check_error(202, "Telemetry.NotSupported");
    let request = put("/2022-07-01/telemetry", "x", &json!({}));
    environment
        .call(&request)
        .await
        .check_error(403, "Extension.InvalidExtensionIdentifier");
}

#[tokio::test]
async fn wrong_subscriptions_are_refused() {
    let environment = Environment::start_with(loopback()).await;
    let identifier = register(&environment).await;
    let request = put("/2022-07-01/telemetry/", &identifier, &json!({"types": []}));
    environment.call(&request).await.check_error(400, "ValidationError");
}

#[tokio::test]
async fn a_tcp_subscriber_gets_lines() {
    let environment = Environment::start_with(loopback()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let identifier = register(&environment).await;
    let request = put("/2022-07-01/telemetry", &identifier, &subscription("TCP", port));
    assert_eq!(environment.call(&request).await.status, 200);
    environment.api.telemetry(line("one"));
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = async || -> Value {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(next().await["type"], "platform.telemetrySubscription");
    assert_eq!(next().await["record"], "one");
    environment.api.telemetry(line("two"));
    assert_eq!(next().await["record"], "two");
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_events_and_is_told() {
    let environment = Environment::start_with(loopback()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let identifier = register(&environment).await;
    let request = put("/2022-07-01/telemetry", &identifier, &subscription("HTTP", port));
    assert_eq!(environment.call(&request).await.status, 200);
    // The first batch hangs in a connection that nobody reads: it is answered last.
    let (hanging, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    for number in 0..1500 {
        environment.api.telemetry(line(&number.to_string()));
    }
    let mut hanging = hanging;
    hanging.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    hanging.shutdown().await.unwrap();
    let events = received(&listener, 1001).await;
    assert_eq!(events[999], ("function".to_owned(), json!("999")));
    assert_eq!(events[1000].0, "platform.logsDropped");
    assert_eq!(events[1000].1["droppedRecords"], 500);
}

#[tokio::test]
async fn a_flush_sends_at_once() {
    let environment = Environment::start_with(loopback()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut body = subscription("HTTP", listener.local_addr().unwrap().port());
    body["buffering"]["timeoutMs"] = json!(30_000);
    let identifier = register(&environment).await;
    assert_eq!(
        environment
            .call(&put("/2022-07-01/telemetry", &identifier, &body))
            .await
            .status,
        200
    );
    environment.api.telemetry(line("last"));
    let (events, ()) = timeout(std::time::Duration::from_secs(20), async {
        tokio::join!(received(&listener, 2), environment.api.flush_telemetry())
    })
    .await
    .unwrap();
    assert_eq!(events[1].1, "last");
}
