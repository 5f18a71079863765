//! One subscriber and the task that sends to it.
//!
//! There are no time limits on a batch that is being sent: the environment may be frozen in the middle of it. While it
//! is, events fill the buffer and are then lost, so that memory stays bounded.

use super::buffer::{Batch, Buffer, Kept, Lost};
use super::event::{Category, TelemetryEvent, TelemetryRecord};
use super::subscription::{Destination, Subscription};
use super::{Connector, now_ms};
use bytes::Bytes;
use serde_json::json;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

/// Tries for one batch, the first one included: a subscriber may subscribe a moment before it listens.
const TRIES_MAX: u32 = 4;

/// Pause before the second try; it doubles with each further one.
const TRY_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a subscriber's answer that are read: its head is a few hundred.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// One subscriber.
pub(super) struct Subscriber {
    subscription: Subscription,
    buffer: Mutex<Buffer>,
    /// The batch has its first event, or is full, or is to be sent at once.
    changed: Notify,
    /// How many flushes were asked for.
    flushes: watch::Sender<u64>,
    /// How many were done.
    flushed: watch::Sender<u64>,
}

impl Subscriber {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            buffer: Mutex::new(Buffer::new(subscription.buffering)),
            subscription,
            changed: Notify::new(),
            flushes: watch::Sender::new(0),
            flushed: watch::Sender::new(0),
        }
    }

    pub(super) fn push(&self, category: Category, event: &Bytes) {
        if !self.subscription.categories.contains(&category) {
            return;
        }
        if matches!(self.lock().push(event.clone()), Kept::First | Kept::Full) {
            self.changed.notify_one();
        }
    }

    /// Has the buffer sent at once, and waits until it was.
    pub(super) async fn flush(&self) {
        let mut flushed = self.flushed.subscribe();
        let mut wanted = 0;
        self.flushes.send_modify(|count| {
            *count += 1;
            wanted = *count;
        });
        self.changed.notify_one();
        // The sender is ours and lives as long as we do.
        let _ = flushed.wait_for(|done| *done >= wanted).await;
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to send: a full batch, an old one, or one that is wanted now.
    async fn ready(&self) -> u64 {
        let mut due = None;
        loop {
            let flush = *self.flushes.borrow();
            let (is_full, is_empty) = {
                let buffer = self.lock();
                (buffer.is_full(), buffer.is_empty())
            };
            if is_full || flush > *self.flushed.borrow() {
                return flush;
            }
            if is_empty {
                due = None;
                self.changed.notified().await;
                continue;
            }
            let due = *due.get_or_insert_with(|| Instant::now() + self.subscription.buffering.timeout);
            if timeout_at(due, self.changed.notified()).await.is_err() {
                return flush;
            }
        }
    }

    fn take(&self) -> Batch {
        let (mut batch, lost) = self.lock().take();
        if let Some(lost) = lost
            && self.subscription.categories.contains(&Category::Platform)
        {
            let event = lost_event(lost).render();
            batch.bytes += event.len();
            batch.events.push(event);
        }
        batch
    }
}

/// Sends batches until it is dropped.
pub(super) async fn run(subscriber: Arc<Subscriber>, connector: Connector) {
    let mut sender = Sender {
        destination: subscriber.subscription.destination.clone(),
        connector,
        connection: None,
    };
    loop {
        let flush = subscriber.ready().await;
        let batch = subscriber.take();
        if !batch.events.is_empty() && sender.send(&batch).await.is_err() {
            subscriber.lock().lose(batch.events.len(), batch.bytes);
        }
        subscriber.flushed.send_replace(flush);
    }
}

fn lost_event(lost: Lost) -> TelemetryEvent {
    TelemetryEvent {
        time_ms: now_ms(),
        record: TelemetryRecord::Platform {
            name: "platform.logsDropped",
            record: json!({
                "reason": "the subscriber took its events more slowly than they came, or did not take them",
                "droppedRecords": lost.records,
                "droppedBytes": lost.bytes,
            }),
        },
    }
}

struct Sender {
    destination: Destination,
    connector: Connector,
    /// Of a TCP destination.
    connection: Option<TcpStream>,
}

impl Sender {
    async fn send(&mut self, batch: &Batch) -> io::Result<()> {
        let mut tries = 1;
        loop {
            let Err(error) = self.try_send(batch).await else {
                return Ok(());
            };
            if tries == TRIES_MAX {
                return Err(error);
            }
            sleep(TRY_PAUSE * 2_u32.pow(tries - 1)).await;
            tries += 1;
        }
    }

    async fn try_send(&mut self, batch: &Batch) -> io::Result<()> {
        match self.destination.clone() {
            Destination::Http { port, path } => {
                let mut connection = self.connect(port).await?;
                connection.write_all(&http_request(port, &path, batch)).await?;
                read_answer(&mut connection).await
            }
            Destination::Tcp { port } => {
                let mut connection = match self.connection.take() {
                    Some(connection) => connection,
                    None => self.connect(port).await?,
                };
                connection.write_all(&joined(&batch.events, b"", b"\n", b"\n")).await?;
                self.connection = Some(connection);
                Ok(())
            }
        }
    }

    /// The connector enters the environment's network, which is a thread's business.
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let connector = Arc::clone(&self.connector);
        let stream = tokio::task::spawn_blocking(move || connector(port))
            .await
            .map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

fn http_request(port: u16, path: &str, batch: &Batch) -> Vec<u8> {
    let body = joined(&batch.events, b"[", b",", b"]");
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}

/// Events with something before, between and after them.
fn joined(events: &[Bytes], before: &[u8], between: &[u8], after: &[u8]) -> Vec<u8> {
    let mut text = before.to_vec();
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(between);
        }
        text.extend_from_slice(event);
    }
    text.extend_from_slice(after);
    text
}

/// Reads until the answer's first line is here: any 2xx will do.
async fn read_answer(connection: &mut TcpStream) -> io::Result<()> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && answer.len() < ANSWER_BYTES_MAX {
        match connection.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    if answer.starts_with(b"HTTP/1.") && answer.get(9) == Some(&b'2') {
        // What is left is read, so that closing does not cut off a subscriber that still writes.
        let mut rest = connection.take(ANSWER_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.ok();
        return Ok(());
    }
    Err(io::Error::other("the subscriber did not answer with 200"))
}
