//! Chunks that very many images share, so that the next ones to need them store copies under other salts.
//!
//! ```text
//! offset  width  what
//!      0      8  magic "lambentp"
//!      8      4  version, 1, little-endian
//!     12      4  number of lanes, little-endian
//!     16  32 × n ids, ascending
//! ```
//! One object for each root, `popular/GENERATION/list`, written by a collector, which alone sees who shares what, and read
//! once by each push. A push seals a chunk as ever, and if its id is in the list, seals it again under the salt of its
//! *lane*, one of so many, by the image's account and name. So the images that share a copy of such a chunk are
//! those that had it before it was noticed, and after that one in so many; a push of the same name finds its own copies
//! again. Readers know nothing of it: the manifest names the copy.
//!
//! The list only grows, and lives and goes with its root: in the next one no chunk is popular yet, since all ids are new.
//! A push that does not know the list, or reads an old one, shares as before.

use crate::error::Sort;
use crate::{Store, StoreError, layout};
use bytes::Bytes;
use chunk::{Account, ChunkId, ID_BYTES};
use std::collections::BTreeSet;

const MAGIC: &[u8; 8] = b"lambentp";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

/// Copies that images after the first ones are spread over. Eight: with twice as many a bad copy hurts half as many, and
/// what is stored of a popular chunk doubles. See docs/decisions/0020.
pub(crate) const LANES: u32 = 8;

/// Ids in a list: 8 GiB of plaintext that thousands share, and half a MiB that each push reads.
pub(crate) const POPULAR_MAX: usize = 16 * 1024;

/// A root's popular chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopularChunks {
    pub(crate) lanes: u32,
    pub(crate) chunks: BTreeSet<ChunkId>,
}

impl Default for PopularChunks {
    fn default() -> Self {
        Self {
            lanes: LANES,
            chunks: BTreeSet::new(),
        }
    }
}

impl PopularChunks {
    /// Whether a chunk, as the shared salt names it, is to be stored under a lane's salt.
    #[must_use]
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The lane of an image, from 0; always the same for a name.
    #[must_use]
    pub fn lane(&self, account: &Account, name: &str) -> u32 {
        let hash = ChunkId::of(format!("{account}/{name}").as_bytes());
        let [first, second, third, fourth, ..] = *hash.as_bytes();
        u32::from_le_bytes([first, second, third, fourth]) % self.lanes
    }

    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.chunks.len() * ID_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.lanes.to_le_bytes());
        for id in &self.chunks {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (header, ids) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("it is cut short")?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !header.starts_with(MAGIC) {
            return Err("it does not begin with `lambentp`".to_owned());
        }
        let (version, lanes) = (number(8), number(12));
        if version != VERSION {
            return Err(format!("its version {version} is not known here: update lambent"));
        }
        let (ids, rest) = ids.as_chunks::<ID_BYTES>();
        if lanes == 0 || !rest.is_empty() {
            return Err(format!("{lanes} lanes, and {} bytes after the last id", rest.len()));
        }
        Ok(Self {
            lanes,
            chunks: ids.iter().map(|id| ChunkId::from_bytes(*id)).collect(),
        })
    }
}

impl Store {
    /// The popular chunks of a root; none where no collector has noted any.
    pub async fn popular_chunks(&self, generation: u32) -> Result<PopularChunks, StoreError> {
        let (name, key) = (generation.to_string(), layout::popular(generation));
        match self.read_optional(Sort::Popular, &name, &key).await? {
            None => Ok(PopularChunks::default()),
            Some(bytes) => {
                let decoded = PopularChunks::decode(&bytes);
                Ok(decoded.map_err(|reason| self.corrupt(Sort::Popular, &name, reason))?)
            }
        }
    }

    pub(crate) async fn put_popular_chunks(&self, generation: u32, popular: &PopularChunks) -> Result<(), StoreError> {
        let (name, key) = (generation.to_string(), layout::popular(generation));
        self.replace(Sort::Popular, &name, &key, popular.encode()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u64) -> BTreeSet<ChunkId> {
        (0..count).map(|number| ChunkId::of(&number.to_le_bytes())).collect()
    }

    #[test]
    fn a_list_comes_back_and_foreign_bytes_do_not() {
        for count in [0, 1, 100] {
            let list = PopularChunks {
                lanes: 8,
                chunks: ids(count),
            };
            assert_eq!(PopularChunks::decode(&list.encode()), Ok(list));
        }
        let whole = PopularChunks {
            lanes: 8,
            chunks: ids(2),
        }
        .encode();
        for end in (0..whole.len()).filter(|end| *end != HEADER_BYTES && *end != HEADER_BYTES + ID_BYTES) {
            assert!(PopularChunks::decode(&whole[..end]).is_err(), "{end} bytes");
        }
        for place in [0, 8, 12] {
            let mut bad = whole.to_vec();
            bad[place] ^= if place == 12 { 8 } else { 2 };
            assert!(PopularChunks::decode(&bad).is_err(), "byte {place}");
        }
    }

    #[test]
    fn names_are_spread_over_all_lanes_and_keep_theirs() {
        let account: Account = "123456789012".parse().unwrap();
        let list = PopularChunks::default();
        let mut images = [0; LANES as usize];
        for number in 0..8000 {
            let name = format!("image-{number}");
            let lane = list.lane(&account, &name);
            assert_eq!(lane, list.lane(&account, &name));
            images[lane as usize] += 1;
        }
        assert!(images.iter().all(|images| (850..1150).contains(images)), "{images:?}");
    }
}
