//! memcached's binary protocol, of which a server with SASL understands nothing else. All numbers are big-endian.
//!
//! ```text
//! offset  width  what
//!      0      1  0x80 in a question, 0x81 in an answer
//!      1      1  0x00 get, 0x01 set, 0x04 delete, 0x21 log in with SASL
//!      2      2  bytes of the key
//!      4      1  bytes of the extras
//!      5      1  0
//!      6      2  0 in a question; status in an answer: 0 well, 1 not found, 0x20 not authorized, other: refused
//!      8      4  bytes of extras, key and value together
//!     12     12  not used by us
//!     24         extras, key, value
//! ```

use super::{Command, ProtocolError, Replies, Reply, garbage, value_bytes};
use crate::zone::fragment::HEADER_BYTES;
use bytes::{Buf, Bytes};
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

const QUESTION: u8 = 0x80;
const ANSWER: u8 = 0x81;
const HEAD_BYTES: usize = 24;

const GET: u8 = 0x00;
const SET: u8 = 0x01;
const DELETE: u8 = 0x04;
const LOG_IN: u8 = 0x21;

const NOT_FOUND: u16 = 0x01;
const NOT_AUTHORIZED: u16 = 0x20;

/// Flags of a set; seconds to live come after them, 0 for as long as there is room.
const SET_FLAGS: [u8; 4] = [0; 4];

/// Writes what goes before the payload; nothing goes after it.
pub(super) fn command(command: &Command, head: &mut Vec<u8>) {
    let key = command.key().to_string();
    let key = key.as_bytes();
    match command {
        Command::Get { .. } | Command::Look { .. } => question(head, GET, (b"", key), 0),
        Command::Delete { .. } => question(head, DELETE, (b"", key), 0),
        Command::Set { fragment } => {
            let bytes = HEADER_BYTES + fragment.payload.len();
            question(head, SET, (&set_extras(0), key), bytes);
            head.extend_from_slice(&fragment.header());
        }
        Command::Keep { value, life_s, .. } => question(head, SET, (&set_extras(*life_s), key), value.len()),
    }
}

pub(super) fn login(user: &str, password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + 16 + user.len() + password.len()));
    question(&mut bytes, LOG_IN, (b"", b"PLAIN"), user.len() + password.len() + 2);
    for part in [user, password] {
        bytes.push(0);
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn set_extras(life_s: u32) -> [u8; 8] {
    let mut extras = [0; 8];
    extras[..4].copy_from_slice(&SET_FLAGS);
    extras[4..].copy_from_slice(&life_s.to_be_bytes());
    extras
}

fn question(head: &mut Vec<u8>, operation: u8, (extras, key): (&[u8], &[u8]), value_bytes: usize) {
    let body_bytes = extras.len() + key.len() + value_bytes;
    head.extend([QUESTION, operation]);
    head.extend((key.len() as u16).to_be_bytes());
    head.extend([extras.len() as u8, 0, 0, 0]);
    head.extend((body_bytes as u32).to_be_bytes());
    head.extend([0; 12]);
    head.extend(extras);
    head.extend(key);
}

pub(super) async fn reply<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<Reply, ProtocolError> {
    let (operation, status, value) = answer(replies).await?;
    match (status, operation) {
        (0, GET) => Ok(Reply::Value(value)),
        (0, _) => Ok(Reply::Done),
        (NOT_FOUND, _) => Ok(Reply::Nothing),
        (NOT_AUTHORIZED, _) => Err(unauthorized(&value)),
        (_, GET) => Err(garbage(&value)),
        _ => Ok(Reply::Refused(value.escape_ascii().to_string())),
    }
}

pub(super) async fn login_reply<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<(), ProtocolError> {
    let (_, status, value) = answer(replies).await?;
    if status == 0 { Ok(()) } else { Err(unauthorized(&value)) }
}

fn unauthorized(answer: &[u8]) -> ProtocolError {
    let answer = answer.escape_ascii().to_string();
    ProtocolError::Unauthorized { answer }
}

/// Operation, status and value.
async fn answer<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<(u8, u16, Bytes), ProtocolError> {
    replies.fill(HEAD_BYTES).await?;
    let head = replies.buffer.split_to(HEAD_BYTES);
    if head[0] != ANSWER {
        return Err(garbage(&head));
    }
    let (operation, mut numbers) = (head[1], &head[2..]);
    let key_bytes = usize::from(numbers.get_u16());
    let extras_bytes = usize::from(numbers.get_u8());
    numbers.advance(1);
    let status = numbers.get_u16();
    let before = key_bytes + extras_bytes;
    let announced = u64::from(numbers.get_u32()).checked_sub(before as u64);
    let bytes = value_bytes(announced.ok_or_else(|| garbage(&head))?)?;
    let body = replies.take(before + bytes).await?;
    Ok((operation, status, body.slice(before..)))
}
