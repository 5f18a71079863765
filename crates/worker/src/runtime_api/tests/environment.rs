//! One server on a loopback port, and connections to it that write and read bytes as they are.

use crate::runtime_api::{Connector, FunctionDescription, RestoreNext, RuntimeApi, RuntimeApiParts, RuntimeEvent};
use api::{Invocation, ResponseMode};
use bytes::Bytes;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What waits longer than this has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";

pub(super) struct Environment {
    pub(super) api: RuntimeApi,
    pub(super) address: SocketAddr,
    events: mpsc::Receiver<RuntimeEvent>,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// With the names as they were sent.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Environment {
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(super) async fn start_with(connector: Option<Connector>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_as(listener, connector, 1)
    }

    /// Whose runtime takes several invocations at once.
    pub(super) async fn of_many(invocations_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_as(listener, None, invocations_max)
    }

    fn start_as(listener: TcpListener, connector: Option<Connector>, invocations_max: usize) -> Self {
        let address = listener.local_addr().unwrap();
        let parts = RuntimeApiParts {
            function: FunctionDescription {
                name: "hello".to_owned(),
                version: "7".to_owned(),
                handler: "app.handler".to_owned(),
                account: "123456789012".to_owned(),
            },
            connector,
            invocations_max,
            restore: RestoreNext::Unknown,
        };
        let (api, events) = RuntimeApi::serve(listener, parts);
        Self { api, address, events }
    }

    /// A runtime that waits for its first event.
    pub(super) async fn polling() -> (Self, Connection) {
        let mut environment = Self::start().await;
        let mut runtime = environment.connect().await;
        runtime.send(NEXT).await;
        environment
            .expect(&[RuntimeEvent::RuntimeReady, RuntimeEvent::AllIdle])
            .await;
        (environment, runtime)
    }

    pub(super) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let read = Vec::new();
        Connection { stream, read }
    }

    /// One request on a connection of its own.
    pub(super) async fn call(&self, request: &str) -> Answer {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.answer().await
    }

    pub(super) async fn event(&mut self) -> RuntimeEvent {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    pub(super) async fn expect(&mut self, events: &[RuntimeEvent]) {
        for expected in events {
            assert_eq!(self.event().await, *expected);
        }
    }

    /// Nothing has been reported that was not read yet.
    pub(super) fn expect_silence(&mut self) {
        assert!(self.events.try_recv().is_err());
    }
}

impl Connection {
    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.unwrap().expect("an answer")
    }

    /// Nothing when the server hung up instead.
    pub(super) async fn answer_or_end(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer()).await.unwrap()
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length =
            |(name, value): &(String, String)| name.eq_ignore_ascii_case("content-length").then(|| value.parse());
        let bytes: usize = headers.iter().find_map(length).expect("a length").unwrap();
        while self.read.len() < bytes {
            self.more().await?;
        }
        let body = Bytes::from(self.read.drain(..bytes).collect::<Vec<_>>());
        Some(Answer { status, headers, body })
    }

    async fn more(&mut self) -> Option<()> {
        let bytes = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
        (bytes > 0).then_some(())
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(super) fn check_error(&self, status: u16, error_type: &str) {
        assert_eq!(
            (self.status, self.json()["errorType"].as_str()),
            (status, Some(error_type)),
            "{self:?}"
        );
        assert!(
            self.json()["errorMessage"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        assert_eq!(self.header("Content-Type"), Some("application/json"));
    }
}

pub(super) fn invocation(request_id: &str, payload: &str) -> Invocation {
    Invocation {
        request_id: request_id.to_owned(),
        arn: "arn:aws:lambda:eu-central-1:123456789012:function:hello:live".to_owned(),
        payload: Bytes::from(payload.to_owned()),
        client_context: None,
        trace_id: "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned(),
        mode: ResponseMode::Buffered,
        tail: false,
    }
}

pub(super) fn streaming(request_id: &str, payload: &str) -> Invocation {
    Invocation {
        mode: ResponseMode::Streaming,
        ..invocation(request_id, payload)
    }
}

/// A POST with a body; `headers` are whole lines.
pub(super) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

pub(super) fn response(request_id: &str, body: &str) -> String {
    post(
        &format!("/2018-06-01/runtime/invocation/{request_id}/response"),
        "",
        body,
    )
}
