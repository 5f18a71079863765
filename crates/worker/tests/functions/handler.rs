//! The program that runs in the sandbox: a runtime on a plain socket, that does what its events say. It uses no client
//! library, so that what the tests see is the platform and nothing else.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Counted up by a thread, while it may run.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Bytes of the answer that is too large: 7 MiB.
const TOO_LARGE_BYTES: usize = 7 * 1024 * 1024;

struct Api {
    stream: BufReader<TcpStream>,
}

/// An event with its request id.
struct Event {
    id: String,
    body: Value,
}

impl Api {
    fn connect() -> Self {
        let address = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("the platform sets it");
        let stream = TcpStream::connect(address).expect("the Runtime API listens");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn call(&mut self, head: &str, body: &[u8]) -> (Vec<String>, Vec<u8>) {
        let head = format!("{head}\r\nhost: api\r\ncontent-length: {}\r\n\r\n", body.len());
        let message = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&message).expect("the server reads");
        self.answer()
    }

    fn answer(&mut self) -> (Vec<String>, Vec<u8>) {
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the server answers");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            headers.push(line.to_owned());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("as long as announced");
        (headers, body)
    }

    fn next(&mut self) -> Event {
        let (headers, body) = self.call("GET /2018-06-01/runtime/invocation/next HTTP/1.1", b"");
        Event {
            id: header(&headers, "lambda-runtime-aws-request-id"),
            body: serde_json::from_slice(&body).expect("JSON"),
        }
    }

    fn respond(&mut self, id: &str, body: &[u8]) {
        self.call(
            &format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1"),
            body,
        );
    }

    fn fail(&mut self, path: &str, error_type: &str) {
        let body = json!({"errorType": error_type, "errorMessage": "as asked"}).to_string();
        let head = format!(
            "POST /2018-06-01/runtime/{path}/error HTTP/1.1\r\nlambda-runtime-function-error-type: {error_type}"
        );
        self.call(&head, body.as_bytes());
    }

    fn stream(&mut self, id: &str) {
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: api\r\ncontent-type: text/plain\r\n\
             transfer-encoding: chunked\r\nlambda-runtime-function-response-mode: streaming\r\n\r\n"
        );
        let socket = self.stream.get_mut();
        socket.write_all(head.as_bytes()).expect("the server reads");
        for piece in ["one ", "two ", "three"] {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            socket.write_all(chunk.as_bytes()).expect("the server reads");
            sleep(Duration::from_millis(50));
        }
        socket.write_all(b"0\r\n\r\n").expect("the server reads");
        self.answer();
    }
}

/// The runtime.
pub(crate) fn main() -> ExitCode {
    let mut api = Api::connect();
    match std::env::var("INIT").as_deref() {
        Ok("exit") => exit(3),
        Ok("error") => {
            api.fail("init", "Function.Broken");
            exit(1);
        }
        Ok("slow") => sleep(Duration::from_millis(1500)),
        Ok("never") => sleep(Duration::from_secs(3600)),
        _ => {}
    }
    restore(&mut api);
    let mut count = 0;
    loop {
        let event = api.next();
        count += 1;
        serve(&mut api, &event, count);
    }
}

/// SnapStart's protocol, where the test asks for it.
fn restore(api: &mut Api) {
    let Ok(after) = std::env::var("RESTORE") else {
        return;
    };
    // What is known before the snapshot is what clones share.
    begin();
    match after.as_str() {
        "no hooks" => return,
        "child" => {
            let beside = "(setsid /bin/sleep 3600 &) ; exit 0";
            let started = Command::new("/bin/sh").args(["-c", beside]).status();
            started.expect("a shell runs");
        }
        _ => {}
    }
    api.call("GET /2018-06-01/runtime/restore/next HTTP/1.1", b"");
    match after.as_str() {
        "fail" => {
            api.fail("restore", "Runtime.AfterRestoreError");
            exit(65);
        }
        "exit" => exit(4),
        "hang" => sleep(Duration::from_secs(3600)),
        _ => println!("hooks have run"),
    }
}

fn serve(api: &mut Api, event: &Event, count: u64) {
    let answer = match event.body["do"].as_str().unwrap_or_default() {
        "sleep" => {
            sleep(Duration::from_millis(event.body["ms"].as_u64().expect("a number")));
            json!("slept")
        }
        "exit" => exit(i32::try_from(event.body["code"].as_i64().expect("a number")).expect("small")),
        "answer and exit" => {
            api.respond(&event.id, b"\"last words\"");
            exit(0);
        }
        "eat" => eat(),
        "fork" => json!(fork()),
        "fill" => json!(fill()),
        "tick" => {
            std::thread::spawn(|| {
                loop {
                    TICKS.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(1));
                }
            });
            json!("ticking")
        }
        "ticks" => json!(TICKS.load(Ordering::Relaxed)),
        "large" => json!("x".repeat(TOO_LARGE_BYTES)),
        "print" => {
            println!("a line of the function");
            eprintln!("{}", "y".repeat(5000));
            json!("printed")
        }
        "fail" => return api.fail(&format!("invocation/{}", event.id), "Function.Sad"),
        "stream" => return api.stream(&event.id),
        "environment" => json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>()),
        _ => json!({"pid": std::process::id(), "count": count, "event": event.body, "begin": begin()}),
    };
    api.respond(&event.id, answer.to_string().as_bytes());
}

/// Differs between processes: ids do not, each sandbox has its own.
fn begin() -> String {
    static BEGIN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let new = || {
        let mut bytes = [0; 16];
        let mut random = std::fs::File::open("/dev/urandom").expect("a sandbox has it");
        random.read_exact(&mut bytes).expect("it never ends");
        format!("{bytes:?}")
    };
    BEGIN.get_or_init(new).clone()
}

fn eat() -> Value {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1024 * 1024]);
    }
}

/// Starts processes until it may not.
fn fork() -> usize {
    let mut children = Vec::new();
    while let Ok(child) = Command::new("/bin/sleep").arg("3600").spawn() {
        children.push(child);
    }
    let count = children.len();
    for mut child in children {
        // The sandbox would kill them, too; here they make room for the next invocation.
        let _ = child.kill();
        let _ = child.wait();
    }
    count
}

/// Writes into /tmp until it is full; gives the bytes.
fn fill() -> u64 {
    let mut file = std::fs::File::create("/tmp/full").expect("/tmp can be written");
    let (piece, mut bytes) = (vec![0; 1024 * 1024], 0);
    while let Ok(written) = file.write(&piece) {
        bytes += written as u64;
    }
    drop(file);
    std::fs::remove_file("/tmp/full").expect("it was made above");
    bytes
}

fn header(headers: &[String], name: &str) -> String {
    let found = headers.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    found.expect("the header is always there")
}

/// An external extension that says what it hears.
pub(crate) fn extension() -> ExitCode {
    let name = std::env::args().next().expect("a program has a name");
    let name = name.rsplit('/').next().expect("a part").to_owned();
    let mut api = Api::connect();
    let body = br#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let head = format!("POST /2020-01-01/extension/register HTTP/1.1\r\nlambda-extension-name: {name}");
    let (headers, _) = api.call(&head, body);
    let id = header(&headers, "lambda-extension-identifier");
    let head = format!("GET /2020-01-01/extension/event/next HTTP/1.1\r\nlambda-extension-identifier: {id}");
    loop {
        let (_, body) = api.call(&head, b"");
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        println!("extension heard {}", event["eventType"].as_str().unwrap_or_default());
        if event["eventType"] == "SHUTDOWN" {
            return ExitCode::SUCCESS;
        }
    }
}
