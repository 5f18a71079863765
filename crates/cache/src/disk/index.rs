//! Which slot holds which chunk, as bytes.
//!
//! All numbers are little-endian. The record of slot S stands at 64 + 40·S; slots past the end of the file are empty.
//!
//! ```text
//! offset  width  what
//!      0      8  magic "lambentd"
//!      8      2  version, 1
//!     10      1  base-2 logarithm of a slot's bytes, 19
//!     11     53  reserved, 0
//!
//!   0+64     32  id of the chunk in slot 0: hash of its stored bytes
//!  32+64      4  stored bytes, 1 to 524,288; 0: the slot is empty
//!  36+64      4  reserved, 0
//! ```
//! Records stand at fixed places so that one is replaced by one short write; one that crosses a page's end may be torn
//! by a power cut, and is then like any other damaged record. There is no checksum: a damaged record names a chunk that
//! is not there, which the hash of the slot's bytes shows, or nothing at all. Where a chunk stood in the queues of
//! eviction is not kept; it would cost a write for each read.
//!
//! A file with another magic or version is not read; the tier starts afresh over it and says so.

use chunk::{CHUNK_BYTES, ChunkId, ID_BYTES};

const MAGIC: &[u8; 8] = b"lambentd";
const VERSION: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const RECORD_BYTES: usize = 40;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRecord {
    /// The chunk's name.
    pub id: ChunkId,
    /// How many bytes are stored, 1 to [`CHUNK_BYTES`].
    pub stored_bytes: u32,
}

/// Why bytes are not an index.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Does not begin like an index.
    #[error("not the index of a disk cache: it does not begin with `lambentd`")]
    NotAnIndex,
    /// Written by another Lambent.
    #[error("index version {found} is not known here (this build reads version {VERSION})")]
    UnknownVersion {
        /// The version that was found.
        found: u16,
    },
    /// Written with other slots.
    #[error("slots of 2^{found} bytes are not known here")]
    UnknownSlotBytes {
        /// The base-2 logarithm that was found.
        found: u8,
    },
}

/// Reads an index of unknown origin: for each slot in order what it holds, `None` for an empty one.
///
/// A record with an impossible length is an empty slot, and a record that ends early is none: they are what a crash
/// leaves. This is the entry point for a fuzzer; it takes any bytes, never panics, and gives at most a record for each
/// 40 of them.
pub fn decode_index(bytes: &[u8]) -> Result<Vec<Option<SlotRecord>>, IndexError> {
    let (header, records) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .filter(|(header, _)| header.starts_with(MAGIC))
        .ok_or(IndexError::NotAnIndex)?;
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(IndexError::UnknownVersion { found: version });
    }
    if u32::from(header[10]) != CHUNK_BYTES.trailing_zeros() {
        return Err(IndexError::UnknownSlotBytes { found: header[10] });
    }
    Ok(records.chunks_exact(RECORD_BYTES).map(decode_record).collect())
}

fn decode_record(bytes: &[u8]) -> Option<SlotRecord> {
    let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
    let stored_bytes = u32::from_le_bytes(*rest.first_chunk()?);
    (1..=CHUNK_BYTES as u32).contains(&stored_bytes).then_some(SlotRecord {
        id: ChunkId::from_bytes(*id),
        stored_bytes,
    })
}

pub(crate) fn encode_header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10] = CHUNK_BYTES.trailing_zeros() as u8;
    bytes
}

pub(crate) fn encode_record(record: Option<SlotRecord>) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    if let Some(SlotRecord { id, stored_bytes }) = record {
        bytes[..ID_BYTES].copy_from_slice(id.as_bytes());
        bytes[ID_BYTES..ID_BYTES + 4].copy_from_slice(&stored_bytes.to_le_bytes());
    }
    bytes
}

/// Where a slot's record stands in the file.
pub(crate) const fn record_offset(slot: u32) -> u64 {
    HEADER_BYTES as u64 + slot as u64 * RECORD_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(byte: u8, stored_bytes: u32) -> SlotRecord {
        SlotRecord {
            id: ChunkId::from_bytes([byte; 32]),
            stored_bytes,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let records = [Some(record(1, 1)), None, Some(record(3, CHUNK_BYTES as u32))];
        let mut bytes = encode_header().to_vec();
        for record in records {
            bytes.extend(encode_record(record));
        }
        assert_eq!(decode_index(&bytes), Ok(records.to_vec()));
        assert_eq!(bytes.len() as u64, record_offset(3));
    }

    #[test]
    fn damage_is_refused_by_name_or_is_an_empty_slot() {
        type Damage = fn(&mut Vec<u8>);
        type Expected = Result<Vec<Option<SlotRecord>>, IndexError>;
        let cases: [(&str, Damage, Expected); 8] = [
            ("empty", Vec::clear, Err(IndexError::NotAnIndex)),
            ("short header", |bytes| bytes.truncate(63), Err(IndexError::NotAnIndex)),
            ("magic", |bytes| bytes[0] = b'L', Err(IndexError::NotAnIndex)),
            (
                "version",
                |bytes| bytes[8] = 2,
                Err(IndexError::UnknownVersion { found: 2 }),
            ),
            (
                "slots",
                |bytes| bytes[10] = 20,
                Err(IndexError::UnknownSlotBytes { found: 20 }),
            ),
            ("no length", |bytes| bytes[64 + 32] = 0, Ok(vec![None])),
            ("huge length", |bytes| bytes[64 + 35] = 1, Ok(vec![None])),
            ("torn record", |bytes| bytes.truncate(64 + 39), Ok(vec![])),
        ];
        for (name, damage, expected) in cases {
            let mut bytes = encode_header().to_vec();
            bytes.extend(encode_record(Some(record(7, 9))));
            damage(&mut bytes);
            assert_eq!(decode_index(&bytes), expected, "{name}");
        }
    }
}
