//! One message with descriptors over a sequenced-packet socket.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes of one message. Lambda's environment is 4 KiB and arguments are few; the kernel's default socket buffer
/// (`net.core.wmem_default`, 212992) takes this in one piece.
const MESSAGE_BYTES_MAX: usize = 160 << 10;
/// Descriptors of one message: five mounts and 16 overlays are the most.
const DESCRIPTORS_MAX: usize = 24;

pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message. A dead reader is `BrokenPipe`, never a signal.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let slices = [IoSlice::new(&bytes)];
    retry_on_intr(|| sendmsg(&socket, &slices, &mut ancillary, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The next message, or `None` when the other side has closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    // The longest is 160 KiB. Most are some hundred bytes, and a forked process pays for each page that it writes to.
    let mut bytes = vec![0; waiting_bytes(&socket)?.min(MESSAGE_BYTES_MAX)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
}

/// Bytes of the message that comes next, which stays where it is; 0 when the other side has closed.
fn waiting_bytes(socket: impl AsFd) -> io::Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_, bytes) = retry_on_intr(|| recv(&socket, &mut [0_u8; 1][..], flags))?;
    Ok(bytes)
}

/// Waits until the descriptor is readable or closed; `false` when the time is over first.
pub(crate) fn wait_readable(descriptor: impl AsFd, wait: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a wait is far below 292 billion years");
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As [`receive`], within a time. A closed socket is `BrokenPipe`, no message in time is `TimedOut`.
pub(crate) fn receive_within<T: DeserializeOwned>(socket: impl AsFd, wait: Duration) -> io::Result<(T, Vec<OwnedFd>)> {
    if !wait_readable(&socket, wait)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    receive(&socket)?.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (near, far) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&near, &"hello", &[file.as_fd(), far.as_fd()]).unwrap();
        let (text, descriptors) = receive::<String>(&far).unwrap().unwrap();
        assert_eq!((text.as_str(), descriptors.len()), ("hello", 2));
    }

    #[test]
    fn a_closed_socket_ends_both_directions() {
        let (near, far) = pair().unwrap();
        drop(far);
        assert!(receive::<String>(&near).unwrap().is_none());
        assert_eq!(send(&near, &"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let (near, _far) = pair().unwrap();
        let error = send(&near, &"x".repeat(MESSAGE_BYTES_MAX), &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
    }
}
