//! What does a restore save? From nothing to a process's first answer: by a start in a new sandbox, and by a restore into
//! one; one after the other, and twenty at once.
//!
//! `cargo bench -p sandbox --bench snapshot` as root prints p50, p99 and the largest in milliseconds, for a program that
//! only answers (perl), for Node.js, and for Python with numpy and onnxruntime. All files are in the page cache after
//! the first run, which is not counted. The programs and CRIU are those of `cargo xtask setup`.
#![expect(clippy::unwrap_used, reason = "a bench ends at the first thing that fails")]

#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[path = "../tests/snapshots/mod.rs"]
mod snapshots;

use fixture::{process, until};
use sandbox::{Connection, Process, ProcessSpec, Sandbox};
use snapshots::{Snapshots, memory_bytes, with_limit};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 100;
const AT_ONCE: usize = 20;
const ROUNDS: usize = 5;

const PERL: &str = "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:9001'); $s->autoflush(1); \
    print $s \"next\\n\"; while (<$s>) { print $s \"$$\\nnext\\n\" }";
const NODE: &str = "const s = require('net').connect(9001, '127.0.0.1', () => s.write('next\\n')); \
    s.on('data', () => s.write(process.pid + '\\nnext\\n'))";
const PYTHON: &str = "import numpy, onnxruntime, os, socket\n\
    s = socket.create_connection(('127.0.0.1', 9001)).makefile('rw')\n\
    s.write('next\\n'); s.flush()\n\
    while s.readline():\n    s.write(f'{os.getpid()}\\nnext\\n'); s.flush()\n";

fn main() {
    let mut python = process(&["python3", "-c", PYTHON]);
    let path = ("PYTHONPATH".to_owned(), "/opt/python".to_owned());
    python.environment.push(path);
    let programs = [
        ("perl", process(&["perl", "-e", PERL])),
        ("node", process(&["node", "-e", NODE])),
        ("python with onnxruntime", python),
    ];
    let threads = std::thread::available_parallelism().unwrap();
    println!("{threads} threads, {RUNS} runs one by one, {ROUNDS} rounds of {AT_ONCE} at once; milliseconds");
    let snapshots = Snapshots::new();
    for (name, program) in programs {
        measure(&snapshots, name, &program);
    }
}

fn measure(snapshots: &Snapshots, name: &str, program: &ProcessSpec) {
    let directory = snapshots.directory(name);
    let connection = take(snapshots, program, &directory);
    println!("{name}: {} KiB of memory written", memory_bytes(&directory) >> 10);
    let cold = || timed(|| start(snapshots, program));
    let restored = || timed(|| restore(snapshots, &directory, &connection));
    print("  start", (0..RUNS).map(|_| cold()).collect());
    print("  restore", (0..RUNS).map(|_| restored()).collect());
    print("  twenty starts", at_once(&cold));
    print("  twenty restores", at_once(&restored));
}

type Living = (Sandbox, Process, TcpStream);

/// Without what ending it takes.
fn timed(make: impl FnOnce() -> Living) -> Duration {
    let begun = Instant::now();
    let living = make();
    let took = begun.elapsed();
    drop(living);
    took
}

/// The slowest of each round.
fn at_once(one: &(impl Fn() -> Duration + Sync)) -> Vec<Duration> {
    let round = |_| {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).max().unwrap()
        })
    };
    (0..ROUNDS).map(round).collect()
}

/// A process that has answered once.
fn start(snapshots: &Snapshots, program: &ProcessSpec) -> Living {
    let mut sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let listener = sandbox.take_listener().unwrap();
    let process = sandbox.spawn(program).unwrap();
    let stream = with_limit(until("the process connects", || listener.accept().ok()).0);
    answer(&stream, "next");
    ask(&stream);
    (sandbox, process, stream)
}

fn take(snapshots: &Snapshots, program: &ProcessSpec, directory: &Path) -> Connection {
    drop(start(snapshots, program));
    let (sandbox, process, stream) = start(snapshots, program);
    let connection = Connection::note(&stream).unwrap();
    let identity = sandbox.identity(&process).unwrap();
    sandbox.checkpoint(snapshots.tools(), &identity, directory).unwrap();
    drop(restore(snapshots, directory, &connection));
    connection
}

fn restore(snapshots: &Snapshots, directory: &Path, connection: &Connection) -> Living {
    let mut sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let _listener = sandbox.take_listener();
    let stream = with_limit(connection.rebuild(&sandbox.dialer().unwrap()).unwrap());
    let process = sandbox.restore(snapshots.tools(), directory).unwrap();
    ask(&stream);
    (sandbox, process, stream)
}

fn ask(mut stream: &TcpStream) {
    stream.write_all(b"word\n").unwrap();
    answer(stream, "");
    answer(stream, "next");
}

/// Reads a line byte by byte: none of the next may be lost with a buffer.
fn answer(stream: &TcpStream, expected: &str) {
    let mut line = String::new();
    BufReader::with_capacity(1, stream).read_line(&mut line).unwrap();
    assert!(expected.is_empty() || line.trim_end() == expected, "{line}");
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!(
        "{what:<18} p50 {:>8.1}  p99 {:>8.1}  largest {:>8.1}",
        at(50),
        at(99),
        at(100)
    );
}
