//! Which of an environment's processes have ended, and how.

use super::failure::HowEnded;
use sandbox::{EXIT_STATUS_BYTES, ExitStatus};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

/// Which process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The runtime.
    Runtime,
    /// An external extension, by its name.
    Extension(String),
}

/// All processes that were started and have not ended.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    who: Who,
    id: u32,
    exit: Receiver,
}

impl Exits {
    /// Adds a process.
    pub(crate) fn add(&mut self, who: Who, id: u32, exit: OwnedFd) -> io::Result<()> {
        let exit = Receiver::from_owned_fd(exit)?;
        self.running.push(Running { who, id, exit });
        Ok(())
    }

    /// Waits for the next one that ends. Never ends when there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> (Who, HowEnded) {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The runtime's id, while it runs.
    pub(crate) fn runtime(&self) -> Option<u32> {
        let runtime = self.running.iter().find(|process| process.who == Who::Runtime);
        runtime.map(|process| process.id)
    }

    /// Whether nothing runs any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(Who, HowEnded)> {
        for index in 0..self.running.len() {
            if let Poll::Ready(how) = self.running[index].poll(context) {
                return Poll::Ready((self.running.swap_remove(index).who, how));
            }
        }
        Poll::Pending
    }
}

impl Running {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<HowEnded> {
        let mut bytes = [0; EXIT_STATUS_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.exit).poll_read(context, &mut buffer));
        // A pipe that cannot be read any more is taken for that of a process that was killed.
        let status = read.ok().and_then(|()| ExitStatus::decode(buffer.filled()));
        Poll::Ready(match status.unwrap_or(ExitStatus::Killed(9)) {
            ExitStatus::Exited(code) => HowEnded::Code(code),
            ExitStatus::Killed(signal) => HowEnded::Signal(signal),
        })
    }
}
