//! The handler's program as an external extension: it subscribes to everything, and puts what it is sent into a file
//! that the function can read. Its file's name says by which interface: `logs`, or another for telemetry.

use super::{Api, quote};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const PORT: u16 = 4243;

pub(crate) fn watch(name: &str, address: &str) -> ! {
    let mut api = Api::connect(address);
    let (headers, _) = api.ask(
        "POST",
        "/2020-01-01/extension/register",
        &[("Lambda-Extension-Name", name)],
        b"{\"events\": [\"INVOKE\", \"SHUTDOWN\"]}",
    );
    let identifier = headers["lambda-extension-identifier"].clone();
    let own = [("Lambda-Extension-Identifier", identifier.as_str())];
    // By its name, as AWS's own examples do.
    let listener = TcpListener::bind(("sandbox.localdomain", PORT)).expect("the name is known, and the port is free");
    let mut file = File::create(format!("/tmp/{name}")).expect("/tmp can be written");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(batch) = receive(stream) {
                writeln!(file, "{batch}").expect("/tmp can be written");
            }
        }
    });
    let (path, version) = match name {
        "logs" => ("/2020-08-15/logs", "2020-08-15"),
        _ => ("/2022-07-01/telemetry", "2022-07-01"),
    };
    let subscription = format!(
        "{{\"schemaVersion\": {}, \"types\": [\"platform\", \"function\", \"extension\"], \"buffering\": {{\"timeoutMs\": 25}}, \
         \"destination\": {{\"protocol\": \"HTTP\", \"URI\": \"http://sandbox.localdomain:{PORT}/in\"}}}}",
        quote(version)
    );
    let (headers, _) = api.ask("PUT", path, &own, subscription.as_bytes());
    println!("{name} subscribed: status {}", headers["status"]);
    loop {
        let (_, event) = api.ask("GET", "/2020-01-01/extension/event/next", &own, b"");
        if String::from_utf8_lossy(&event).contains("SHUTDOWN") {
            std::process::exit(0);
        }
    }
}

/// The body of one POST.
fn receive(mut stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    String::from_utf8(body).ok()
}
