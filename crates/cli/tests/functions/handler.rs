//! A handler that does as its event says. It needs nothing but std and is linked statically, so that it runs in an image
//! that holds nothing else.
//!
//! The event is `{"do": WHAT, ...}`; see `act`.

mod watcher;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Counts while the process runs: frozen, it stands still.
static TICKS: AtomicU64 = AtomicU64::new(0);

fn main() {
    if std::env::var("FAIL_INIT").is_ok() {
        eprintln!("going down");
        std::process::exit(3);
    }
    if let Some(ms) = std::env::var("INIT_MS").ok().and_then(|ms| ms.parse().ok()) {
        thread::sleep(Duration::from_millis(ms));
    }
    if std::env::var("SLOW_INIT").is_ok() {
        thread::sleep(Duration::from_secs(600));
    }
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(1));
            TICKS.fetch_add(1, Ordering::Relaxed);
        }
    });
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("the Runtime API has an address");
    let program = std::env::args().next().unwrap_or_default();
    if let Some(name) = program.strip_prefix("/opt/extensions/") {
        watcher::watch(name, &address);
    }
    let mut api = Api::connect(&address);
    if std::env::var("REPORT_INIT").is_ok() {
        let error = "{\"errorType\": \"Model.Missing\", \"errorMessage\": \"no weights\"}";
        let kind = [("Lambda-Runtime-Function-Error-Type", "Model.Missing")];
        api.ask("POST", "/2018-06-01/runtime/init/error", &kind, error.as_bytes());
        std::process::exit(1);
    }
    let mut invocations = 0;
    loop {
        let (headers, event) = api.ask("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        invocations += 1;
        let id = headers["lambda-runtime-aws-request-id"].clone();
        let event = String::from_utf8_lossy(&event).into_owned();
        if std::env::var_os("QUIET").is_none() {
            println!("event {event}");
        }
        match text(&event, "do").as_deref() {
            Some("stream") => {
                stream(&address, &id, &event);
                continue;
            }
            Some("close sockets") => {
                api.close();
                thread::sleep(Duration::from_secs(600));
            }
            Some("answer another") => {
                let other = text(&event, "id").unwrap_or_default();
                let path = format!("/2018-06-01/runtime/invocation/{other}/response");
                let (headers, _) = api.ask("POST", &path, &[], b"\"not mine\"");
                println!("another's answer: status {}", headers["status"]);
            }
            _ => {}
        }
        let (path, extra, answer) = match act(&event, &headers, invocations) {
            Ok(answer) => ("response", Vec::new(), answer),
            Err(answer) => (
                "error",
                vec![("Lambda-Runtime-Function-Error-Type", "Handler.Asked")],
                answer,
            ),
        };
        let path = format!("/2018-06-01/runtime/invocation/{id}/{path}");
        api.ask("POST", &path, &extra, answer.as_bytes());
        if text(&event, "do").as_deref() == Some("answer twice") {
            let (headers, _) = api.ask("POST", &path, &[], b"\"again\"");
            println!("second answer: status {}", headers["status"]);
        }
    }
}

fn act(event: &str, headers: &HashMap<String, String>, invocations: u64) -> Result<String, String> {
    match text(event, "do").as_deref() {
        None | Some("echo") => Ok(event.to_owned()),
        Some("version") => Ok(format!("\"{}\"", std::env::var("GREETING").unwrap_or_default())),
        Some("count") => Ok(format!(
            "{{\"invocations\": {invocations}, \"ticks\": {}}}",
            TICKS.load(Ordering::Relaxed)
        )),
        Some("fail") => Err("{\"errorType\": \"Asked\", \"errorMessage\": \"as you wish\"}".to_owned()),
        Some("exit") => std::process::exit(number(event, "code").unwrap_or(0) as i32),
        Some("abort") => std::process::abort(),
        Some("answer another") => Ok("\"mine\"".to_owned()),
        Some("answer twice") => Ok("\"first\"".to_owned()),
        Some("log") => {
            for line in 0..number(event, "lines").unwrap_or(1) {
                println!("line {line} of {}", text(event, "of").unwrap_or_default());
            }
            Ok("\"logged\"".to_owned())
        }
        Some("respond") => Ok(
            "{\"statusCode\": 418, \"headers\": {\"Content-Type\": \"text/plain\", \"X-Pot\": \"tea\"}, \
                               \"cookies\": [\"a=1; Secure\", \"b=2\"], \"body\": \"c2hvcnQgYW5kIHN0b3V0\", \
                               \"isBase64Encoded\": true}"
                .to_owned(),
        ),
        Some("sleep") => {
            thread::sleep(Duration::from_millis(number(event, "ms").unwrap_or(0)));
            Ok("\"slept\"".to_owned())
        }
        Some("large") => Ok(format!(
            "\"{}\"",
            "x".repeat(number(event, "bytes").unwrap_or(0) as usize)
        )),
        Some("eat memory") => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
            }
        }
        Some("fill tmp") => Ok(fill_tmp()),
        Some("fork") => Ok(fork()),
        Some("look") => Ok(look()),
        Some("connect") => {
            let address = text(event, "address").unwrap_or_default();
            let reached = address
                .parse()
                .ok()
                .and_then(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok());
            Ok(format!("{{\"reached\": {}}}", reached.is_some()))
        }
        Some("environment") => {
            let pairs: Vec<String> = std::env::vars()
                .map(|(name, value)| format!("{}: {}", quote(&name), quote(&value)))
                .collect();
            Ok(format!("{{{}}}", pairs.join(", ")))
        }
        Some("headers") => {
            let pairs: Vec<String> = headers
                .iter()
                .map(|(name, value)| format!("{}: {}", quote(name), quote(value)))
                .collect();
            Ok(format!("{{{}}}", pairs.join(", ")))
        }
        Some("list") => {
            let path = text(event, "path").unwrap_or_default();
            let mut names: Vec<String> = fs::read_dir(&path)
                .map(|entries| {
                    entries
                        .flatten()
                        .map(|entry| quote(&entry.file_name().to_string_lossy()))
                        .collect()
                })
                .unwrap_or_default();
            names.sort();
            Ok(format!("[{}]", names.join(", ")))
        }
        Some("write") => {
            let path = text(event, "path").unwrap_or_default();
            match fs::write(&path, text(event, "content").unwrap_or_default()) {
                Ok(()) => Ok("{\"written\": true}".to_owned()),
                Err(error) => Ok(format!(
                    "{{\"written\": false, \"error\": {}}}",
                    quote(&error.to_string())
                )),
            }
        }
        Some("arguments") => {
            let arguments: Vec<String> = std::env::args().map(|argument| quote(&argument)).collect();
            Ok(format!("[{}]", arguments.join(", ")))
        }
        Some("forbidden") => Ok(forbidden()),
        Some("read") => {
            let path = text(event, "path").unwrap_or_default();
            match fs::read_to_string(&path) {
                Ok(content) => Ok(format!("{{\"content\": {}}}", quote(content.trim()))),
                Err(error) => Ok(format!("{{\"error\": {}}}", quote(&error.to_string()))),
            }
        }
        Some(other) => Err(format!(
            "{{\"errorType\": \"Unknown\", \"errorMessage\": {}}}",
            quote(other)
        )),
    }
}

fn fill_tmp() -> String {
    let mut file = fs::File::create("/tmp/full").expect("/tmp can be written");
    let block = vec![7; 1 << 20];
    let mut mebibytes = 0;
    let error = loop {
        match file.write_all(&block) {
            Ok(()) => mebibytes += 1,
            Err(error) => break error,
        }
    };
    drop(fs::remove_file("/tmp/full"));
    format!(
        "{{\"mebibytes\": {mebibytes}, \"error\": {}}}",
        quote(&error.to_string())
    )
}

/// As many processes as it can have.
fn fork() -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let mut children = Vec::new();
    let mut threads = Vec::new();
    loop {
        match Command::new(&program)
            .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
            .env("FAIL_INIT", "1")
            .spawn()
        {
            Ok(child) => children.push(child),
            Err(error) => {
                let count = children.len();
                for child in &mut children {
                    drop(child.kill());
                    drop(child.wait());
                }
                threads.clear();
                return format!("{{\"processes\": {count}, \"error\": {}}}", quote(&error.to_string()));
            }
        }
        // Threads are in the same count, and do not end by themselves.
        if let Ok(handle) = thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| thread::sleep(Duration::from_secs(60)))
        {
            threads.push(handle);
        }
        if threads.len() > 100_000 {
            return "{\"processes\": 100000, \"error\": \"none\"}".to_owned();
        }
    }
}

/// What the environment shows of itself and of the host.
fn look() -> String {
    let processes = fs::read_dir("/proc").map_or(0, |entries| {
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .count()
    });
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or("")
            .trim()
            .to_owned()
    };
    let interfaces: Vec<String> = fs::read_to_string("/proc/net/dev")
        .unwrap_or_default()
        .lines()
        .skip(2)
        .map(|line| quote(line.split(':').next().unwrap_or("").trim()))
        .collect();
    let root_written = fs::write("/written", "x").is_ok();
    format!(
        "{{\"processes\": {processes}, \"capabilities\": {}, \"no_new_privileges\": {}, \"seccomp\": {}, \"interfaces\": [{}], \"root_written\": {root_written}}}",
        quote(&line("CapEff:")),
        quote(&line("NoNewPrivs:")),
        quote(&line("Seccomp:")),
        interfaces.join(", "),
    )
}

// Of the C library that std is linked with.
unsafe extern "C" {
    safe fn unshare(flags: i32) -> i32;
    safe fn setuid(user: u32) -> i32;
    safe fn setgid(group: u32) -> i32;
    safe fn setns(descriptor: i32, kind: i32) -> i32;
    safe fn personality(persona: std::ffi::c_ulong) -> i32;
    fn chroot(path: *const std::ffi::c_char) -> i32;
    fn umount2(path: *const std::ffi::c_char, flags: i32) -> i32;
    fn sethostname(name: *const std::ffi::c_char, length: usize) -> i32;
}

/// Which of the calls that could lead out of the environment are let through.
fn forbidden() -> String {
    const NEW_USER: i32 = 0x1000_0000;
    const NEW_MOUNTS: i32 = 0x0002_0000;
    const NEW_NETWORK: i32 = 0x4000_0000;
    const READ_IMPLIES_EXEC: std::ffi::c_ulong = 0x0040_0000;
    let root = c"/".as_ptr();
    let own = fs::File::open("/proc/self/ns/net").map_or(-1, |file| std::os::fd::IntoRawFd::into_raw_fd(file));
    // SAFETY: the pointers are of constants that end in NUL.
    let by_pointer = unsafe {
        [
            ("chroot", i64::from(chroot(root))),
            ("umount2", i64::from(umount2(c"/tmp".as_ptr(), 0))),
            ("sethostname", i64::from(sethostname(c"mine".as_ptr(), 4))),
        ]
    };
    let calls = [
        ("unshare user", i64::from(unshare(NEW_USER))),
        ("unshare mounts", i64::from(unshare(NEW_MOUNTS))),
        ("unshare network", i64::from(unshare(NEW_NETWORK))),
        ("setns", i64::from(setns(own, NEW_NETWORK))),
        ("setuid", i64::from(setuid(12_345))),
        ("setgid", i64::from(setgid(12_345))),
        ("personality", i64::from(personality(READ_IMPLIES_EXEC))),
    ];
    let let_through = calls.iter().chain(&by_pointer).filter(|(_, answer)| *answer >= 0);
    let names: Vec<String> = let_through.map(|(name, _)| quote(name)).collect();
    format!("[{}]", names.join(", "))
}

/// Answers part by part; `"how"` says in which way: as text, `prelude` with a head for a function URL, `fail` with an
/// error after the parts, `exit` by ending after them.
fn stream(address: &str, id: &str, event: &str) {
    let parts = number(event, "parts").unwrap_or(3);
    let part_bytes = number(event, "part_bytes").unwrap_or(0) as usize;
    let how = text(event, "how").unwrap_or_default();
    let content_type = if how == "prelude" {
        "application/vnd.awslambda.http-integration-response"
    } else {
        "text/plain"
    };
    let mut connection = TcpStream::connect(address).expect("the Runtime API answers");
    let head = format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {address}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\
         Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
         Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("the Runtime API reads");
    if how == "prelude" {
        let head = "{\"statusCode\": 203, \"headers\": {\"X-Pot\": \"tea\", \"Content-Type\": \"text/html\"}, \"cookies\": [\"a=1\"]}";
        let head = format!("{head}\0\0\0\0\0\0\0\0");
        write!(connection, "{:x}\r\n{head}\r\n", head.len()).expect("the Runtime API reads");
    }
    for part in 0..parts {
        let text = format!("part {part}{}\n", "x".repeat(part_bytes));
        write!(connection, "{:x}\r\n{text}\r\n", text.len()).expect("the Runtime API reads");
        connection.flush().expect("the Runtime API reads");
        thread::sleep(Duration::from_millis(20));
    }
    match how.as_str() {
        "exit" => std::process::exit(4),
        // The body is base64 of `{"errorType":"Asked","errorMessage":"as you wish"}`.
        "fail" => connection.write_all(
            b"0\r\nLambda-Runtime-Function-Error-Type: Handler.Asked\r\nLambda-Runtime-Function-Error-Body: \
              eyJlcnJvclR5cGUiOiJBc2tlZCIsImVycm9yTWVzc2FnZSI6ImFzIHlvdSB3aXNoIn0=\r\n\r\n",
        ),
        _ => connection.write_all(b"0\r\n\r\n"),
    }
    .expect("the Runtime API reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("the Runtime API answers");
}

/// One kept connection.
struct Api {
    address: String,
    reader: BufReader<TcpStream>,
}

impl Api {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the Runtime API answers");
        stream.set_nodelay(true).expect("a socket can be told");
        Self {
            address: address.to_owned(),
            reader: BufReader::new(stream),
        }
    }

    fn close(&mut self) {
        self.reader
            .get_ref()
            .shutdown(std::net::Shutdown::Both)
            .expect("a socket can be closed");
    }

    /// Headers in small letters, and `status`; the body.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &[u8],
    ) -> (HashMap<String, String>, Vec<u8>) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in extra {
            request += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.reader.get_mut().write_all(&bytes).expect("the Runtime API reads");
        let mut headers = HashMap::new();
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the Runtime API answers");
        headers.insert("status".to_owned(), line.split(' ').nth(1).unwrap_or("").to_owned());
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("the Runtime API answers");
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None => break,
            };
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("the Runtime API answers");
        (headers, body)
    }
}

/// The text of a member, where it has no escapes.
fn text(event: &str, name: &str) -> Option<String> {
    let rest = event
        .split_once(&format!("\"{name}\""))?
        .1
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
}

fn number(event: &str, name: &str) -> Option<u64> {
    let rest = event
        .split_once(&format!("\"{name}\""))?
        .1
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|letter| match letter {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            letter if u32::from(letter) < 32 => format!("\\u{:04x}", u32::from(letter)),
            letter => letter.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
