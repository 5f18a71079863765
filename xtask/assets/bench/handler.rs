//! A trivial handler: it gives back its event, after a sleep if the event asks for one. Nothing but std, one thread, one
//! kept connection to the Runtime API, linked statically.
//!
//! The same program runs under Lambent and under cargo-lambda's emulator, so that a difference is the platform's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    // An emulator may give the address as a URL, with a path for each function.
    let api = api.trim_start_matches("http://");
    let (host, base) = api.split_at(api.find('/').unwrap_or(api.len()));
    let stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut connection = Connection {
        host: host.to_owned(),
        reader: BufReader::new(stream),
    };
    loop {
        let next = format!("{base}/2018-06-01/runtime/invocation/next");
        let (id, event) = connection.ask("GET", &next, b"")?;
        if let Some(pause) = pause(&event) {
            thread::sleep(pause);
        }
        let response = format!("{base}/2018-06-01/runtime/invocation/{id}/response");
        connection.ask("POST", &response, &event)?;
    }
}

/// Of an event `{"sleep_ms": NUMBER}`.
fn pause(event: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(event).ok()?;
    let (_, rest) = text.split_once("\"sleep_ms\":")?;
    let digits = rest
        .trim_start()
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok().map(Duration::from_millis)
}

struct Connection {
    host: String,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// The request's id, if the answer names one, and the answer's body.
    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(String, Vec<u8>)> {
        let (host, length) = (&self.host, body.len());
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        request.extend_from_slice(body);
        self.reader.get_mut().write_all(&request)?;
        let (mut id, mut length, mut line) = (String::new(), 0, String::new());
        while line != "\r\n" {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "lambda-runtime-aws-request-id" => id = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((id, body))
    }
}
