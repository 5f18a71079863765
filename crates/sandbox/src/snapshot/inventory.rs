//! One number of CRIU's images, changed: which namespace of users CRIU itself was in.
//!
//! CRIU restores a namespace when the root process's id of it (`ids-PID.img`) differs from CRIU's own, which it notes in
//! `inventory.img`. Once they are equal, it restores into the namespace that it runs in.
//!
//! Both files are a header and one protobuf message. Source: CRIU's `images/inventory.proto`, `images/core.proto` and
//! `criu/include/magic.h`.
//!
//! | file | header, 32-bit words, little-endian | the number |
//! |---|---|---|
//! | `inventory.img` | magic, length of the message | field 10 (`user_ns_id`) of the message in field 3 (`root_ids`) |
//! | `ids-PID.img` | two magics, length of the message | field 10 |

use std::fs;
use std::io;
use std::path::Path;

const INVENTORY_HEADER_BYTES: usize = 4;
const IDS_HEADER_BYTES: usize = 8;
const ROOT_IDS: u64 = 3;
const USER_NAMESPACE: u64 = 10;

/// Says in the images of `directory` that CRIU was in the namespace of users of process `id`.
pub(super) fn forget_user_namespace(directory: &Path, id: u32) -> io::Result<()> {
    let ids = fs::read(directory.join(format!("ids-{id}.img")))?;
    let namespace = message(&ids, IDS_HEADER_BYTES)
        .and_then(fields)
        .and_then(|fields| number(&fields, USER_NAMESPACE));
    let path = directory.join("inventory.img");
    let inventory = fs::read(&path)?;
    let changed = namespace.and_then(|namespace| with_namespace(&inventory, namespace));
    let changed = changed.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "CRIU's inventory is not in the form that this program knows",
        )
    })?;
    fs::write(path, changed)
}

/// A field: its number and wire type as they are encoded, and its value.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn message(file: &[u8], header: usize) -> Option<&[u8]> {
    let length = u32::from_le_bytes(file.get(header..header + 4)?.try_into().ok()?);
    let message = file.get(header + 4..)?;
    (message.len() == length as usize).then_some(message)
}

fn with_namespace(inventory: &[u8], namespace: u64) -> Option<Vec<u8>> {
    let mut changed = Vec::new();
    let mut found = false;
    for field in fields(message(inventory, INVENTORY_HEADER_BYTES)?)? {
        match field {
            Field::Bytes(key, bytes) if key >> 3 == ROOT_IDS => {
                let mut inner = Vec::new();
                for field in fields(bytes)? {
                    found |= put(&mut inner, &field, Some(namespace));
                }
                put(&mut changed, &Field::Bytes(key, &inner), None);
            }
            other => {
                put(&mut changed, &other, None);
            }
        }
    }
    let length = u32::try_from(changed.len()).ok()?;
    let header = [&inventory[..INVENTORY_HEADER_BYTES], &length.to_le_bytes()].concat();
    found.then(|| [header, changed].concat())
}

fn number(fields: &[Field<'_>], wanted: u64) -> Option<u64> {
    fields.iter().find_map(|field| match field {
        Field::Number(key, value) if key >> 3 == wanted => Some(*value),
        _ => None,
    })
}

/// All fields; `None` for a message that is cut off or has a field of another wire type than these two.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = varint(&mut bytes)?;
        fields.push(match key & 7 {
            0 => Field::Number(key, value),
            2 => {
                let (inner, rest) = bytes.split_at_checked(usize::try_from(value).ok()?)?;
                bytes = rest;
                Field::Bytes(key, inner)
            }
            _ => return None,
        });
    }
    Some(fields)
}

/// Appends a field; whether it is the namespace's number, which then is `namespace`.
fn put(to: &mut Vec<u8>, field: &Field<'_>, namespace: Option<u64>) -> bool {
    match (field, namespace) {
        (Field::Number(key, _), Some(namespace)) if key >> 3 == USER_NAMESPACE => {
            put_varint(to, *key);
            put_varint(to, namespace);
            return true;
        }
        (Field::Number(key, value), _) => {
            put_varint(to, *key);
            put_varint(to, *value);
        }
        (Field::Bytes(key, bytes), _) => {
            put_varint(to, *key);
            put_varint(to, bytes.len() as u64);
            to.extend_from_slice(bytes);
        }
    }
    false
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CRIU 4.2.1 wrote them here.
    const INVENTORY: &[u8] = b"\x16\x31\x31\x58\x4e\x00\x00\x00\x08\x02\x10\x01\x1a\x18\x08\x01\
        \x10\x01\x18\x01\x20\x01\x28\x01\x30\x02\x38\x03\x40\x04\x48\x06\
        \x50\x07\x58\x08\x60\x05\x20\x01\x28\x01\x30\x00\x58\x02\x62\x00\
        \x6a\x24139ba329-6e1b-4fa4-91c4-6fa5755a0f11";
    const IDS: &[u8] = b"\x19\x43\x56\x54\x30\x20\x43\x54\x18\x00\x00\x00\x08\x02\x10\x02\
        \x18\x02\x20\x02\x28\x01\x30\x02\x38\x03\x40\x04\x48\x06\x50\x09\
        \x58\x08\x60\x05";

    #[test]
    fn only_the_namespace_of_users_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.img");
        fs::write(&path, INVENTORY).unwrap();
        fs::write(directory.path().join("ids-7.img"), IDS).unwrap();
        forget_user_namespace(directory.path(), 7).unwrap();
        let mut expected = INVENTORY.to_owned();
        expected[33] = 9;
        assert_eq!(fs::read(path).unwrap(), expected);
    }

    #[test]
    fn a_longer_number_makes_the_message_longer() {
        let changed = with_namespace(INVENTORY, 300).unwrap();
        assert_eq!(changed.len(), INVENTORY.len() + 1);
        let again = with_namespace(&changed, 7).unwrap();
        assert_eq!(again, INVENTORY);
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        for end in 0..INVENTORY.len() {
            assert!(with_namespace(&INVENTORY[..end], 1).is_none());
        }
        assert!(fields(&[0x0d, 0, 0, 0, 0]).is_none());
        assert!(fields(&[0xff; 11]).is_none());
        assert!(message(&[0; 7], 4).is_none());
    }
}
