//! What keeper and child say to each other: packets of a `SOCK_SEQPACKET` pair, a message each.
//!
//! ```text
//! offset width what (little-endian)         kind  from    name  descriptor  meaning
//!      0     1 version, 1                      1  child   yes   one         store it, in place of one with that name
//!      1     1 kind                            2  child   yes               close the one with that name
//!      2     2 N, bytes of the name            3  child                     it serves
//!      4     N name, UTF-8                     4  keeper  yes   one         one that an earlier child stored
//!                                              5  keeper                    that was all
//!                                              6  keeper                    done
//!                                              7  keeper                    refused: too many descriptors
//! ```
//! A child first reads kind 4 up to kind 5. Then it may speak, and waits for a 6 or a 7 after each message: when
//! storing returns, a crash in the next instant loses nothing.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of a descriptor's name: a word and a number.
pub const NAME_BYTES_MAX: usize = 64;

/// Descriptors that a keeper holds. A daemon needs a handful; the limit is there so that a fault in it stops at the
/// keeper's door. A process has 1,024 descriptors unless its limit was raised; whoever needs more raises it.
pub const DESCRIPTORS_MAX: usize = 4096;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;
const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + NAME_BYTES_MAX;

/// One message; the descriptor of `Store` and `Held` travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Store(String),
    Remove(String),
    Ready,
    Held(String),
    End,
    Done,
    Refused,
}

/// A packet that is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Written by another version of this code.
    #[error("the message has version {found}, this program speaks {VERSION}")]
    Version {
        /// What it says.
        found: u8,
    },
    /// Not of the documented form.
    #[error("the message is malformed")]
    Malformed,
    /// Longer than any name may be.
    #[error("the name has {bytes} bytes, at most {NAME_BYTES_MAX} are possible")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A descriptor is missing: the receiver may have no room for more (`ulimit -n`).
    #[error("the message came without its descriptor (hint: the limit of open files may be reached)")]
    DescriptorMissing,
}

/// Why a message was not received or sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Socket(#[from] Errno),
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Sends one message as one packet.
pub(super) fn send(
    socket: impl AsFd,
    message: &Message,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), ExchangeError> {
    let packet = encode(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        let pushed = control.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(pushed, "the buffer has room for one descriptor");
    }
    sendmsg(socket, &[IoSlice::new(&packet)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(super) fn receive(socket: impl AsFd) -> Result<Option<(Message, Option<OwnedFd>)>, ExchangeError> {
    // A byte more than the longest message, so that a longer one is seen.
    let mut packet = [0; MESSAGE_BYTES_MAX + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut packet)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = decode(&packet[..received.bytes])?;
    let wanted = matches!(message, Message::Store(_) | Message::Held(_));
    if wanted && (descriptor.is_none() || received.flags.contains(ReturnFlags::CTRUNC)) {
        return Err(MessageError::DescriptorMissing.into());
    }
    Ok(Some((message, descriptor)))
}

fn encode(message: &Message) -> Result<Vec<u8>, MessageError> {
    let (kind, name) = match message {
        Message::Store(name) => (1, name.as_str()),
        Message::Remove(name) => (2, name.as_str()),
        Message::Ready => (3, ""),
        Message::Held(name) => (4, name.as_str()),
        Message::End => (5, ""),
        Message::Done => (6, ""),
        Message::Refused => (7, ""),
    };
    if name.len() > NAME_BYTES_MAX {
        return Err(MessageError::NameTooLong { bytes: name.len() });
    }
    let mut packet = vec![VERSION, kind];
    packet.extend((name.len() as u16).to_le_bytes());
    packet.extend(name.as_bytes());
    Ok(packet)
}

/// Reads one packet.
fn decode(packet: &[u8]) -> Result<Message, MessageError> {
    let (&[version, kind, low, high], name) = packet.split_first_chunk().ok_or(MessageError::Malformed)?;
    if version != VERSION {
        return Err(MessageError::Version { found: version });
    }
    if usize::from(u16::from_le_bytes([low, high])) != name.len() {
        return Err(MessageError::Malformed);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(MessageError::NameTooLong { bytes: name.len() });
    }
    let name = std::str::from_utf8(name)
        .map_err(|_| MessageError::Malformed)?
        .to_owned();
    match (kind, name.is_empty()) {
        (1, false) => Ok(Message::Store(name)),
        (2, false) => Ok(Message::Remove(name)),
        (3, true) => Ok(Message::Ready),
        (4, false) => Ok(Message::Held(name)),
        (5, true) => Ok(Message::End),
        (6, true) => Ok(Message::Done),
        (7, true) => Ok(Message::Refused),
        _ => Err(MessageError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let messages = [
            Message::Store(name.clone()),
            Message::Remove("a".to_owned()),
            Message::Ready,
            Message::Held(name),
            Message::End,
            Message::Done,
            Message::Refused,
        ];
        for message in messages {
            assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused_by_name() {
        let check = |packet: &[u8], expected| assert_eq!(decode(packet), Err(expected));
        check(&[], MessageError::Malformed);
        check(&[2, 3, 0, 0], MessageError::Version { found: 2 });
        check(&[1, 1, 0, 0], MessageError::Malformed);
        check(&[1, 1, 2, 0, b'a'], MessageError::Malformed);
        check(&[1, 1, 1, 0, 0xff], MessageError::Malformed);
        check(&[1, 8, 0, 0], MessageError::Malformed);
        let long = [&[1, 1, 65, 0][..], &[b'a'; 65]].concat();
        check(&long, MessageError::NameTooLong { bytes: 65 });
        assert_eq!(
            encode(&Message::Store("a".repeat(65))),
            Err(MessageError::NameTooLong { bytes: 65 })
        );
    }
}
