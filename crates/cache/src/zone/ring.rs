//! Which nodes hold a chunk: consistent hashing with bounded load, the same on every worker that knows the same names.
//!
//! Chunks fall into 4,096 partitions by the first bits of their ids, which are a hash already. Each partition ranks all
//! nodes by a hash of partition and name (rendezvous hashing: a ring on which every partition has points of its own, so
//! that what a leaving node held is spread over all others and not over its neighbours) and takes the first five. The
//! load is bounded as in Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (SODA 2018):
//! a node that has 1.25 times its share is passed over. Workers do not talk to each other, so the load is a node's
//! share of the partitions, which is a function of the names alone, and not its requests of the last second.
//!
//! All is decided when the list of nodes changes; a look-up is an index into a table of 40 KiB.

use super::fragment::FRAGMENTS_MAX;
use chunk::ChunkId;

/// Base-2 logarithm of the number of partitions. 4,096 give each of 100 nodes some 200 places, and take 100 nodes
/// 400,000 hashes to deal out.
const PARTITION_BITS: u32 = 12;
const PARTITIONS: usize = 1 << PARTITION_BITS;

/// A node takes at most 5/4 of its share: the value that the paper recommends for a small bound at few moves.
const LOAD_NUMERATOR: usize = 5;
const LOAD_DENOMINATOR: usize = 4;

/// Nodes beyond this many are not used: their numbers would not fit.
pub(crate) const NODES_MAX: usize = 1024;

/// The nodes of every partition.
#[derive(Debug)]
pub(crate) struct Ring {
    places: Vec<[u16; FRAGMENTS_MAX]>,
    per_chunk: usize,
}

impl Ring {
    /// Deals partitions out to nodes with these names, which differ from each other.
    pub(crate) fn new(names: &[&str]) -> Self {
        debug_assert!(names.len() <= NODES_MAX, "the fleet's file is checked");
        let per_chunk = names.len().min(FRAGMENTS_MAX);
        let seeds: Vec<u64> = names
            .iter()
            .map(|name| first_word(&ChunkId::of(name.as_bytes())))
            .collect();
        let load_max = load_max(names.len(), per_chunk);
        let mut loads = vec![0; names.len()];
        let places = (0..PARTITIONS).map(|partition| {
            let mut place = [0; FRAGMENTS_MAX];
            for (place, node) in place.iter_mut().zip(choose(partition, &seeds, &loads, load_max)) {
                *place = node as u16;
                loads[node] += 1;
            }
            place
        });
        Self {
            places: places.collect(),
            per_chunk,
        }
    }

    /// The chunk's nodes, all different, in an order that is the same for everyone. Fewer than five when there are
    /// fewer; none when there are none.
    pub(crate) fn nodes<'a>(&'a self, id: &ChunkId) -> impl Iterator<Item = usize> + use<'a> {
        let partition = first_word(id) >> (u64::BITS - PARTITION_BITS);
        let place = &self.places[partition as usize];
        place[..self.per_chunk].iter().map(|node| usize::from(*node))
    }
}

const fn load_max(nodes: usize, per_chunk: usize) -> usize {
    let places = PARTITIONS * per_chunk * LOAD_NUMERATOR;
    // No node takes more than one place of a partition.
    match nodes {
        0 => 0,
        nodes => places.div_ceil(nodes * LOAD_DENOMINATOR),
    }
}

/// The best nodes of a partition: those with room first, of these the ones that rank highest.
fn choose(partition: usize, seeds: &[u64], loads: &[usize], load_max: usize) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..seeds.len()).collect();
    let rank = |node: usize| {
        let score = mix(seeds[node] ^ mix(partition as u64));
        (loads[node] >= load_max, std::cmp::Reverse(score), node)
    };
    if ranked.len() > FRAGMENTS_MAX {
        ranked.select_nth_unstable_by_key(FRAGMENTS_MAX, |node| rank(*node));
        ranked.truncate(FRAGMENTS_MAX);
    }
    ranked.sort_by_key(|node| rank(*node));
    ranked
}

fn first_word(id: &ChunkId) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(word)
}

/// The finisher of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Never to be changed: fragments would be sought in
/// the wrong places, once, after an upgrade.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests;
