//! The sandbox's own network: loopback, and the one listener that its caller serves.

use crate::LISTENER_PORT;
use crate::kernel;
use crate::wire::{Failure, Step};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Brings up loopback and listens there, before anything else can run here.
pub(super) fn listen() -> Result<TcpListener, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).step(|| "make a socket inside".to_owned())?;
    kernel::raise_loopback(&socket).step(|| "bring up loopback".to_owned())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, LISTENER_PORT))
        .step(|| format!("listen on 127.0.0.1:{LISTENER_PORT} inside"))?;
    listener
        .set_nonblocking(true)
        .step(|| "make the listener non-blocking".to_owned())?;
    Ok(listener)
}
