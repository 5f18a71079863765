//! What is said to a memcached server: a few commands, in either of its two protocols, as bytes and back.
//!
//! The crates that speak to memcached (`memcache` 0.21, `async-memcached` 0.9) were passed over: the one brings OpenSSL
//! for TLS, the other has neither TLS nor passwords, and neither lets an answer that nobody waits for any more go by on
//! a connection that others use. That last point is what reading five and using four needs.
//!
//! Commands are answered in the order in which they were sent, so a connection carries many at once. Whatever is not an
//! answer to what was asked is an error after which the connection is closed: there is no telling where the next answer
//! begins.

mod binary;
mod meta;
mod spare;

use super::fragment::{FRAGMENT_BYTES_MAX, Fragment, HEADER_BYTES};
use super::values::{VALUE_BYTES_MAX, ValueName};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use chunk::ChunkId;
use spare::SpareBuffers;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Which of memcached's protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The meta commands of the ASCII protocol: what memcached recommends.
    Meta,
    /// The older binary one: servers that ask for SASL (`-S`) speak no other.
    Binary,
}

/// What is asked of a node.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// The fragment of this chunk that the node has.
    Get { id: ChunkId, stored_bytes: u32 },
    /// Keep this fragment, in place of any other of its chunk.
    Set { fragment: Fragment },
    /// The value of this name.
    Look { name: ValueName },
    /// Keep this value for so many seconds, at most 30 days: memcached takes more for a date.
    Keep { name: ValueName, value: Bytes, life_s: u32 },
    /// Forget what lies there.
    Delete { key: Key },
}

/// Under what something lies on a node. Hexadecimal, since the ASCII protocol takes no arbitrary bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// A chunk's fragment.
    Fragment(ChunkId),
    /// A value.
    Value(ValueName),
}

impl Command {
    fn key(&self) -> Key {
        match self {
            Self::Get { id, .. } => Key::Fragment(*id),
            Self::Set { fragment } => Key::Fragment(fragment.id),
            Self::Look { name } | Self::Keep { name, .. } => Key::Value(*name),
            Self::Delete { key } => *key,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fragment(id) => write!(formatter, "lambent1:{id}"),
            Self::Value(name) => write!(formatter, "lambent-value1:{name}"),
        }
    }
}

/// What a node answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// What it keeps under the key.
    Value(Bytes),
    /// It keeps nothing there.
    Nothing,
    /// Done.
    Done,
    /// It understood and would not, for instance because its memory is full.
    Refused(String),
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The transport broke, or the node closed the connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not an answer to what was asked.
    #[error("it answered `{answer}`, which is no answer to what was asked")]
    Garbage {
        /// Its beginning, with unprintable bytes escaped.
        answer: String,
    },
    /// A length that nobody has stored.
    #[error("it announced {bytes} bytes: at most {FRAGMENT_BYTES_MAX} are stored")]
    TooLong {
        /// The length.
        bytes: u64,
    },
    /// The password is wrong, or the server wants one.
    #[error("it refused the user name and password: {answer}")]
    Unauthorized {
        /// The node's own words.
        answer: String,
    },
}

impl Dialect {
    /// A command as bytes to be sent.
    pub(crate) fn command(self, command: &Command) -> impl Buf + use<> {
        let payload = match command {
            Command::Set { fragment } => fragment.payload.clone(),
            Command::Keep { value, .. } => value.clone(),
            Command::Get { .. } | Command::Look { .. } | Command::Delete { .. } => Bytes::new(),
        };
        let mut head = Vec::with_capacity(256);
        let tail: &'static [u8] = match self {
            Self::Meta => meta::command(command, &mut head),
            Self::Binary => {
                binary::command(command, &mut head);
                b""
            }
        };
        Buf::chain(Bytes::from(head), payload).chain(tail)
    }

    /// A user name and a password as bytes to be sent.
    pub(crate) fn login(self, user: &str, password: &str) -> zeroize::Zeroizing<Vec<u8>> {
        match self {
            Self::Meta => meta::login(user, password),
            Self::Binary => binary::login(user, password),
        }
    }
}

/// The answers that a connection brings, one after the other.
#[derive(Debug)]
pub(crate) struct Replies<R> {
    input: R,
    dialect: Dialect,
    /// What has come and is not taken yet: heads of answers, and no more of a value than came with its head.
    buffer: BytesMut,
    /// What values are read into.
    values: SpareBuffers,
}

/// Bytes to read at least when an answer's beginning is awaited; what of a value comes with it is copied once.
const HEAD_BYTES: usize = 4096;

impl<R: AsyncRead + Unpin> Replies<R> {
    pub(crate) fn new(input: R, dialect: Dialect) -> Self {
        Self {
            input,
            dialect,
            buffer: BytesMut::new(),
            values: SpareBuffers::default(),
        }
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> Result<Reply, ProtocolError> {
        match self.dialect {
            Dialect::Meta => meta::reply(self).await,
            Dialect::Binary => binary::reply(self).await,
        }
    }

    /// The answer to a login: an error when it was refused.
    pub(crate) async fn login(&mut self) -> Result<(), ProtocolError> {
        match self.dialect {
            Dialect::Meta => meta::login_reply(self).await,
            Dialect::Binary => binary::login_reply(self).await,
        }
    }

    /// Returns when the node says something unasked, which is never good. Can be dropped and called again.
    pub(crate) async fn unasked(&mut self) -> ProtocolError {
        match self.fill(1).await {
            Ok(()) => garbage(&self.buffer),
            Err(error) => error,
        }
    }

    /// Waits until at least `bytes` are in the buffer, and reads no further than that or [`HEAD_BYTES`]. What has been
    /// read stays when the future is dropped.
    async fn fill(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        let missing = bytes.saturating_sub(self.buffer.len());
        self.buffer.reserve(missing.max(HEAD_BYTES));
        while self.buffer.len() < bytes {
            let room = (bytes - self.buffer.len()).max(HEAD_BYTES);
            if self.input.read_buf(&mut (&mut self.buffer).limit(room)).await? == 0 {
                return Err(closed());
            }
        }
        Ok(())
    }

    /// The next `bytes`, as memory of their own: read straight into it, but for what came with the head. Must not be
    /// dropped halfway if more is to be read.
    async fn take(&mut self, bytes: usize) -> Result<Bytes, ProtocolError> {
        let mut value = self.values.take(bytes);
        let here = self.buffer.split_to(bytes.min(self.buffer.len()));
        value.extend_from_slice(&here);
        drop(here);
        while value.len() < bytes {
            let room = bytes - value.len();
            if self.input.read_buf(&mut (&mut value).limit(room)).await? == 0 {
                return Err(closed());
            }
        }
        Ok(self.values.give(value))
    }
}

fn closed() -> ProtocolError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection").into()
}

fn garbage(answer: &[u8]) -> ProtocolError {
    let answer = answer[..answer.len().min(60)].escape_ascii().to_string();
    ProtocolError::Garbage { answer }
}

fn value_bytes(announced: u64) -> Result<usize, ProtocolError> {
    usize::try_from(announced)
        .ok()
        .filter(|bytes| *bytes <= FRAGMENT_BYTES_MAX)
        .ok_or(ProtocolError::TooLong { bytes: announced })
}

const _: () = assert!(FRAGMENT_BYTES_MAX < 1 << 20, "memcached's items end at 1 MiB");
const _: () = assert!(VALUE_BYTES_MAX <= FRAGMENT_BYTES_MAX, "no longer answer is taken");
const _: () = assert!(
    HEADER_BYTES < HEAD_BYTES,
    "a header is read with the answer's first line"
);

#[cfg(test)]
mod tests;
