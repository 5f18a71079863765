//! Which ids of the host stand for the ids of a sandbox.
//!
//! Every living sandbox has a range of its own, so that a process that breaks out of its namespaces owns no file and
//! no process of another sandbox, and so that the kernel's limits for each user do not join two sandboxes. The ranges
//! lie in `0x7000_0000..0x7ffe_0000`, which systemd's table of ids leaves unused; it stays clear of users, of
//! `/etc/subuid` and of containers of systemd-nspawn, and below the ids that are negative in 32 bits.
//! Source: "Users, Groups, UIDs and GIDs on systemd systems", <https://systemd.io/UIDS-GIDS/>.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Ids in a range: those of an image that fit in 16 bits. Larger ones appear as `nobody`.
pub(crate) const RANGE_IDS: u32 = 65_536;
const FIRST: u32 = 0x7000_0000;
const END: u32 = 0x7ffe_0000;
/// Sandboxes that one spawner can have at a time.
pub(crate) const RANGES: u32 = (END - FIRST) / RANGE_IDS;

#[derive(Debug, Default)]
pub(crate) struct Ranges {
    taken: Mutex<BTreeSet<u32>>,
}

/// A range that nobody else has until this is dropped.
#[derive(Debug)]
pub(crate) struct IdRange {
    number: u32,
    ranges: Arc<Ranges>,
}

impl Ranges {
    /// The lowest free range.
    pub(crate) fn take(ranges: &Arc<Self>) -> Option<IdRange> {
        let mut taken = ranges.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..RANGES).find(|number| !taken.contains(number))?;
        taken.insert(number);
        Some(IdRange {
            number,
            ranges: ranges.clone(),
        })
    }
}

impl IdRange {
    /// Its first id on the host.
    pub(crate) fn first(&self) -> u32 {
        FIRST + self.number * RANGE_IDS
    }
}

impl Drop for IdRange {
    fn drop(&mut self) {
        self.ranges
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_ranges_differ_and_dead_ones_are_used_again() {
        let ranges = Arc::new(Ranges::default());
        let all: Vec<_> = std::iter::from_fn(|| Ranges::take(&ranges)).collect();
        assert_eq!(all.len(), RANGES as usize);
        let firsts: BTreeSet<_> = all.iter().map(IdRange::first).collect();
        assert_eq!(firsts.len(), all.len());
        assert!(
            firsts
                .iter()
                .all(|first| *first >= FIRST && first + RANGE_IDS <= END && first % RANGE_IDS == 0)
        );
        let first = all[7].first();
        drop(all);
        assert!(Ranges::take(&ranges).is_some_and(|range| range.first() < first));
    }
}
