//! Which chunk is in which slot, and who makes room: S3-FIFO, in memory, without I/O.
//!
//! New chunks enter a small queue, a tenth of the slots. Whoever is read there moves on to the main queue when its turn
//! comes, whoever is not leaves; a scan therefore passes through a tenth of the disk. The main queue gives a chunk
//! another round for each read, at most [`READS_COUNTED_MAX`]. Names of those who left the small queue are remembered, as many
//! as the main queue has slots; one that comes again enters the main queue at once.
//! Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.
//! One difference: there a chunk leaves the small queue for the main one with its second read, here with its first,
//! because the memory tier above takes the repeated reads of the first minutes and only the later ones come here.
//!
//! A slot is in one of three states. It is *free*; or *taken*, known only to the one who writes it or clears it; or
//! *held*, in a queue and in the table. `take`, `hold`, `drop_copy` and `free` are the only moves between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// One slot of this many belongs to the small queue: a tenth, as in the paper.
const SMALL_PART: usize = 10;

/// Reads that are counted for a chunk, as in the paper.
const READS_COUNTED_MAX: u8 = 3;

/// Where a chunk is, and since when: a slot that has been taken since has another stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) stored_bytes: u32,
    stamp: u64,
}

/// The slots of a disk tier, for chunks that are named by `K`.
#[derive(Debug)]
pub(crate) struct Slots<K> {
    slots: usize,
    held: HashMap<K, Held>,
    /// Every slot is in `free`, in `small`, in `main`, or taken.
    free: Free,
    small: VecDeque<(K, u32)>,
    main: VecDeque<(K, u32)>,
    ghosts: Ghosts<K>,
    stamps: u64,
    evictions: u64,
}

#[derive(Debug)]
struct Held {
    place: Place,
    reads: u8,
}

/// Lowest slots first, so that the file grows no longer than it must. Slots from `untouched` on were never taken.
#[derive(Debug)]
struct Free {
    returned: BinaryHeap<Reverse<u32>>,
    untouched: std::ops::Range<u32>,
}

impl Free {
    fn take(&mut self) -> Option<u32> {
        let returned = self.returned.pop().map(|Reverse(slot)| slot);
        returned.or_else(|| self.untouched.next())
    }
}

impl<K: Copy + Eq + Hash> Slots<K> {
    /// Empty slots; those below `kept` are for [`Slots::restore`] and [`Slots::free`] to fill.
    pub(crate) fn new(slots: u32, kept: u32) -> Self {
        let main_slots = slots as usize - small_slots(slots as usize);
        Self {
            slots: slots as usize,
            held: HashMap::new(),
            free: Free {
                returned: BinaryHeap::new(),
                untouched: kept.min(slots)..slots,
            },
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: Ghosts::new(main_slots),
            stamps: 0,
            evictions: 0,
        }
    }

    /// A slot's chunk from before a restart, into the main queue. False when the chunk stands in an earlier slot too.
    pub(crate) fn restore(&mut self, slot: u32, key: K, stored_bytes: u32) -> bool {
        if self.held.contains_key(&key) {
            return false;
        }
        self.enter(slot, key, stored_bytes, true);
        true
    }

    /// Where a chunk is; counts as a read of it.
    pub(crate) fn find(&mut self, key: &K) -> Option<Place> {
        let held = self.held.get_mut(key)?;
        held.reads = (held.reads + 1).min(READS_COUNTED_MAX);
        Some(held.place)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.held.contains_key(key)
    }

    /// A slot to write to, taken from the free ones or from a chunk that makes room. `None` when all are taken.
    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.take().or_else(|| self.evict())
    }

    /// A slot that was taken has been written.
    pub(crate) fn hold(&mut self, slot: u32, key: K, stored_bytes: u32) {
        let main = self.ghosts.remove(&key);
        self.enter(slot, key, stored_bytes, main);
    }

    /// Takes the slot of a bad copy. False when the copy has been evicted meanwhile.
    pub(crate) fn drop_copy(&mut self, key: &K, place: Place) -> bool {
        if self.held.get(key).is_none_or(|held| held.place != place) {
            return false;
        }
        self.held.remove(key);
        // Both queues in full: bad copies are rare, and the longest queue is walked in microseconds.
        self.small.retain(|(_, slot)| *slot != place.slot);
        self.main.retain(|(_, slot)| *slot != place.slot);
        true
    }

    /// A slot that was taken holds nothing.
    pub(crate) fn free(&mut self, slot: u32) {
        self.free.returned.push(Reverse(slot));
    }

    pub(crate) fn chunks_held(&self) -> usize {
        self.held.len()
    }

    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) const fn evictions(&self) -> u64 {
        self.evictions
    }

    fn enter(&mut self, slot: u32, key: K, stored_bytes: u32, main: bool) {
        self.stamps += 1;
        let place = Place {
            slot,
            stored_bytes,
            stamp: self.stamps,
        };
        self.held.insert(key, Held { place, reads: 0 });
        let queue = if main { &mut self.main } else { &mut self.small };
        queue.push_back((key, slot));
    }

    fn evict(&mut self) -> Option<u32> {
        let slot = if self.small.len() >= small_slots(self.slots) || self.main.is_empty() {
            self.evict_small().or_else(|| self.evict_main())
        } else {
            self.evict_main()
        };
        self.evictions += u64::from(slot.is_some());
        slot
    }

    fn evict_small(&mut self) -> Option<u32> {
        while let Some((key, slot)) = self.small.pop_front() {
            if self.take_reads(&key, u8::MAX) {
                self.main.push_back((key, slot));
            } else {
                self.held.remove(&key);
                self.ghosts.add(key);
                return Some(slot);
            }
        }
        None
    }

    fn evict_main(&mut self) -> Option<u32> {
        while let Some((key, slot)) = self.main.pop_front() {
            if self.take_reads(&key, 1) {
                self.main.push_back((key, slot));
            } else {
                self.held.remove(&key);
                return Some(slot);
            }
        }
        None
    }

    /// Whether the chunk had been read; that many of its reads are then used up.
    fn take_reads(&mut self, key: &K, reads: u8) -> bool {
        let Some(held) = self.held.get_mut(key) else {
            return false;
        };
        let had_any = held.reads > 0;
        held.reads = held.reads.saturating_sub(reads);
        had_any
    }
}

const fn small_slots(slots: usize) -> usize {
    let part = slots / SMALL_PART;
    if part == 0 { 1 } else { part }
}

/// Names of chunks that left unread, the oldest first.
#[derive(Debug)]
struct Ghosts<K> {
    order: VecDeque<K>,
    /// A name that came back is only here no longer; in `order` it stays until its turn.
    names: HashSet<K>,
    names_max: usize,
}

impl<K: Copy + Eq + Hash> Ghosts<K> {
    fn new(names_max: usize) -> Self {
        Self {
            order: VecDeque::new(),
            names: HashSet::new(),
            names_max,
        }
    }

    fn add(&mut self, key: K) {
        self.order.push_back(key);
        self.names.insert(key);
        while self.order.len() > self.names_max {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, key: &K) -> bool {
        self.names.remove(key)
    }
}

// By its path, since the bench of eviction takes this file in by path too.
#[cfg(test)]
#[path = "slots/tests.rs"]
mod tests;
