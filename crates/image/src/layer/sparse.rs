//! Sparse files: a map of where the data belongs, then the data without the holes.
//!
//! Four encodings, all in use: the old GNU header ('S', with extension blocks), and in PAX headers 0.0 (a record for
//! each number), 0.1 (one list) and 1.0 (decimal lines at the start of the content). Source: GNU tar's manual,
//! "Storing Sparse Files".

use super::header::{BLOCK_BYTES, Header, unsigned};
use super::pax::{PaxSparse, decimal};
use super::{Content, LayerFault, Piece};

/// Runs of data in one file. GNU tar makes one for each extent; more than this is an attack on memory.
const RUNS_MAX: usize = 65_536;

/// A sparse file as its archive describes it.
#[derive(Debug)]
pub(super) struct SparseMap {
    real_bytes: u64,
    /// Offset in the file and length.
    runs: Vec<(u64, u64)>,
}

impl SparseMap {
    fn from_numbers(real_bytes: u64, numbers: &[u64]) -> Result<Self, LayerFault> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(bad("an offset without a length"));
        }
        let mut map = Self {
            real_bytes,
            runs: Vec::new(),
        };
        pairs.iter().try_for_each(|[offset, bytes]| map.push(*offset, *bytes))?;
        Ok(map)
    }

    fn push(&mut self, offset: u64, bytes: u64) -> Result<(), LayerFault> {
        let end = offset.checked_add(bytes).ok_or_else(|| bad("a run ends beyond 2^64"))?;
        let previous_end = self.runs.last().map_or(0, |(offset, bytes)| offset + bytes);
        if offset < previous_end || end > self.real_bytes {
            return Err(bad("runs overlap, are out of order or leave the file"));
        }
        if self.runs.len() == RUNS_MAX {
            return Err(bad("more than 65,536 runs"));
        }
        if bytes > 0 {
            self.runs.push((offset, bytes));
        }
        Ok(())
    }

    /// The file's content, whose data lies end to end from `layer_offset`.
    pub(super) fn place(self, layer_offset: u64, stored_bytes: u64) -> Result<Content, LayerFault> {
        // Runs do not overlap, so that their sum is at most the file's length; checked first, no offset can overflow.
        if self.runs.iter().map(|(_, bytes)| bytes).sum::<u64>() > stored_bytes {
            return Err(bad("the runs hold more than the entry's content"));
        }
        let mut at = layer_offset;
        let mut pieces = Vec::with_capacity(self.runs.len());
        for (file_offset, bytes) in self.runs {
            pieces.push(Piece {
                file_offset,
                layer_offset: at,
                bytes,
            });
            at += bytes;
        }
        Ok(Content {
            bytes: self.real_bytes,
            pieces,
        })
    }
}

/// The map in an 'S' header and its extension blocks; with the length of the latter.
pub(super) fn from_old_gnu(
    header: &Header,
    mut block: impl FnMut(u64) -> Result<[u8; BLOCK_BYTES], LayerFault>,
) -> Result<(SparseMap, u64), LayerFault> {
    let gnu = header.gnu().ok_or_else(|| bad("a sparse entry without a GNU header"))?;
    let mut map = SparseMap {
        real_bytes: unsigned("realsize", &gnu.realsize)?,
        runs: Vec::new(),
    };
    push_slots(&mut map, &gnu.sparse)?;
    let mut extended = gnu.isextended[0] != 0;
    let mut offset = 0;
    while extended {
        let mut extension = tar::GnuExtSparseHeader::new();
        extension.as_mut_bytes().copy_from_slice(&block(offset)?);
        push_slots(&mut map, &extension.sparse)?;
        extended = extension.isextended[0] != 0;
        offset += BLOCK_BYTES as u64;
    }
    Ok((map, offset))
}

fn push_slots(map: &mut SparseMap, slots: &[tar::GnuSparseHeader]) -> Result<(), LayerFault> {
    let used = slots.iter().filter(|slot| slot.offset[0] != 0 && slot.numbytes[0] != 0);
    used.into_iter().try_for_each(|slot| {
        map.push(
            unsigned("sparse offset", &slot.offset)?,
            unsigned("sparse length", &slot.numbytes)?,
        )
    })
}

/// The map of a PAX sparse entry, with the bytes that it takes of the content; `None` when the entry is not sparse.
pub(super) fn from_pax(
    pax: &PaxSparse,
    stored_bytes: u64,
    block: impl FnMut(u64) -> Result<[u8; BLOCK_BYTES], LayerFault>,
) -> Result<Option<(SparseMap, u64)>, LayerFault> {
    let Some(real_bytes) = pax.real_bytes else {
        return Ok(None);
    };
    match pax.major {
        Some(1) => {
            let (numbers, map_bytes) = decimal_lines(stored_bytes, block)?;
            Ok(Some((SparseMap::from_numbers(real_bytes, &numbers)?, map_bytes)))
        }
        None | Some(0) => Ok(Some((SparseMap::from_numbers(real_bytes, &pax.numbers)?, 0))),
        Some(_) => Err(bad("a format newer than GNU.sparse 1.0")),
    }
}

/// Format 1.0: a count, then an offset and a length for each run, a line each, padded to whole blocks.
fn decimal_lines(
    stored_bytes: u64,
    mut block: impl FnMut(u64) -> Result<[u8; BLOCK_BYTES], LayerFault>,
) -> Result<(Vec<u64>, u64), LayerFault> {
    let mut numbers = Vec::new();
    let mut line = Vec::new();
    let mut offset = 0;
    let mut wanted = None;
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        if offset + BLOCK_BYTES as u64 > stored_bytes {
            return Err(bad("the map does not end within the content"));
        }
        for byte in block(offset)? {
            match byte {
                _ if wanted == Some(numbers.len()) => break,
                b'\n' if wanted.is_none() => wanted = Some(count(&std::mem::take(&mut line))? * 2),
                b'\n' => numbers.push(decimal("sparse map", &std::mem::take(&mut line))?),
                _ if line.len() == 20 => return Err(bad("a number of more than 20 digits")),
                _ => line.push(byte),
            }
        }
        offset += BLOCK_BYTES as u64;
    }
    Ok((numbers, offset))
}

fn count(line: &[u8]) -> Result<usize, LayerFault> {
    match decimal("sparse map", line)? {
        count if count <= RUNS_MAX => Ok(count),
        _ => Err(bad("more than 65,536 runs")),
    }
}

const fn bad(reason: &'static str) -> LayerFault {
    LayerFault::BadSparseMap { reason }
}
