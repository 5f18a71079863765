//! The other end of the daemon's socket.

use crate::daemon::socket_path;
use crate::left_over::{clean_after_dead, end_caught};
use crate::protocol::{Answer, MountRequest, Mounted, PROTOCOL_VERSION, Question, Request, Selector, receive, send};
use crate::report::{CacheStats, ImageStats, MountLine};
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a client tries to find a daemon or to start one, when others are beginning or ending at the same time.
const START_BUDGET: Duration = Duration::from_secs(20);

/// Between two tries, for another daemon to get on.
const START_PAUSE: Duration = Duration::from_millis(10);

/// A connection to the daemon of a worker's directory.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    directory: PathBuf,
    store_name: String,
}

/// Why the daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon said why not.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// The daemon hung up, or its socket failed.
    #[error("lost the daemon of {}: {source}; its log is {}", directory.display(), directory.join("log").display())]
    Lost {
        /// The worker's directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No daemon could be started.
    #[error("cannot start the daemon of {}: {reason}; its log is {}", directory.display(), directory.join("log").display())]
    NotStarted {
        /// The worker's directory.
        directory: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// What a daemon that is being started says on its standard output.
#[derive(Debug, PartialEq, Eq)]
enum FirstWords {
    Ready,
    /// Another one holds the directory.
    Busy,
    Failed(String),
}

impl Client {
    /// Connects; `None` when no daemon runs. Takes away first what one left that died together with its keeper.
    pub fn connect(directory: &Path, store_name: &str) -> Result<Option<Self>, ClientError> {
        match clean_after_dead(directory) {
            Ok(None) => {}
            Ok(Some(report)) => tracing::warn!(?report, "cleaned up after a daemon that died together with its keeper"),
            Err(error) => tracing::warn!("cannot clean up what a dead daemon left: {error}"),
        }
        Self::connect_to_socket(directory, store_name)
    }

    fn connect_to_socket(directory: &Path, store_name: &str) -> Result<Option<Self>, ClientError> {
        let connected = socket_path(directory).and_then(|(path, _held)| UnixStream::connect(path));
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(source) => return Err(lost(directory, source)),
        };
        let reader = BufReader::new(stream.try_clone().map_err(|source| lost(directory, source))?);
        Ok(Some(Self {
            stream,
            reader,
            directory: directory.to_owned(),
            store_name: store_name.to_owned(),
        }))
    }

    /// Connects, and starts a daemon with the command that `start` makes when there is none.
    pub fn connect_or_start(
        directory: &Path,
        store_name: &str,
        start: impl Fn() -> io::Result<Command>,
    ) -> Result<Self, ClientError> {
        let deadline = Instant::now() + START_BUDGET;
        let not_started = |reason: String| ClientError::NotStarted {
            directory: directory.to_owned(),
            reason,
        };
        // A dead daemon that is caught in the kernel would take questions and answer none. The next one cleans up.
        end_caught(directory).map_err(|error| not_started(error.to_string()))?;
        loop {
            if let Some(client) = Self::connect_to_socket(directory, store_name)? {
                return Ok(client);
            }
            let command = start().map_err(|error| not_started(error.to_string()))?;
            match first_words(command).map_err(|error| not_started(error.to_string()))? {
                FirstWords::Ready => {}
                FirstWords::Busy if Instant::now() < deadline => std::thread::sleep(START_PAUSE),
                FirstWords::Busy => return Err(not_started("another one does not end".to_owned())),
                FirstWords::Failed(reason) => return Err(not_started(reason)),
            }
        }
    }

    /// Mounts an image. Asking again for what is there changes nothing.
    pub fn mount(&mut self, request: MountRequest) -> Result<Mounted, ClientError> {
        match self.ask(Request::Mount(request))? {
            Answer::Mounted(mounted) => Ok(mounted),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Unmounts; gives the directories.
    pub fn unmount(&mut self, selector: Selector) -> Result<Vec<PathBuf>, ClientError> {
        match self.ask(Request::Unmount(selector))? {
            Answer::Unmounted(directories) => Ok(directories),
            other => Err(self.unexpected(&other)),
        }
    }

    /// All mounts.
    pub fn mounts(&mut self) -> Result<Vec<MountLine>, ClientError> {
        match self.ask(Request::Mounts)? {
            Answer::Mounts(lines) => Ok(lines),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What an image has read since it was attached.
    pub fn stats(&mut self, selector: Selector) -> Result<ImageStats, ClientError> {
        match self.ask(Request::Stats(selector))? {
            Answer::Stats(stats) => Ok(*stats),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What the cache that all images share has done since the daemon began.
    pub fn cache(&mut self) -> Result<CacheStats, ClientError> {
        match self.ask(Request::Cache)? {
            Answer::Cache(stats) => Ok(*stats),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Says that a program is ready; gives the bytes that its start touched.
    pub fn ready(&mut self, selector: Selector) -> Result<u64, ClientError> {
        match self.ask(Request::Ready(selector))? {
            Answer::Ready { touched_bytes } => Ok(touched_bytes),
            other => Err(self.unexpected(&other)),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Answer, ClientError> {
        let question = Question {
            protocol: PROTOCOL_VERSION,
            store: self.store_name.clone(),
            request,
        };
        let answer = send(&self.stream, &question).and_then(|()| receive(&mut self.reader));
        match answer.map_err(|source| lost(&self.directory, source))? {
            Some(Answer::Failed { message }) => Err(ClientError::Refused { message }),
            Some(answer) => Ok(answer),
            None => Err(lost(&self.directory, io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn unexpected(&self, answer: &Answer) -> ClientError {
        let text = format!("it answered something else: {answer:?}");
        lost(&self.directory, io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl ClientError {
    /// Whether the daemon went away, so that asking its successor may help.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// Spawns a daemon, which lives on, and reads its first line.
fn first_words(mut command: Command) -> io::Result<FirstWords> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    // It goes on as the daemon's keeper, or is ending. A caller that lives long must not gather dead children.
    std::thread::Builder::new()
        .name("keeper's end".to_owned())
        .spawn(move || child.wait())?;
    Ok(match line.trim_end() {
        "ready" => FirstWords::Ready,
        "busy" => FirstWords::Busy,
        "" => FirstWords::Failed("it ended without a word".to_owned()),
        other => FirstWords::Failed(other.to_owned()),
    })
}

fn lost(directory: &Path, source: io::Error) -> ClientError {
    ClientError::Lost {
        directory: directory.to_owned(),
        source,
    }
}
