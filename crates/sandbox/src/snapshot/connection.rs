//! The caller's end of a connection from inside, noted and made again.
//!
//! The kernel lets a socket be put into the middle of a stream: numbers of sequence, options, window. CRIU does it with
//! the ends that are inside, and this file with those that the caller accepted. Source: tcp(7), `TCP_REPAIR`; CRIU's
//! `soccr/soccr.c`.

use crate::LISTENER_PORT;
use crate::dialer::Dialer;
use crate::kernel;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, connect, getpeername, socket_with};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

/// Source: include/uapi/linux/tcp.h.
const REPAIR: i32 = 19;
const REPAIR_QUEUE: i32 = 20;
const QUEUE_SEQUENCE: i32 = 21;
const REPAIR_OPTIONS: i32 = 22;
const TIMESTAMP: i32 = 24;
const REPAIR_WINDOW: i32 = 29;
const RECEIVE_QUEUE: u32 = 1;
const SEND_QUEUE: u32 = 2;
/// Leaves the mode without asking the other end, which is not there yet.
const REPAIR_OFF_QUIETLY: i32 = -1;
/// Bytes of `struct tcp_repair_window`: five 32-bit words.
const WINDOW_BYTES: usize = 20;
/// `struct tcp_info`: byte 5 has the options, byte 6 the scales of the windows, of the other end in its low half.
const INFO_BYTES: usize = 8;
const HAS_TIMESTAMPS: u8 = 1;
const HAS_SELECTIVE_ACKNOWLEDGEMENTS: u8 = 2;
const HAS_WINDOW_SCALES: u8 = 4;
/// Numbers of options, as in a segment's header. Source: RFC 9293 and RFC 7323.
const OPTION_SEGMENT: u32 = 2;
const OPTION_WINDOW_SCALE: u32 = 3;
const OPTION_SELECTIVE_ACKNOWLEDGEMENTS: u32 = 4;
const OPTION_TIMESTAMP: u32 = 8;

/// Where one accepted connection is in its two streams of bytes. It holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    port: u16,
    sent: u32,
    received: u32,
    segment_bytes: u32,
    options: u8,
    scales: u8,
    timestamp: u32,
    window: Vec<u8>,
}

impl Connection {
    /// Notes a connection that [`crate::Sandbox::take_listener`]'s listener accepted, while neither end sends. The
    /// connection goes on as it was.
    ///
    /// # Errors
    /// `WouldBlock` if bytes are there that nobody has read; `InvalidInput` if it is not from 127.0.0.1; what the kernel
    /// says otherwise, as of a connection that is closed.
    pub fn note(stream: impl AsFd) -> io::Result<Self> {
        let stream = stream.as_fd();
        let peer = getpeername(stream)?.ok_or(io::ErrorKind::NotConnected)?;
        let peer = SocketAddrV4::try_from(peer)?;
        if *peer.ip() != Ipv4Addr::LOCALHOST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if rustix::io::ioctl_fionread(stream)? > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        set(stream, REPAIR, 1)?;
        let noted = Self::note_repaired(stream, peer.port());
        // In every case: a socket in this mode sends nothing.
        set(stream, REPAIR, REPAIR_OFF_QUIETLY.cast_unsigned())?;
        noted
    }

    fn note_repaired(stream: impl AsFd, port: u16) -> io::Result<Self> {
        let stream = stream.as_fd();
        let sequence = |queue| {
            set(stream, REPAIR_QUEUE, queue)?;
            get(stream, QUEUE_SEQUENCE)
        };
        let (mut info, mut window) = ([0; INFO_BYTES], vec![0; WINDOW_BYTES]);
        kernel::tcp_option(stream, libc::TCP_INFO, &mut info)?;
        kernel::tcp_option(stream, REPAIR_WINDOW, &mut window)?;
        Ok(Self {
            port,
            sent: sequence(SEND_QUEUE)?,
            received: sequence(RECEIVE_QUEUE)?,
            segment_bytes: get(stream, libc::TCP_MAXSEG)?,
            options: info[5],
            scales: info[6],
            timestamp: get(stream, TIMESTAMP)?,
            window,
        })
    }

    /// Makes the same end in another sandbox, whose processes are not restored yet. Blocking, as a new stream is.
    ///
    /// # Errors
    /// What the kernel says; of a sandbox that is gone, too.
    pub fn rebuild(&self, dialer: &Dialer) -> io::Result<TcpStream> {
        dialer.inside(|| {
            let kind = (AddressFamily::INET, SocketType::STREAM);
            let stream = socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None)?;
            set(&stream, REPAIR, 1)?;
            self.fill(&stream)?;
            set(&stream, REPAIR, REPAIR_OFF_QUIETLY.cast_unsigned())?;
            Ok(TcpStream::from(stream))
        })
    }

    fn fill(&self, stream: &OwnedFd) -> io::Result<()> {
        let own = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        // In this mode neither the listener of the same port nor the missing other end is in the way.
        bind(stream, &own(LISTENER_PORT))?;
        for (queue, sequence) in [(SEND_QUEUE, self.sent), (RECEIVE_QUEUE, self.received)] {
            set(stream, REPAIR_QUEUE, queue)?;
            set(stream, QUEUE_SEQUENCE, sequence)?;
        }
        connect(stream, &own(self.port))?;
        kernel::set_tcp_option(stream, REPAIR_OPTIONS, &self.repair_options())?;
        set(stream, TIMESTAMP, self.timestamp)?;
        kernel::set_tcp_option(stream, REPAIR_WINDOW, &self.window)
    }

    /// Pairs of a number and its value.
    fn repair_options(&self) -> Vec<u8> {
        let has = |option| self.options & option != 0;
        let scales = u32::from(self.scales & 15) | u32::from(self.scales >> 4) << 16;
        let pairs = [
            (
                has(HAS_SELECTIVE_ACKNOWLEDGEMENTS),
                OPTION_SELECTIVE_ACKNOWLEDGEMENTS,
                0,
            ),
            (has(HAS_WINDOW_SCALES), OPTION_WINDOW_SCALE, scales),
            (has(HAS_TIMESTAMPS), OPTION_TIMESTAMP, 0),
            (true, OPTION_SEGMENT, self.segment_bytes),
        ];
        let pairs = pairs.into_iter().filter(|(wanted, ..)| *wanted);
        pairs
            .flat_map(|(_, option, value)| [option, value])
            .flat_map(u32::to_ne_bytes)
            .collect()
    }
}

fn set(stream: impl AsFd, option: i32, value: u32) -> io::Result<()> {
    kernel::set_tcp_option(stream, option, &value.to_ne_bytes())
}

fn get(stream: impl AsFd, option: i32) -> io::Result<u32> {
    let mut bytes = [0; 4];
    kernel::tcp_option(stream, option, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_the_connection_has_are_asked_for() {
        let mut connection = Connection {
            port: 40_000,
            sent: 1,
            received: 2,
            segment_bytes: 65_495,
            options: HAS_TIMESTAMPS | HAS_SELECTIVE_ACKNOWLEDGEMENTS | HAS_WINDOW_SCALES,
            scales: 0x7a,
            timestamp: 3,
            window: vec![0; WINDOW_BYTES],
        };
        let words = |connection: &Connection| -> Vec<u32> {
            let bytes = connection.repair_options();
            let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
            bytes.chunks(4).map(word).collect()
        };
        assert_eq!(words(&connection), [4, 0, 3, 0x0007_000a, 8, 0, 2, 65_495]);
        connection.options = 0;
        assert_eq!(words(&connection), [2, 65_495]);
    }
}
