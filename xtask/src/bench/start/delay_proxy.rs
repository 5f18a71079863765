//! A TCP proxy that makes the far side far: every byte arrives a fixed time later, and none is held up by the others.
//!
//! ```text
//! client ──> reader ──> queue of (due, bytes) ──> writer ──> server        each way; one connection, four threads
//! ```
//! The queue is bounded by [`QUEUE_BYTES_MAX`], several times what 1 Gb/s brings in one delay, so the rate is the link's.
//! A connection's first bytes leave a round trip after it was accepted, as if the handshake had crossed the link. What
//! is not modelled is slow start: the client sees a round trip of almost nothing in TCP's own terms, so its window is
//! open at once. That flatters whoever opens new connections for much data, which is the baselines as well as us.
//!
//! Threads and not timers of an event loop, because those wake up to a millisecond late, and four of them are in a
//! round trip.

mod exchanges;
mod queue;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::helper::READY;
use exchanges::{Exchange, Exchanges, Span};
use queue::Queue;

/// Bytes on their way in one direction of one connection. 1 Gb/s brings 1.25 MB in 10 ms.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Bytes of one read: what a card hands over at once, a few times.
const READ_BYTES: usize = 256 << 10;

/// Where to listen, where to go, how long to wait.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    to: SocketAddr,
    /// Of each way
    #[arg(long)]
    delay_us: u64,
    /// Where to write what clients asked for, and when
    #[arg(long)]
    log: Option<PathBuf>,
}

/// What has passed since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    /// Connections that clients made.
    pub(crate) connections: u64,
    /// Times that a client spoke after the server had: with HTTP/1.1, requests.
    pub(crate) requests: u64,
    /// The most exchanges, handshakes included, of which each began after the one before had ended.
    pub(crate) rounds: u64,
    /// Bytes to the server.
    pub(crate) bytes_up: u64,
    /// Bytes to clients.
    pub(crate) bytes_down: u64,
}

/// The process: serves, and answers each line of its input with what has passed since the one before, as JSON.
pub(super) fn run(options: &Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen).with_context(|| format!("listening on {}", options.listen))?;
    let proxy = DelayProxy::start(listener, options.to, Duration::from_micros(options.delay_us));
    println!("{READY}");
    for line in io::stdin().lock().lines() {
        line?;
        let (passed, mut spans) = proxy.take();
        if let Some(log) = &options.log {
            write_log(log, &mut spans).with_context(|| format!("writing {}", log.display()))?;
        }
        println!("{}", serde_json::to_string(&passed)?);
    }
    Ok(())
}

/// Appends a line for each exchange: when it began and ended, in ms from the first, and what was asked.
fn write_log(path: &Path, spans: &mut [Span]) -> io::Result<()> {
    spans.sort_by_key(|span| span.begin);
    let mut file = File::options().create(true).append(true).open(path)?;
    let Some(zero) = spans.first().map(|span| span.begin) else {
        return Ok(());
    };
    let ms = |at: Instant| at.saturating_duration_since(zero).as_secs_f64() * 1e3;
    for span in spans.iter() {
        writeln!(file, "{:9.1} {:9.1} {}", ms(span.begin), ms(span.end), span.line)?;
    }
    writeln!(file)
}

/// A running proxy.
pub(super) struct DelayProxy {
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    one_way: Duration,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    exchanges: Exchanges,
}

impl DelayProxy {
    /// Serves in the background until the process ends.
    pub(super) fn start(listener: TcpListener, to: SocketAddr, one_way: Duration) -> Self {
        let shared = Arc::new(Shared {
            to,
            one_way,
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            exchanges: Exchanges::default(),
        });
        let of_connections = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_connections);
                thread::spawn(move || {
                    // A server that is not there closes the connection, which is all that a client could learn.
                    if let Err(error) = shared.connect(stream) {
                        eprintln!("delay proxy to {}: {error}", shared.to);
                    }
                });
            }
        });
        Self { shared }
    }

    /// What has passed since it was last asked.
    fn take(&self) -> (Passed, Vec<Span>) {
        let exchanges = self.shared.exchanges.take();
        let passed = Passed {
            connections: exchanges.handshakes,
            requests: exchanges.requests,
            rounds: exchanges.rounds,
            bytes_up: self.shared.bytes_up.swap(0, Ordering::Relaxed),
            bytes_down: self.shared.bytes_down.swap(0, Ordering::Relaxed),
        };
        (passed, exchanges.spans)
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let open = Instant::now() + 2 * self.one_way;
        self.exchanges.handshake(open - 2 * self.one_way, open);
        let server = TcpStream::connect(self.to)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let exchange = Arc::new(Exchange::default());
        let up = Way {
            from: client.try_clone()?,
            to: server.try_clone()?,
            open,
            shared: Arc::clone(self),
            exchange: Arc::clone(&exchange),
            is_up: true,
        };
        let down = Way {
            from: server,
            to: client,
            open,
            shared: Arc::clone(self),
            exchange,
            is_up: false,
        };
        up.start();
        down.start();
        Ok(())
    }
}

/// One direction of a connection.
struct Way {
    from: TcpStream,
    to: TcpStream,
    /// When the handshake is over.
    open: Instant,
    shared: Arc<Shared>,
    exchange: Arc<Exchange>,
    is_up: bool,
}

impl Way {
    fn start(self) {
        let queue = Arc::new(Queue::new(QUEUE_BYTES_MAX));
        let way = Arc::new(self);
        let (reader, of_reader) = (Arc::clone(&way), Arc::clone(&queue));
        thread::spawn(move || {
            // An error ends a connection as an end does: the other side sees it closed.
            let _ = reader.read(&of_reader);
            of_reader.end(Instant::now() + reader.shared.one_way);
        });
        thread::spawn(move || {
            if way.write(&queue).is_err() {
                let _ = way.from.shutdown(Shutdown::Both);
            }
            queue.close();
            let _ = way.to.shutdown(Shutdown::Write);
        });
    }

    fn read(&self, queue: &Queue) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let bytes = match (&self.from).read(&mut buffer)? {
                0 => return Ok(()),
                bytes => bytes,
            };
            let sent = Instant::now().max(self.open);
            if self.is_up {
                self.shared.exchanges.asked(&self.exchange, sent, &buffer[..bytes]);
            }
            if !queue.push(sent + self.shared.one_way, &buffer[..bytes]) {
                return Ok(());
            }
        }
    }

    fn write(&self, queue: &Queue) -> io::Result<()> {
        while let Some((due, bytes)) = queue.pop() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // Counted before: who has the bytes may ask at once how many they were.
            let passed = if self.is_up {
                &self.shared.bytes_up
            } else {
                &self.shared.bytes_down
            };
            passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if !self.is_up {
                self.shared.exchanges.answered(&self.exchange, Instant::now());
            }
            (&self.to).write_all(&bytes)?;
        }
        Ok(())
    }
}
