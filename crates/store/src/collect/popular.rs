//! Noting which chunks of the active root very many images share (see `crate::popular`).
//!
//! Only images that were born in the active root count: chunks of the others were sealed under salts that no push uses any
//! more. A collector that dies or comes late leaves an older list, and pushes share a little more than they should.

use super::{Collector, LiveManifest};
use crate::popular::{LANES, POPULAR_MAX, PopularChunks};
use crate::{Store, StoreError};
use chunk::{ChunkId, Manifest};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeSet, HashMap};

impl<'l, L, E> Collector<'_, L>
where
    L: Fn() -> BoxFuture<'l, Result<Vec<LiveManifest>, E>>,
    E: From<StoreError> + 'l,
{
    /// Adds to the active root's list what has become popular.
    pub(super) async fn note_popular(&mut self) -> Result<(), E> {
        let Some(above) = self.settings.popular_above else {
            return Ok(());
        };
        let generation = self.store.active_root().await?.generation;
        let mut born: Vec<LiveManifest> = (self.live)().await?;
        born.retain(|one| one.generation == generation);
        born.sort_unstable();
        born.dedup_by_key(|one| one.manifest);
        // So few that no chunk can be: no manifest needs to be read.
        if born.len() as u64 <= above {
            return Ok(());
        }
        let before = match self.store.popular_chunks(generation).await {
            Ok(before) => before,
            // Pushes do without a list that cannot be read, too; the collection must go on.
            Err(StoreError::Corrupt(error)) => {
                tracing::error!(generation, "popular chunks are not noted: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let shares = self.store.shares(&born).await?;
        let after = added(&before, &shares, above);
        self.report.popular_chunks = after.len() as u64;
        if after != before && !self.settings.is_dry_run {
            self.store.put_popular_chunks(generation, &after).await?;
        }
        Ok(())
    }
}

impl Store {
    /// How many of these manifests need each chunk.
    async fn shares(&self, manifests: &[LiveManifest]) -> Result<HashMap<ChunkId, u64>, StoreError> {
        let names: Vec<(u32, ChunkId)> = manifests.iter().map(|one| (one.generation, one.manifest)).collect();
        let mut reads = futures::stream::iter(names)
            .map(|(generation, manifest)| self.get_manifest(generation, manifest))
            .buffer_unordered(self.settings().in_flight_requests);
        let mut shares = HashMap::new();
        loop {
            let bytes = match reads.try_next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(shares),
                // Removed and collected since it was listed, or bad: `image verify` says what is wrong with it.
                Err(StoreError::Missing(_) | StoreError::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            let stored = Manifest::decode(&bytes)
                .iter()
                .flat_map(super::moves::stored_chunks)
                .collect::<Vec<_>>();
            for (id, _) in stored {
                *shares.entry(id).or_default() += 1;
            }
        }
    }
}

/// The list with what more than so many share; what was in it stays, and the most popular go first where not all fit.
fn added(before: &PopularChunks, shares: &HashMap<ChunkId, u64>, above: u64) -> PopularChunks {
    let is_new = |(id, images): &(&ChunkId, &u64)| **images > above && !before.contains(id);
    let mut new: Vec<(u64, ChunkId)> = shares
        .iter()
        .filter(is_new)
        .map(|(id, images)| (u64::MAX - images, *id))
        .collect();
    new.sort_unstable();
    new.truncate(POPULAR_MAX.saturating_sub(before.len()));
    PopularChunks {
        // Another number in the middle of a root's life would only make more copies.
        lanes: if before.is_empty() { LANES } else { before.lanes },
        chunks: before
            .chunks
            .iter()
            .copied()
            .chain(new.into_iter().map(|(_, id)| id))
            .collect::<BTreeSet<_>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_popular_are_added_and_none_is_taken_off() {
        let id = |number: u8| ChunkId::of(&[number]);
        let shares = HashMap::from([(id(1), 9), (id(2), 10), (id(3), 11), (id(4), 500)]);
        let before = PopularChunks {
            lanes: 3,
            chunks: BTreeSet::from([id(9)]),
        };
        let after = added(&before, &shares, 10);
        assert_eq!(after.chunks, BTreeSet::from([id(3), id(4), id(9)]));
        assert_eq!(after.lanes, 3);
        let many = HashMap::from_iter((0..POPULAR_MAX as u32 + 5).map(|one| (ChunkId::of(&one.to_le_bytes()), 20)));
        let full = added(&after, &many, 10);
        assert_eq!(full.len(), POPULAR_MAX);
        assert!(full.contains(&id(9)));
        assert_eq!(added(&full, &many, 10), full);
    }
}
