//! Connections from the host into a sandbox's own network.

use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// The kernel answers for a listener on loopback at once, frozen or not, unless the listener's queue is full.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Opens connections to ports of 127.0.0.1 inside one sandbox.
///
/// It holds a pidfd, by which the kernel finds the network as long as the sandbox lives, and no longer: unlike a
/// descriptor of the network itself, it keeps nothing alive.
#[derive(Debug)]
pub struct Dialer {
    init: OwnedFd,
}

impl Dialer {
    pub(crate) fn new(init: OwnedFd) -> Self {
        Self { init }
    }

    /// Connects to a port of 127.0.0.1 inside. Blocks for up to two seconds.
    ///
    /// A socket belongs to the network that its thread is in when it is made. So a thread of its own enters the
    /// sandbox's network, connects, and ends; this one never leaves the host's.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens; `TimedOut` when the listener's queue stays full; what the kernel says
    /// of a sandbox that is gone.
    pub fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.inside(|| TcpStream::connect_timeout(&address, CONNECT_WAIT))
    }

    /// Does something on a thread that is in the sandbox's network.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let enter_and_act = || {
            move_into_thread_name_spaces(self.init.as_fd(), ThreadNameSpaceType::NETWORK)?;
            act()
        };
        thread::scope(|scope| {
            let acting = thread::Builder::new()
                .name("dialer".to_owned())
                .spawn_scoped(scope, enter_and_act)?;
            let panicked = |_| io::Error::other("the thread in a sandbox's network panicked");
            acting.join().unwrap_or_else(|panic| Err(panicked(panic)))
        })
    }
}
