//! Lambda's own runtime client, unmodified, in the middle of SnapStart's protocol: it is written while it waits in
//! `restore/next`, and its clones go on from there.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;
mod snapshots;

use fixture::{process, until};
use sandbox::ProcessSpec;
use serde_json::Value;
use snapshots::{Restored, Snapshots, with_limit};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Registers both hooks; the second seeds Python's generator again, which clones share otherwise.
const HANDLER: &str = r#"
import os, random
from snapshot_restore_py import register_before_snapshot, register_after_restore
number, hooks = random.random(), []
def after():
    random.seed()
    hooks.append("after")
register_before_snapshot(lambda: hooks.append("before"))
register_after_restore(after)
def main(event, context):
    return {"number": number, "hooks": hooks, "random": random.random(), "event": event, "id": context.aws_request_id}
"#;

struct Request {
    line: String,
    body: Vec<u8>,
}

/// One connection of the client's, from our side.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = until("the client connects", || listener.accept().ok());
        Self::new(stream)
    }

    fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(with_limit(stream)))
    }

    fn request(&mut self) -> Request {
        let mut next = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let line = next();
        let headers = std::iter::from_fn(|| Some(next()).filter(|header| !header.is_empty()));
        let length = headers.filter_map(|header| {
            let (name, value) = header.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        });
        let mut body = vec![0; length.last().unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        Request { line, body }
    }

    fn answer(&mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }
}

fn client() -> ProcessSpec {
    let mut client = process(&["python3", "-m", "awslambdaric", "handler.main"]);
    let variables = [
        ("PYTHONPATH", "/opt/python"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
        ("AWS_LAMBDA_FUNCTION_NAME", "clone"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_REGION", "us-east-1"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("_HANDLER", "handler.main"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    client.environment.extend(variables);
    client.working_directory = "/var/task".to_owned();
    client.user = "993:990".to_owned();
    client
}

/// Ends the poll that the snapshot was taken in, then gives one event; what the function answers.
fn invoke(restored: &Restored, id: &str) -> Value {
    Peer::new(restored.stream.try_clone().unwrap()).answer("200 OK", "", "");
    let mut peer = Peer::accept(&restored.listener);
    assert_eq!(peer.request().line, "GET /2018-06-01/runtime/invocation/next HTTP/1.1");
    // The client dies of an event without a type.
    let headers = format!(
        "Content-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:clone:1\r\n"
    );
    peer.answer("200 OK", &headers, "{\"key\": 1}");
    let response = peer.request();
    assert_eq!(
        response.line,
        format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1")
    );
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn awslambdaric_goes_on_from_restore_next_and_runs_its_hooks() {
    let snapshots = Snapshots::new();
    let task = snapshots.directory("task");
    fs::write(task.join("handler.py"), HANDLER).unwrap();
    let spec = || {
        let mut spec = snapshots.spec();
        spec.overlays.push((task.clone(), "/var/task".to_owned()));
        spec
    };
    let directory = snapshots.directory("snapshot");
    let mut sandbox = snapshots.fixture.spawner.create(&spec()).unwrap();
    let listener = sandbox.take_listener().unwrap();
    let process = sandbox.spawn(&client()).unwrap();
    let mut peer = Peer::accept(&listener);
    assert_eq!(peer.request().line, "GET /2018-06-01/runtime/restore/next HTTP/1.1");
    let connection = snapshots.write(&sandbox, &process, peer.0.get_ref(), &directory);
    drop((sandbox, process, peer));

    let clones = ["first", "second"].map(|id| {
        let restored = snapshots.restore(&spec(), &directory, &connection);
        let answer = invoke(&restored, id);
        assert_eq!(answer["id"], id);
        assert_eq!(answer["event"]["key"], 1);
        assert_eq!(answer["hooks"], serde_json::json!(["before", "after"]));
        answer
    });
    assert_eq!(clones[0]["number"], clones[1]["number"], "made before the snapshot");
    assert_ne!(clones[0]["random"], clones[1]["random"], "seeded again by the hook");
}
