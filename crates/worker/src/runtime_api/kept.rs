//! Connections of an environment that will be written to a snapshot, and of one that was.
//!
//! A runtime is written while it waits for an answer on a connection to this server. What it has asked lies in this
//! process, so it is kept here: all bytes that have come over a connection since the last answer began. In a clone the
//! connection is made again in the middle of its stream ([`sandbox::Connection`]), the kept bytes are read first, and the
//! same call waits in the same route; its answer goes where the runtime listens.
//!
//! Only environments of which a snapshot is taken pay for this.

use sandbox::Connection;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of one request's head that are kept. Calls that wait have a few hundred.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The calls that may wait while a snapshot is taken.
const MAY_WAIT: [&[u8]; 2] = [
    b"GET /2018-06-01/runtime/restore/next",
    b"GET /2018-06-01/runtime/invocation/next",
];

/// A connection of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptConnection {
    /// Where it is in its streams.
    pub(crate) connection: Connection,
    /// What had come over it and waits for its answer: a request's head, or nothing.
    pub(crate) come: Vec<u8>,
}

/// Why the connections of an environment cannot be noted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    /// Another call than one for the next event.
    #[error("it talks to the Runtime API meanwhile: {0}")]
    Talks(String),
    #[error("cannot note a connection to the Runtime API: {0}")]
    Kernel(#[from] io::Error),
}

/// Watches the connections of one environment.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    connections: Mutex<Vec<Weak<Kept>>>,
    /// Connections and bytes that have come, ever.
    come: AtomicU64,
    noted: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    stream: OwnedFd,
    unanswered: Mutex<Vec<u8>>,
}

/// A connection that is watched.
pub(super) struct Watched {
    stream: TcpStream,
    keeper: Arc<Keeper>,
    kept: Arc<Kept>,
}

/// A connection on which something has come before.
pub(super) struct Resumed {
    stream: TcpStream,
    come: Vec<u8>,
    read: usize,
}

impl Keeper {
    /// Watches a new connection as long as it is there.
    pub(super) fn watch(keeper: &Arc<Self>, stream: TcpStream) -> io::Result<Watched> {
        let kept = Arc::new(Kept {
            stream: stream.as_fd().try_clone_to_owned()?,
            unanswered: Mutex::default(),
        });
        let mut connections = lock(&keeper.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&kept));
        keeper.come.fetch_add(1, Ordering::Relaxed);
        Ok(Watched {
            stream,
            keeper: Arc::clone(keeper),
            kept,
        })
    }

    /// Where all connections are, and what waits on them.
    pub(super) fn note(&self) -> Result<Vec<KeptConnection>, KeptError> {
        self.noted.store(self.come.load(Ordering::Acquire), Ordering::Release);
        let connections: Vec<_> = lock(&self.connections).iter().filter_map(Weak::upgrade).collect();
        connections.iter().map(|kept| kept.note()).collect()
    }

    /// Whether nothing has come since.
    pub(super) fn is_as_noted(&self) -> bool {
        self.come.load(Ordering::Acquire) == self.noted.load(Ordering::Acquire)
    }
}

impl Kept {
    fn note(&self) -> Result<KeptConnection, KeptError> {
        let come = lock(&self.unanswered).clone();
        let may_wait = MAY_WAIT.iter().any(|call| come.starts_with(call)) && come.ends_with(b"\r\n\r\n");
        if !come.is_empty() && !may_wait {
            let line = come.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line: String = String::from_utf8_lossy(line).chars().take(100).collect();
            return Err(KeptError::Talks(line));
        }
        let connection = Connection::note(&self.stream)?;
        Ok(KeptConnection { connection, come })
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let new = &buffer.filled()[before..];
        this.keeper.come.fetch_add(new.len() as u64, Ordering::Release);
        let mut unanswered = lock(&this.kept.unanswered);
        // A longer one is no call that may wait, whatever its end is.
        let room = HEAD_BYTES_MAX.saturating_sub(unanswered.len());
        unanswered.extend_from_slice(&new[..new.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        lock(&this.kept.unanswered).clear();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Resumed {
    /// What has come is read first.
    pub(super) fn new(stream: TcpStream, come: Vec<u8>) -> Self {
        Self { stream, come, read: 0 }
    }
}

impl AsyncRead for Resumed {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = &this.come[this.read..];
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let piece = &left[..left.len().min(buffer.remaining())];
        buffer.put_slice(piece);
        this.read += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Resumed {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Held for a few lines that cannot panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn what_has_come_since_the_last_answer_is_kept() {
        let keeper: Arc<Keeper> = Arc::default();
        let (mut client, server) = pair().await;
        let mut watched = Keeper::watch(&keeper, server).unwrap();
        let unanswered = |watched: &Watched| lock(&watched.kept.unanswered).clone();
        let mut buffer = [0; 100];
        client.write_all(b"first").await.unwrap();
        let read = watched.read(&mut buffer).await.unwrap();
        assert_eq!(
            (&buffer[..read], &*unanswered(&watched)),
            (&b"first"[..], &b"first"[..])
        );
        watched.write_all(b"answer").await.unwrap();
        assert!(unanswered(&watched).is_empty());
        client.write_all(b"second").await.unwrap();
        watched.read_exact(&mut buffer[..6]).await.unwrap();
        assert_eq!(unanswered(&watched), b"second");
        assert!(matches!(keeper.note(), Err(KeptError::Talks(line)) if line == "second"));
        assert!(keeper.is_as_noted());
        client.write_all(b" goes on").await.unwrap();
        watched.read_exact(&mut buffer[..8]).await.unwrap();
        assert!(!keeper.is_as_noted());
        drop(watched);
        assert!(keeper.note().unwrap().is_empty(), "what is closed is forgotten");
    }

    #[tokio::test]
    async fn a_resumed_connection_begins_with_what_had_come() {
        let (mut client, server) = pair().await;
        let mut resumed = Resumed::new(server, b"GET / ".to_vec());
        client.write_all(b"HTTP").await.unwrap();
        let mut buffer = [0; 10];
        resumed.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"GET / HTTP");
    }
}
