//! Bytes arrive whole, in order, late, and not one after the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{DelayProxy, Passed};

const ONE_WAY: Duration = Duration::from_millis(15);

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A proxy before a server that treats each connection with `serve`.
fn proxy(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> (DelayProxy, SocketAddr) {
    let (server, to) = listen();
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    let (listener, address) = listen();
    (DelayProxy::start(listener, to, ONE_WAY), address)
}

fn echo(mut stream: TcpStream) {
    let mut copy = stream.try_clone().unwrap();
    std::io::copy(&mut stream, &mut copy).unwrap();
    copy.shutdown(Shutdown::Write).unwrap();
}

fn ask(stream: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    stream.write_all(&[1]).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    begin.elapsed()
}

#[test]
fn bytes_come_back_as_they_went() {
    let (proxy, address) = proxy(echo);
    // More than the queues hold, so that they fill up.
    let sent: Vec<u8> = (0..40 << 20)
        .map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let stream = TcpStream::connect(address).unwrap();
    let writer: JoinHandle<()> = thread::spawn({
        let (sent, mut stream) = (sent.clone(), stream.try_clone().unwrap());
        move || {
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut received = Vec::new();
    (&stream).read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent);
    let passed = proxy.take().0;
    assert_eq!((passed.bytes_up, passed.bytes_down), (40 << 20, 40 << 20));
    assert_eq!(proxy.take().0, Passed::default());
}

#[test]
fn an_answer_takes_a_round_trip_and_a_new_connection_two() {
    let (proxy, address) = proxy(echo);
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream);
    assert!(begin.elapsed() >= 4 * ONE_WAY);
    assert!(ask(&mut stream) >= 2 * ONE_WAY);
    let passed = proxy.take().0;
    assert_eq!((passed.connections, passed.requests, passed.rounds), (1, 2, 3));
}

#[test]
fn many_at_once_are_delayed_together() {
    let (proxy, address) = proxy(echo);
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| ask(&mut TcpStream::connect(address).unwrap()));
        }
    });
    // One after the other they would take 20 times as long.
    assert!(begin.elapsed() < 20 * ONE_WAY);
    let passed = proxy.take().0;
    assert_eq!((passed.connections, passed.requests), (20, 20));
}

#[test]
fn a_server_that_hangs_up_is_seen_after_the_last_byte() {
    let (_proxy, address) = proxy(|mut stream| stream.write_all(b"bye").unwrap());
    let mut received = Vec::new();
    TcpStream::connect(address).unwrap().read_to_end(&mut received).unwrap();
    assert_eq!(received, b"bye");
}
