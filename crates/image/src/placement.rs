//! Where each file's data goes in the data region: the rule that decides how much images share.
//!
//! Chunks are cut at fixed offsets, so equal files become equal chunks only where they lie at equal offsets within
//! chunks, among equal neighbours. Two rules give that:
//!
//! 1. A file of [`LARGE_BYTES_MIN`] or more starts on a chunk boundary and has its chunks to itself.
//! 2. Smaller files are packed in path order into groups that start on a chunk boundary. A group ends where a file's
//!    own name says so: a hash of its last two path components, compared with its share of the mean group size. So a
//!    changed, added or removed file re-packs its own group and leaves every other one alone, wherever it lies.
//!
//! The name decides and not the content, because a changed file then keeps its group's ends, because a directory that
//! moves as a whole keeps its groups, and because no file has to be read before the layout is known. The choice of
//! the name is argued, and the sizes are measured, in docs/decisions/0003.

use crate::ext4::{BLOCK_BYTES, CHUNK_BLOCKS};

/// From this size on a file has its own chunks.
pub const LARGE_BYTES_MIN: u64 = 512 * 1024;

/// Mean bytes of a group of small files.
pub const GROUP_BYTES_MEAN: u64 = 1024 * 1024;

/// A group that reaches this size ends whatever the names say.
pub const GROUP_BYTES_MAX: u64 = 8 * GROUP_BYTES_MEAN;

/// The sizes that govern placement, so that a bench can vary them.
#[derive(Clone, Copy, Debug)]
pub struct PlacementSizes {
    /// See [`LARGE_BYTES_MIN`].
    pub large_bytes_min: u64,
    /// See [`GROUP_BYTES_MEAN`].
    pub group_bytes_mean: u64,
    /// See [`GROUP_BYTES_MAX`].
    pub group_bytes_max: u64,
}

impl Default for PlacementSizes {
    fn default() -> Self {
        Self {
            large_bytes_min: LARGE_BYTES_MIN,
            group_bytes_mean: GROUP_BYTES_MEAN,
            group_bytes_max: GROUP_BYTES_MAX,
        }
    }
}

/// Hands out places in the data region to files in path order.
///
/// Small files come first and large ones behind them, because the number of blocks that small files need is not known
/// before the last one: [`Placement::finish`] gives the shift of the large ones.
#[derive(Debug)]
pub(crate) struct Placement {
    sizes: PlacementSizes,
    small_end: u32,
    group_start: u32,
    large_end: u32,
}

/// A file's first block, counted from the start of its part of the data region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Small(u32),
    Large(u32),
}

/// The device has no room for more: ext4 counts blocks in 32 bits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DataTooLarge;

impl Placement {
    pub(crate) fn new(sizes: PlacementSizes) -> Self {
        Self {
            sizes,
            small_end: 0,
            group_start: 0,
            large_end: 0,
        }
    }

    /// The place of a file whose data takes `blocks` blocks.
    pub(crate) fn place(&mut self, parent: &[u8], name: &[u8], blocks: u32) -> Result<Place, DataTooLarge> {
        let bytes = u64::from(blocks) * BLOCK_BYTES as u64;
        if bytes >= self.sizes.large_bytes_min {
            let start = self.large_end;
            self.large_end = next_chunk(start.checked_add(blocks).ok_or(DataTooLarge)?)?;
            return Ok(Place::Large(start));
        }
        let start = self.small_end;
        self.small_end = start.checked_add(blocks).ok_or(DataTooLarge)?;
        let group_bytes = u64::from(self.small_end - self.group_start) * BLOCK_BYTES as u64;
        if group_bytes >= self.sizes.group_bytes_max || ends_group(parent, name, bytes, self.sizes.group_bytes_mean) {
            self.small_end = next_chunk(self.small_end)?;
            self.group_start = self.small_end;
        }
        Ok(Place::Small(start))
    }

    /// Where large files start, and how many blocks all data takes.
    pub(crate) fn finish(self) -> Result<(u32, u32), DataTooLarge> {
        let large_start = next_chunk(self.small_end)?;
        Ok((
            large_start,
            large_start.checked_add(self.large_end).ok_or(DataTooLarge)?,
        ))
    }
}

/// Each file ends a group with the chance that its size is of the mean, so that the mean is one of bytes.
fn ends_group(parent: &[u8], name: &[u8], bytes: u64, group_bytes_mean: u64) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(parent).update(b"/").update(name);
    let hash: [u8; 8] = *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(hash) < bytes.saturating_mul(u64::MAX / group_bytes_mean)
}

fn next_chunk(block: u32) -> Result<u32, DataTooLarge> {
    block.checked_next_multiple_of(CHUNK_BLOCKS).ok_or(DataTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const CHUNK_BLOCKS_LARGE: u32 = (LARGE_BYTES_MIN / BLOCK_BYTES as u64) as u32;

    /// The places of files of the directory `d`, given by name and blocks.
    fn places(files: &[(String, u32)]) -> Vec<Place> {
        let mut placement = Placement::new(PlacementSizes::default());
        files
            .iter()
            .map(|(name, blocks)| placement.place(b"d", name.as_bytes(), *blocks).expect("it fits"))
            .collect()
    }

    fn small(count: u32) -> Vec<(String, u32)> {
        (0..count)
            .map(|number| (format!("file{number}"), 1 + number % 20))
            .collect()
    }

    #[test]
    fn large_files_have_their_chunks_to_themselves() {
        let large = CHUNK_BLOCKS_LARGE;
        let files = [
            ("a", large),
            ("b", large - 1),
            ("c", large + 1),
            ("d", 1),
            ("e", 5 * large),
        ];
        let found = places(&files.map(|(name, blocks)| (name.to_owned(), blocks)));
        let expected = [Place::Large(0), Place::Large(large), Place::Large(3 * large)];
        assert_eq!([found[0], found[2], found[4]], expected);
        assert!(matches!((found[1], found[3]), (Place::Small(0), Place::Small(_))));
    }

    #[test]
    fn small_files_follow_each_other_or_start_a_chunk() {
        let files = small(5000);
        let found = places(&files);
        let mut groups = 0;
        for (pair, (_, blocks)) in found.windows(2).zip(&files) {
            let [Place::Small(before), Place::Small(after)] = *pair else {
                panic!("all are small")
            };
            if after != before + blocks {
                assert_eq!(Ok(after), next_chunk(before + blocks));
                groups += 1;
            }
        }
        // 5,000 files of 10.5 blocks are 205 MiB: about that many groups of a mebibyte, within five standard deviations.
        assert!((130..280).contains(&groups), "{groups} groups");
    }

    /// The rule's purpose: after a file is added, removed or grown, nearly all others keep their place in a chunk.
    #[test]
    fn a_change_moves_the_files_of_its_group_only() {
        let before = small(5000);
        let offsets = |files: &[(String, u32)]| -> HashMap<String, u32> {
            let in_chunk = |place| match place {
                Place::Small(block) | Place::Large(block) => block % CHUNK_BLOCKS,
            };
            files
                .iter()
                .map(|(name, _)| name.clone())
                .zip(places(files).into_iter().map(in_chunk))
                .collect()
        };
        let expected = offsets(&before);
        for at in [0, 1, 1234, 2500, 4000] {
            let mut added = before.clone();
            added.insert(at, ("another".to_owned(), 3));
            let mut removed = before.clone();
            removed.remove(at);
            let mut grown = before.clone();
            grown[at].1 += 2;
            for after in [added, removed, grown] {
                let moved = offsets(&after)
                    .iter()
                    .filter(|(name, offset)| expected.get(*name) != Some(offset))
                    .count();
                assert!(moved < 5000 / 20, "{moved} of 5,000 files moved after a change at {at}");
            }
        }
    }

    #[test]
    fn a_group_ends_at_its_largest_size_even_if_no_name_ends_it() {
        let sizes = PlacementSizes {
            group_bytes_mean: u64::MAX,
            ..PlacementSizes::default()
        };
        let mut placement = Placement::new(sizes);
        let blocks_max = (GROUP_BYTES_MAX / BLOCK_BYTES as u64) as u32;
        let starts: Vec<_> = (0..blocks_max / 100 * 3)
            .map(|_| placement.place(b"", b"same", 100))
            .collect();
        let gap = starts
            .iter()
            .position(|start| matches!(start, Ok(Place::Small(block)) if block % 100 != 0));
        assert_eq!(gap, Some(blocks_max.div_ceil(100) as usize));
    }

    #[test]
    fn a_groups_end_depends_on_names_and_size_alone() {
        assert!(ends_group(b"d", b"f", u64::MAX, GROUP_BYTES_MEAN));
        assert!(!ends_group(b"d", b"f", 0, GROUP_BYTES_MEAN));
        let ends = (0..10_000).filter(|number| {
            ends_group(
                b"d",
                &u32::to_le_bytes(*number),
                GROUP_BYTES_MEAN / 10,
                GROUP_BYTES_MEAN,
            )
        });
        assert!((850..1150).contains(&ends.count()));
    }

    #[test]
    fn a_device_beyond_32_bits_of_blocks_is_refused() {
        let mut placement = Placement::new(PlacementSizes::default());
        assert_eq!(placement.place(b"", b"a", u32::MAX - 200), Ok(Place::Large(0)));
        assert_eq!(placement.place(b"", b"b", 1000), Err(DataTooLarge));
        assert_eq!(placement.place(b"", b"c", 200), Err(DataTooLarge));
        let mut placement = Placement::new(PlacementSizes::default());
        placement.place(b"", b"a", u32::MAX - 200).expect("room for one");
        placement.place(b"", b"b", 100).expect("small files are counted apart");
        assert_eq!(placement.finish(), Err(DataTooLarge));
    }
}
