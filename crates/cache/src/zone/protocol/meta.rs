//! memcached's meta commands (its `doc/protocol.txt`), and the login of its ASCII protocol (`-Y`).
//!
//! ```text
//! mg KEY v          ->  VA BYTES, value  |  EN
//! ms KEY BYTES [T SECONDS], value   ->  HD  |  SERVER_ERROR why
//! md KEY            ->  HD  |  NF
//! set login 0 0 N, "user password"  ->  STORED  |  CLIENT_ERROR why
//! ```

use super::{Command, ProtocolError, Replies, Reply, garbage, value_bytes};
use crate::zone::fragment::HEADER_BYTES;
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

/// The longest line that a server sends to us is an error's; its own limit is 2,048.
const LINE_BYTES_MAX: usize = 2048;

/// Writes what goes before the payload; gives what goes after it.
pub(super) fn command(command: &Command, head: &mut Vec<u8>) -> &'static [u8] {
    let key = command.key();
    let line = match command {
        Command::Get { .. } | Command::Look { .. } => format!("mg {key} v\r\n"),
        Command::Delete { .. } => format!("md {key}\r\n"),
        Command::Set { fragment } => format!("ms {key} {}\r\n", HEADER_BYTES + fragment.payload.len()),
        Command::Keep { value, life_s, .. } => format!("ms {key} {} T{life_s}\r\n", value.len()),
    };
    head.extend_from_slice(line.as_bytes());
    match command {
        Command::Set { fragment } => {
            head.extend_from_slice(&fragment.header());
            b"\r\n"
        }
        Command::Keep { .. } => b"\r\n",
        Command::Get { .. } | Command::Look { .. } | Command::Delete { .. } => b"",
    }
}

pub(super) async fn reply<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<Reply, ProtocolError> {
    let line = line(replies).await?;
    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
    match word {
        "VA" => {
            let announced = rest.split(' ').next().and_then(|bytes| bytes.parse().ok());
            let bytes = value_bytes(announced.ok_or_else(|| garbage(line.as_bytes()))?)?;
            let value = replies.take(bytes + 2).await?;
            match value.strip_suffix(b"\r\n") {
                Some(_) => Ok(Reply::Value(value.slice(..bytes))),
                None => Err(garbage(&value[bytes..])),
            }
        }
        "EN" | "NF" => Ok(Reply::Nothing),
        "HD" => Ok(Reply::Done),
        "NS" | "SERVER_ERROR" => Ok(Reply::Refused(line)),
        "CLIENT_ERROR" if rest.starts_with("unauthenticated") => Err(ProtocolError::Unauthorized { answer: line }),
        _ => Err(garbage(line.as_bytes())),
    }
}

pub(super) fn login(user: &str, password: &str) -> Zeroizing<Vec<u8>> {
    let bytes = user.len() + 1 + password.len();
    Zeroizing::new(format!("set login 0 0 {bytes}\r\n{user} {password}\r\n").into_bytes())
}

pub(super) async fn login_reply<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<(), ProtocolError> {
    match line(replies).await? {
        line if line == "STORED" => Ok(()),
        answer => Err(ProtocolError::Unauthorized { answer }),
    }
}

async fn line<R: AsyncRead + Unpin>(replies: &mut Replies<R>) -> Result<String, ProtocolError> {
    loop {
        let begin = &replies.buffer[..replies.buffer.len().min(LINE_BYTES_MAX)];
        if let Some(end) = begin.windows(2).position(|pair| pair == b"\r\n") {
            let line = replies.buffer.split_to(end + 2);
            return String::from_utf8(line[..end].to_vec()).map_err(|_| garbage(&line));
        }
        if begin.len() == LINE_BYTES_MAX {
            return Err(garbage(begin));
        }
        replies.fill(replies.buffer.len() + 1).await?;
    }
}
