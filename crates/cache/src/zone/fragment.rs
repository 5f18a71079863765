//! A chunk cut into fragments, one of which may be missing; and a fragment as bytes that say what they are.
//!
//! **The cut.** A chunk of S stored bytes is cut into K data fragments of ⌈S/K⌉ bytes, of which the last may be shorter
//! or empty, and one parity fragment, the XOR of them all (a shorter one counts as ended by zeros). Any K of the K+1
//! rebuild the chunk. K follows from the number of nodes by one rule:
//!
//! ```text
//! nodes    K   on how many   what it is
//! 5 or more 4      5         four data fragments and a parity: a quarter more room
//! 4         3      4
//! 3         2      3
//! 2         1      2         the parity of one fragment is that fragment: two plain copies
//! 1         1      1         one plain copy, no parity
//! ```
//! XOR, because with one parity it is the whole code: 26 GB/s a core, where reed-solomon-simd decodes at 0.85.
//!
//! **The bytes.** A fragment lies under the chunk's name alone, whichever of the chunk's nodes holds it, so it must
//! itself say which it is. All numbers are little-endian.
//!
//! ```text
//! offset  width  what
//!      0      8  magic "lambentf"
//!      8      2  version, 1
//!     10      1  K, data fragments of the chunk, 1 to 4
//!     11      1  which fragment this is, 0 to K; K is the parity
//!     12      4  stored bytes of the chunk, 0 to 524,288
//!     16     32  id of the chunk
//!     48      4  CRC-32 of bytes 0 to 47 and of the payload
//!     52      4  reserved, 0
//!     56         payload, to the end
//! ```
//! Fixed fields first and the payload last, so that a reader slices it off without a copy. A stale or swapped fragment
//! shows in id, length and K, a torn one in its length, a damaged one in the CRC. The CRC is not on the path of a good
//! read: what was rebuilt is hashed anyway, and only when the hash is wrong do the sums say whose fault it was. It need
//! not withstand an attacker, who could at worst hide which node lies; the hash cannot be deceived.

use bytes::Bytes;
use chunk::{CHUNK_BYTES, ChunkId, ID_BYTES};

const MAGIC: &[u8; 8] = b"lambentf";
const VERSION: u16 = 1;
const SUMMED_BYTES: usize = 48;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 56;

/// Data fragments at most: the paper's 4 of 5.
const DATA_MAX: u8 = 4;

/// Fragments of a chunk at most, with the parity.
pub(crate) const FRAGMENTS_MAX: usize = DATA_MAX as usize + 1;

/// The longest fragment: a whole chunk, where there are no more than two nodes.
pub(crate) const FRAGMENT_BYTES_MAX: usize = HEADER_BYTES + CHUNK_BYTES;

/// Into how many pieces a chunk is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// 1 to [`DATA_MAX`].
    data: u8,
}

impl Cut {
    /// The rule above.
    #[must_use]
    pub fn for_nodes(nodes: usize) -> Self {
        let data = nodes.saturating_sub(1).clamp(1, DATA_MAX.into()) as u8;
        Self { data }
    }

    /// Fragments that rebuild a chunk.
    #[must_use]
    pub const fn data(self) -> usize {
        self.data as usize
    }

    /// Fragments with the parity.
    #[must_use]
    pub const fn fragments(self) -> usize {
        self.data() + 1
    }

    /// Where fragment `index` of a chunk of `stored_bytes` begins and ends; the parity is as long as the first.
    fn range(self, index: usize, stored_bytes: usize) -> std::ops::Range<usize> {
        let whole = stored_bytes.div_ceil(self.data());
        let position = index % self.data();
        (position * whole).min(stored_bytes)..((position + 1) * whole).min(stored_bytes)
    }

    fn payload_bytes(self, index: usize, stored_bytes: usize) -> usize {
        self.range(index, stored_bytes).len()
    }
}

/// One fragment of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// How the chunk was cut.
    pub cut: Cut,
    /// Which fragment: 0 to [`Cut::data`], which is the parity.
    pub index: usize,
    /// Stored bytes of the whole chunk.
    pub stored_bytes: u32,
    /// The chunk.
    pub id: ChunkId,
    /// The fragment's own bytes.
    pub payload: Bytes,
    sum: u32,
}

/// Why bytes are not a fragment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Does not begin like a fragment.
    #[error("not a fragment of a chunk: it does not begin with `lambentf`")]
    NotAFragment,
    /// Written by another Lambent.
    #[error("fragment version {found} is not known here (this build reads version {VERSION})")]
    UnknownVersion {
        /// The version that was found.
        found: u16,
    },
    /// A chunk is not cut like this.
    #[error("fragment {index} of {data}, of a chunk of {stored_bytes} bytes, with {payload_bytes} bytes of its own")]
    Impossible {
        /// Data fragments, as the header says.
        data: u8,
        /// Which one, as the header says.
        index: u8,
        /// The chunk's bytes, as the header says.
        stored_bytes: u32,
        /// Bytes after the header.
        payload_bytes: usize,
    },
}

impl Fragment {
    fn new(id: ChunkId, stored_bytes: u32, cut: Cut, index: usize, payload: Bytes) -> Self {
        let mut fragment = Self {
            cut,
            index,
            stored_bytes,
            id,
            payload,
            sum: 0,
        };
        fragment.sum = fragment.computed_sum();
        fragment
    }

    /// Reads a fragment of unknown origin. The payload is a slice of `bytes`, and its sum is not looked at: that is
    /// [`Fragment::is_intact`].
    ///
    /// This is the entry point for a fuzzer; it takes any bytes and never panics.
    pub fn decode(bytes: &Bytes) -> Result<Self, FragmentError> {
        let header = bytes.first_chunk::<HEADER_BYTES>();
        let header = header
            .filter(|header| header.starts_with(MAGIC))
            .ok_or(FragmentError::NotAFragment)?;
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(FragmentError::UnknownVersion { found: version });
        }
        let (data, index) = (header[10], header[11]);
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let stored_bytes = number(12);
        let payload = bytes.slice(HEADER_BYTES..);
        let (cut, payload_bytes) = (Cut { data }, payload.len());
        let possible = (1..=DATA_MAX).contains(&data)
            && index <= data
            && stored_bytes as usize <= CHUNK_BYTES
            && payload_bytes == cut.payload_bytes(index.into(), stored_bytes as usize);
        if !possible {
            return Err(FragmentError::Impossible {
                data,
                index,
                stored_bytes,
                payload_bytes,
            });
        }
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&header[16..SUMMED_BYTES]);
        Ok(Self {
            cut,
            index: index.into(),
            stored_bytes,
            id: ChunkId::from_bytes(id),
            payload,
            sum: number(SUMMED_BYTES),
        })
    }

    /// What goes before the payload.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..SUMMED_BYTES].copy_from_slice(&self.summed_header());
        bytes[SUMMED_BYTES..SUMMED_BYTES + 4].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    /// Whether header and payload are as they were written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.sum == self.computed_sum()
    }

    fn summed_header(&self) -> [u8; SUMMED_BYTES] {
        let mut bytes = [0; SUMMED_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.cut.data;
        bytes[11] = self.index as u8;
        bytes[12..16].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(self.id.as_bytes());
        bytes
    }

    fn computed_sum(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.summed_header());
        sum.update(&self.payload);
        sum.finalize()
    }
}

/// All fragments of a chunk, the parity last. Data fragments share the chunk's memory; only the parity is new.
#[must_use]
pub fn cut_chunk(id: ChunkId, stored: &Bytes, cut: Cut) -> Vec<Fragment> {
    let stored_bytes = stored.len() as u32;
    let payload = |index| stored.slice(cut.range(index, stored.len()));
    let mut parity = payload(0).to_vec();
    for index in 1..cut.data() {
        xor_into(&mut parity, &payload(index));
    }
    let payloads = (0..cut.data()).map(payload).chain([parity.into()]);
    let fragments = payloads.enumerate();
    fragments
        .map(|(index, payload)| Fragment::new(id, stored_bytes, cut, index, payload))
        .collect()
}

/// The chunk, from fragments of one chunk and one cut; `None` when they are too few. Unchecked: its hash says whether it
/// is right.
#[must_use]
pub fn join_fragments(fragments: &[Fragment]) -> Option<Bytes> {
    let first = fragments.first()?;
    let (cut, stored_bytes) = (first.cut, first.stored_bytes as usize);
    let find = |index| fragments.iter().find(|fragment| fragment.index == index);
    if cut.data() == 1 {
        return Some(first.payload.clone());
    }
    let mut stored = Vec::with_capacity(stored_bytes);
    for index in 0..cut.data() {
        match find(index) {
            Some(fragment) => stored.extend_from_slice(&fragment.payload),
            None => {
                let begin = stored.len();
                stored.extend_from_slice(&find(cut.data())?.payload[..cut.payload_bytes(index, stored_bytes)]);
                for other in (0..cut.data()).filter(|other| *other != index) {
                    xor_into(&mut stored[begin..], &find(other)?.payload);
                }
            }
        }
    }
    Some(stored.into())
}

/// As far as both go: the compiler makes vector code of it.
fn xor_into(target: &mut [u8], other: &[u8]) {
    for (byte, other) in target.iter_mut().zip(other) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests;
