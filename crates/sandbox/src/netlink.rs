//! Requests to the kernel over netlink: one message, one answer. Formats: netlink(7), rtnetlink(7).
//!
//! A handful of messages is needed, of which each is a header, a fixed part and attributes; a library for all of
//! netlink would be larger than this crate.
//!
//! | offset | bytes | header, in the machine's byte order |
//! |---|---|---|
//! | 0 | 4 | length of all, header included |
//! | 4 | 2 | kind |
//! | 6 | 2 | flags |
//! | 8 | 4 | sequence number, 0 here: each socket asks one question |
//! | 12 | 4 | sender, 0 here: the kernel fills it in |

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use std::io;
use std::os::fd::OwnedFd;

const HEADER_BYTES: usize = 16;
/// Bytes that are read at once. The kernel never fills more than this in one answer to a dump. Source:
/// `NLMSG_GOODSIZE` and `netlink_dump` in net/netlink/af_netlink.c.
const ANSWER_BYTES_MAX: usize = 32 << 10;

/// Which part of the kernel is asked.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    /// Interfaces, addresses, routes, neighbours.
    Route,
    /// Packet filters.
    Netfilter,
}

/// Attributes, one after the other: length and kind of two bytes each, the value, and zeros up to a multiple of four.
#[derive(Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// One more.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("values here are names, addresses and a few nested ones");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A text that ends in a zero byte.
    pub(crate) fn with_text(self, kind: u16, text: &str) -> Self {
        let bytes: Vec<u8> = text.bytes().chain([0]).collect();
        self.with(kind, &bytes)
    }

    /// An attribute that holds a fixed part and further attributes.
    pub(crate) fn with_nested(self, kind: u16, fixed: &[u8], inner: &Self) -> Self {
        self.with(kind, &[fixed, &inner.0].concat())
    }
}

/// One message. `NLM_F_REQUEST` is among its flags.
pub(crate) fn message(kind: u16, flags: i32, fixed: &[u8], attributes: &Attributes) -> Vec<u8> {
    let flags = (flags | libc::NLM_F_REQUEST) as u16;
    let length = HEADER_BYTES + fixed.len() + attributes.0.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(fixed);
    bytes.extend(&attributes.0);
    bytes
}

/// Sends messages of which one asks for an answer (`NLM_F_ACK`), and waits for it.
pub(crate) fn ask(family: Family, messages: &[u8]) -> io::Result<()> {
    let socket = sent(family, messages)?;
    let bytes = received(&socket)?;
    match parts(&bytes).next() {
        Some((kind, body)) if i32::from(kind) == libc::NLMSG_ERROR => answer(body),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends a request for many objects (`NLM_F_DUMP`), and gives the messages that answer it, without their headers.
pub(crate) fn list(family: Family, message: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let socket = sent(family, message)?;
    let mut all = Vec::new();
    loop {
        let bytes = received(&socket)?;
        for (kind, body) in parts(&bytes) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(all),
                libc::NLMSG_ERROR => return answer(body).map(|()| all),
                _ => all.push(body.to_owned()),
            }
        }
    }
}

/// The attributes in a message's body, after its fixed part: kind and value.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn sent(family: Family, messages: &[u8]) -> io::Result<OwnedFd> {
    let protocol: Option<Protocol> = match family {
        Family::Route => None,
        Family::Netfilter => Some(netlink::NETFILTER),
    };
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, messages, SendFlags::empty())?;
    Ok(socket)
}

fn received(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; ANSWER_BYTES_MAX];
    let (_, count) = rustix::io::retry_on_intr(|| recv(socket, bytes.as_mut_slice(), RecvFlags::TRUNC))?;
    if count > bytes.len() {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Kind and body of each message.
fn parts(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let body = rest.get(HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Zero, or the negative number of an error.
fn answer(body: &[u8]) -> io::Result<()> {
    let number = body.get(..4).and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_again() {
        let inner = Attributes::default().with_text(3, "ab");
        let all = Attributes::default().with(1, &[7]).with_nested(2, &[9; 4], &inner);
        assert_eq!(all.0.len(), 8 + 4 + 4 + 8);
        let read: Vec<_> = attributes(&all.0).collect();
        assert_eq!(read[0], (1, &[7][..]));
        assert_eq!(read[1].0, 2);
        let inner: Vec<_> = attributes(&read[1].1[4..]).collect();
        assert_eq!(inner, [(3, &b"ab\0"[..])]);
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        assert_eq!(attributes(&[9, 0, 1, 0, 7]).count(), 0);
        assert_eq!(parts(&[200, 0, 0, 0, 1, 0]).count(), 0);
        assert!(answer(&[0]).is_err());
        assert!(answer(&0i32.to_ne_bytes()).is_ok());
        let refused = answer(&(-libc::EEXIST).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_message_says_its_length() {
        let bytes = message(20, libc::NLM_F_ACK, &[1; 8], &Attributes::default().with(1, &[2; 4]));
        assert_eq!(bytes.len(), 32);
        let read: Vec<_> = parts(&bytes).collect();
        assert_eq!((read.len(), read[0].0, read[0].1.len()), (1, 20, 16));
    }
}
