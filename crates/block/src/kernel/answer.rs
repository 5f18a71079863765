//! What each request is answered with: a decision over the table of devices, with no system call in it.

use super::device::{Device, DeviceNumber, DeviceTable, ReadFailed};
use super::wire::{self, Node, Operation, ROOT_NODE, Request};
use bytes::Bytes;
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bits of open(2)'s flags that say whether a file may be written (`O_ACCMODE`); 0 is `O_RDONLY`.
const ACCESS_MODE: u32 = 3;

/// How a request is answered; the bytes are in [`Buffers`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not at all: the protocol has no reply to it.
    Silence,
    /// It fails.
    Error(Errno),
    /// With `Buffers::body`, which may be empty.
    Body,
    /// With `Buffers::pieces`, this many bytes in all.
    Pieces(usize),
    /// With an empty body; and the device has lost an open file.
    Released(DeviceNumber),
}

/// One worker's memory for answers, used again for each.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) body: Vec<u8>,
    pub(super) pieces: Vec<Bytes>,
}

/// Decides on `request`. The buffers are empty before.
pub(super) fn answer(request: &Request<'_>, table: &DeviceTable, buffers: &mut Buffers) -> Answer {
    let decided = match request.operation {
        Operation::Read { offset, bytes } => read(request.node, offset, bytes, table, &mut buffers.pieces),
        Operation::Forget | Operation::Interrupt => Ok(Answer::Silence),
        Operation::Lookup { name } => look_up(request.node, name, table, &mut buffers.body),
        Operation::GetAttributes => attributes(request.node, table, &mut buffers.body),
        Operation::Open { flags } => open(request.node, flags, table, &mut buffers.body),
        Operation::Release => number_of(request.node).map(Answer::Released),
        Operation::OpenDirectory => {
            wire::put_open(&mut buffers.body, 0);
            Ok(Answer::Body)
        }
        Operation::ReadDirectory { offset, bytes } => {
            list(offset, bytes as usize, table, &mut buffers.body);
            Ok(Answer::Body)
        }
        Operation::StatFileSystem => {
            wire::put_stat_file_system(&mut buffers.body, table.numbers().len() as u64);
            Ok(Answer::Body)
        }
        Operation::ReleaseDirectory | Operation::Access | Operation::Destroy => Ok(Answer::Body),
        Operation::Change => Err(Errno::ROFS),
        // A second INIT is as unknown as any other: the handshake has answered the only one.
        Operation::Init { .. } | Operation::Other(_) => Err(Errno::NOSYS),
    };
    decided.unwrap_or_else(Answer::Error)
}

/// A file's node is its device's number plus one, since the root has 1.
fn node_of(number: DeviceNumber) -> u64 {
    number.0 + ROOT_NODE
}

fn number_of(node: u64) -> Result<DeviceNumber, Errno> {
    match node.checked_sub(ROOT_NODE) {
        None | Some(0) => Err(Errno::ISDIR),
        Some(number) => Ok(DeviceNumber(number)),
    }
}

fn node(node: u64, table: &DeviceTable) -> Result<Node, Errno> {
    if node == ROOT_NODE {
        return Ok(Node::Root);
    }
    let device = table.get(number_of(node)?).ok_or(Errno::NOENT)?;
    Ok(Node::File {
        node,
        bytes: device.bytes(),
    })
}

fn look_up(parent: u64, name: &[u8], table: &DeviceTable, body: &mut Vec<u8>) -> Result<Answer, Errno> {
    if parent != ROOT_NODE {
        return Err(Errno::NOTDIR);
    }
    let number = parse_name(name).ok_or(Errno::NOENT)?;
    wire::put_entry(body, node(node_of(number), table)?);
    Ok(Answer::Body)
}

/// A device's number in decimal, in its one spelling: a number has one name.
fn parse_name(name: &[u8]) -> Option<DeviceNumber> {
    let name = std::str::from_utf8(name).ok()?;
    let number: u64 = name.parse().ok()?;
    (1..u64::MAX).contains(&number).then_some(())?;
    (number.to_string() == name).then_some(DeviceNumber(number))
}

fn attributes(id: u64, table: &DeviceTable, body: &mut Vec<u8>) -> Result<Answer, Errno> {
    wire::put_attributes_reply(body, node(id, table)?);
    Ok(Answer::Body)
}

fn open(id: u64, flags: u32, table: &DeviceTable, body: &mut Vec<u8>) -> Result<Answer, Errno> {
    if flags & ACCESS_MODE != 0 {
        return Err(Errno::ROFS);
    }
    let number = number_of(id)?;
    table.get(number).ok_or(Errno::NOENT)?;
    wire::put_open(body, number.0);
    Ok(Answer::Body)
}

fn read(id: u64, offset: u64, bytes: u32, table: &DeviceTable, pieces: &mut Vec<Bytes>) -> Result<Answer, Errno> {
    let number = number_of(id)?;
    let device = table.get(number).ok_or(Errno::IO)?;
    let inside = device.bytes().saturating_sub(offset).min(u64::from(bytes)) as usize;
    if inside == 0 {
        return Ok(Answer::Body);
    }
    read_device(&device, offset, inside, pieces).map_err(|ReadFailed| Errno::IO)?;
    let given: usize = pieces.iter().map(Bytes::len).sum();
    if given != inside {
        tracing::error!(%number, offset, asked = inside, given, "a device gave a wrong number of bytes");
        return Err(Errno::IO);
    }
    Ok(Answer::Pieces(inside))
}

/// Calls the device. A panic in it is our bug, but not the reader's: it gets EIO instead of waiting for ever for a
/// worker that is gone.
fn read_device(device: &Arc<dyn Device>, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
    catch_unwind(AssertUnwindSafe(|| device.read(offset, bytes, pieces))).unwrap_or_else(|_| {
        tracing::error!(offset, bytes, "a device panicked while it was read");
        Err(ReadFailed)
    })
}

/// Entries after the one whose number is `after`: a device's number is its place, so entries neither move nor repeat
/// when devices come and go between two calls.
fn list(after: u64, bytes_max: usize, table: &DeviceTable, body: &mut Vec<u8>) {
    for number in table.numbers().into_iter().filter(|number| number.0 > after) {
        if !wire::put_directory_entry(body, node_of(number), number.0, &number.to_string(), bytes_max) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros(u64);

    impl Device for Zeros {
        fn bytes(&self) -> u64 {
            self.0
        }

        fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
            match offset {
                0 => pieces.push(Bytes::from(vec![0; bytes])),
                1 => pieces.push(Bytes::from(vec![0; bytes + 1])),
                2 => return Err(ReadFailed),
                _ => panic!("a device with a bug"),
            }
            Ok(())
        }
    }

    #[track_caller]
    fn check(node: u64, operation: Operation<'_>, expected: &Answer) {
        let table = DeviceTable::new();
        table.insert(DeviceNumber(6), Arc::new(Zeros(100)));
        let request = Request {
            unique: 1,
            node,
            operation,
        };
        assert_eq!(answer(&request, &table, &mut Buffers::default()), *expected);
    }

    #[test]
    fn a_read_is_cut_at_the_end_and_a_wrong_device_is_eio() {
        check(7, Operation::Read { offset: 0, bytes: 4096 }, &Answer::Pieces(100));
        check(7, Operation::Read { offset: 100, bytes: 1 }, &Answer::Body);
        check(
            7,
            Operation::Read {
                offset: u64::MAX,
                bytes: 1,
            },
            &Answer::Body,
        );
        check(7, Operation::Read { offset: 1, bytes: 10 }, &Answer::Error(Errno::IO));
        check(7, Operation::Read { offset: 2, bytes: 10 }, &Answer::Error(Errno::IO));
        check(7, Operation::Read { offset: 3, bytes: 10 }, &Answer::Error(Errno::IO));
        check(8, Operation::Read { offset: 0, bytes: 10 }, &Answer::Error(Errno::IO));
        check(
            1,
            Operation::Read { offset: 0, bytes: 10 },
            &Answer::Error(Errno::ISDIR),
        );
        check(
            0,
            Operation::Read { offset: 0, bytes: 10 },
            &Answer::Error(Errno::ISDIR),
        );
    }

    #[test]
    fn a_number_has_one_name() {
        check(1, Operation::Lookup { name: b"6" }, &Answer::Body);
        for name in [&b"06"[..], b"+6", b"7", b"0", b"", b"x", b"18446744073709551615"] {
            check(1, Operation::Lookup { name }, &Answer::Error(Errno::NOENT));
        }
        check(7, Operation::Lookup { name: b"6" }, &Answer::Error(Errno::NOTDIR));
    }

    #[test]
    fn nothing_can_be_changed() {
        check(7, Operation::Open { flags: 0 }, &Answer::Body);
        check(7, Operation::Open { flags: 2 }, &Answer::Error(Errno::ROFS));
        check(7, Operation::Change, &Answer::Error(Errno::ROFS));
        check(7, Operation::Other(22), &Answer::Error(Errno::NOSYS));
    }

    #[test]
    fn a_release_names_its_device() {
        check(7, Operation::Release, &Answer::Released(DeviceNumber(6)));
    }
}
