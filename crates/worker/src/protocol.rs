//! What a client and the daemon say to each other.
//!
//! A stream socket in the worker's directory, root's alone. Each message is one line of JSON, at most
//! [`MESSAGE_BYTES_MAX`] long; a client asks, the daemon answers, and so on until the client hangs up. Every question
//! says which protocol and which store it means, so that a client of another build, or one that was told to use
//! another store, is refused by name and not answered from the wrong place.

use crate::report::{CacheStats, ImageStats, MountLine};
use api::ImageAddress;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

/// Counts up when a message changes its meaning.
pub(crate) const PROTOCOL_VERSION: u32 = 3;

/// Longest message: a list of some ten thousand mounts.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The socket's name in the worker's directory.
pub(crate) const SOCKET_NAME: &str = "socket";

/// Asks for a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// What to mount.
    pub image: MountedImage,
    /// Where: an absolute path of a directory.
    pub target: PathBuf,
}

/// Which image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MountedImage {
    /// The one that a name stands for now. The daemon reads the name's record: its connections to the store are open.
    Named {
        /// Whose name.
        account: String,
        /// The name.
        name: String,
    },
    /// This one, as somebody found it before.
    Found(ImageAddress),
}

/// A mount that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mounted {
    /// The loop device under it.
    pub device: PathBuf,
    /// Whether the image was attached already.
    pub shared: bool,
    /// Bytes of the device.
    pub image_bytes: u64,
    /// Whether a start pack leads the way.
    pub start_pack: bool,
}

/// Chooses among what is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selector {
    /// By the directory that it is mounted on, an absolute path.
    Directory(PathBuf),
    /// By the image's name: all its mounts.
    Name(String),
}

/// A question, with what it takes for granted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) protocol: u32,
    pub(crate) store: String,
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Mount(MountRequest),
    Unmount(Selector),
    Mounts,
    Stats(Selector),
    Cache,
    Ready(Selector),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    Mounted(Mounted),
    Unmounted(Vec<PathBuf>),
    Mounts(Vec<MountLine>),
    Stats(Box<ImageStats>),
    Cache(Box<CacheStats>),
    Ready { touched_bytes: u64 },
    Failed { message: String },
}

/// Writes one message.
pub(crate) fn send(mut stream: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads one message; `None` when the other side has hung up.
pub(crate) fn receive<T: for<'a> Deserialize<'a>>(stream: impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "a message of the worker's socket ends after {} bytes without a newline",
                line.len()
            ),
        )),
    }
}
