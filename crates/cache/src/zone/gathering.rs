//! The fragments of one chunk, as they come in.

use super::fragment::{Cut, Fragment};

/// Fragments of one chunk, each with the number of the place that it came from. They may be of several cuts, when the
/// fleet has grown or shrunk since they were written.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    fragments: Vec<(usize, Fragment)>,
}

impl Gathering {
    /// Adds a fragment, and gives those that rebuild the chunk when it was the last that they lacked.
    pub(super) fn add(&mut self, place: usize, fragment: Fragment) -> Option<Vec<Fragment>> {
        let cut = fragment.cut;
        self.fragments.push((place, fragment));
        self.complete(cut)
    }

    /// How many more must come at least, if they are cut as those that are here, or as today.
    pub(super) fn missing(&self, today: Cut) -> usize {
        let cuts = self.fragments.iter().map(|(_, fragment)| fragment.cut);
        let missing = |cut: Cut| cut.data().saturating_sub(self.different(cut).len());
        cuts.chain([today]).map(missing).min().unwrap_or_default()
    }

    /// Takes out what was damaged on its way or at rest; gives the places that it came from.
    pub(super) fn drop_damaged(&mut self) -> Vec<usize> {
        let damaged = self.fragments.extract_if(.., |(_, fragment)| !fragment.is_intact());
        damaged.map(|(place, _)| place).collect()
    }

    /// A full set, if there is one.
    pub(super) fn complete_any(&self) -> Option<Vec<Fragment>> {
        self.fragments
            .iter()
            .find_map(|(_, fragment)| self.complete(fragment.cut))
    }

    /// The places that a fragment came from.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.fragments.iter().map(|(place, _)| *place)
    }

    /// Which fragments of this cut are not here.
    pub(super) fn absent(&self, cut: Cut) -> Vec<usize> {
        let here = self.different(cut);
        let is_absent = |index: &usize| here.iter().all(|fragment| fragment.index != *index);
        (0..cut.fragments()).filter(is_absent).collect()
    }

    fn complete(&self, cut: Cut) -> Option<Vec<Fragment>> {
        let different = self.different(cut);
        (different.len() >= cut.data()).then(|| different.into_iter().cloned().collect())
    }

    fn different(&self, cut: Cut) -> Vec<&Fragment> {
        let mut different: Vec<&Fragment> = Vec::new();
        for (_, fragment) in &self.fragments {
            if fragment.cut == cut && different.iter().all(|other| other.index != fragment.index) {
                different.push(fragment);
            }
        }
        different
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::fragment::{cut_chunk, join_fragments};
    use bytes::Bytes;
    use chunk::ChunkId;

    fn fragments(nodes: usize) -> (Bytes, Vec<Fragment>) {
        let stored: Bytes = (0..1001_u32).map(|byte| byte as u8).collect();
        let fragments = cut_chunk(ChunkId::of(&stored), &stored, Cut::for_nodes(nodes));
        (stored, fragments)
    }

    #[test]
    fn four_different_ones_rebuild() {
        let (stored, fragments) = fragments(5);
        let mut gathering = Gathering::default();
        for (place, index, missing) in [(0, 2, 3), (1, 4, 2), (2, 4, 2), (3, 0, 1)] {
            assert_eq!(gathering.add(place, fragments[index].clone()), None);
            assert_eq!(gathering.missing(Cut::for_nodes(5)), missing);
        }
        assert_eq!(gathering.absent(Cut::for_nodes(5)), [1, 3]);
        let complete = gathering.add(4, fragments[1].clone()).unwrap();
        assert_eq!(join_fragments(&complete).unwrap(), stored);
        assert_eq!(gathering.missing(Cut::for_nodes(5)), 0);
    }

    #[test]
    fn cuts_do_not_mix() {
        let ((stored, of_five), (_, of_three)) = (fragments(5), fragments(3));
        let mut gathering = Gathering::default();
        assert_eq!(gathering.add(0, of_five[0].clone()), None);
        assert_eq!(gathering.add(1, of_three[0].clone()), None);
        assert_eq!(gathering.add(2, of_five[1].clone()), None);
        assert_eq!(gathering.missing(Cut::for_nodes(5)), 1, "one more of the two");
        let complete = gathering.add(3, of_three[2].clone()).unwrap();
        assert_eq!(join_fragments(&complete).unwrap(), stored);
    }

    #[test]
    fn what_is_damaged_goes_and_the_rest_may_do() {
        let (_, fragments) = fragments(3);
        let mut bad = fragments[0].clone();
        bad.payload = vec![0; bad.payload.len()].into();
        let mut gathering = Gathering::default();
        gathering.add(7, bad);
        assert!(gathering.add(8, fragments[1].clone()).is_some());
        assert_eq!(gathering.drop_damaged(), [7]);
        assert_eq!(gathering.complete_any(), None);
        assert_eq!(gathering.places().collect::<Vec<_>>(), [8]);
        assert!(gathering.add(9, fragments[2].clone()).is_some());
        assert!(gathering.complete_any().is_some());
    }
}
