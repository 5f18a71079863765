//! The child's side.

use super::message::{ExchangeError, Message, MessageError, receive, send};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// A child's line to its keeper.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    /// Held from a message to its answer, so that threads do not take each other's.
    turn: Mutex<()>,
}

/// The keeper could not be spoken to, or refused.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed, or is none.
    #[error("could not reach the keeper (hint: this role is started by a keeper, not by hand)")]
    Socket(#[source] Errno),
    /// The keeper has died.
    #[error("the keeper is gone")]
    Gone,
    /// A message cannot be sent or understood.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The keeper answered with something that is no answer.
    #[error("the keeper broke its protocol")]
    Protocol,
    /// The keeper holds as many descriptors as it may.
    #[error("the keeper holds {max} descriptors already", max = super::DESCRIPTORS_MAX)]
    Refused,
}

impl From<ExchangeError> for LinkError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Socket(Errno::PIPE | Errno::CONNRESET) => LinkError::Gone,
            ExchangeError::Socket(source) => LinkError::Socket(source),
            ExchangeError::Message(error) => LinkError::Message(error),
        }
    }
}

impl Link {
    /// As [`Link::connect`], over standard input, where [`super::run`] puts the socket. Standard input is `/dev/null`
    /// afterwards, so that processes which this one starts do not inherit the line.
    pub fn from_stdin() -> Result<(Link, Vec<(String, OwnedFd)>), LinkError> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned();
        let socket = socket.map_err(|error| LinkError::Socket(Errno::from_io_error(&error).unwrap_or(Errno::BADF)))?;
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
        rustix::stdio::dup2_stdin(null.map_err(LinkError::Socket)?).map_err(LinkError::Socket)?;
        Link::connect(socket)
    }

    /// Takes over what earlier children stored, by name and in the order of names.
    pub fn connect(socket: OwnedFd) -> Result<(Link, Vec<(String, OwnedFd)>), LinkError> {
        let mut held = Vec::new();
        loop {
            match receive(&socket)? {
                Some((Message::Held(name), Some(descriptor))) => held.push((name, descriptor)),
                Some((Message::End, _)) => {
                    return Ok((
                        Link {
                            socket,
                            turn: Mutex::new(()),
                        },
                        held,
                    ));
                }
                Some(_) => return Err(LinkError::Protocol),
                None => return Err(LinkError::Gone),
            }
        }
    }

    /// Has the keeper hold a copy of `descriptor` under `name`, in place of what it held under that name. From when
    /// this returns, a successor will get it.
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.ask(&Message::Store(name.to_owned()), Some(descriptor))
    }

    /// Has the keeper close what it holds under `name`, if anything.
    pub fn remove(&self, name: &str) -> Result<(), LinkError> {
        self.ask(&Message::Remove(name.to_owned()), None)
    }

    /// Tells the keeper that this child serves. Without it the keeper gives the child up.
    pub fn ready(&self) -> Result<(), LinkError> {
        self.ask(&Message::Ready, None)
    }

    /// Waits until the keeper is gone. What to do then, the owner decides: it can serve on, but a crash would now end
    /// the session.
    pub fn keeper_gone(&self) -> Result<(), LinkError> {
        loop {
            // No events are asked for: the other side's end is always reported.
            match poll(&mut [PollFd::new(&self.socket, PollFlags::empty())], None) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(source) => return Err(LinkError::Socket(source)),
            }
        }
    }

    /// The keeper's process, dead or alive.
    pub fn keeper_id(&self) -> Option<Pid> {
        rustix::net::sockopt::socket_peercred(&self.socket)
            .ok()
            .map(|who| who.pid)
    }

    fn ask(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        send(&self.socket, message, descriptor)?;
        match receive(&self.socket)? {
            Some((Message::Done, _)) => Ok(()),
            Some((Message::Refused, _)) => Err(LinkError::Refused),
            Some(_) => Err(LinkError::Protocol),
            None => Err(LinkError::Gone),
        }
    }
}
