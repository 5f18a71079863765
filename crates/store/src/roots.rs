//! Which roots there are, and where a read looks.
//!
//! A name says in which root an object was born, and it may have moved on since: garbage collection copies what lives
//! into a younger root under the same id. So a read looks into the root that is named and, where that no longer has the
//! object, into the younger ones: retired and active roots from the oldest, which have what lives in one request, then
//! expired ones, where nothing should be left that anybody needs; a read that is answered there raises an alarm.
//! Deleting and deleted roots are not asked at all.
//!
//! Readers go by a table of the roots that may be [`ROOTS_FRESH_MS`] old, and is read again beside them. An old table
//! costs a request, or an alarm that is not raised, and never an object: whoever finds nothing reads the table anew
//! and looks again for as long as it changes. So the read that a start waits for is one request, as ever.

use crate::error::Sort;
use crate::put::{Decided, decide};
use crate::root::RootEventRefused;
use crate::{NoActiveRoot, Root, RootEvent, RootState, Store, StoreError, layout};
use bytes::Bytes;
use chunk::ChunkId;
use object_store::Error;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// How old the table of roots may be before a reader has it read again. A minute: far below any grace period that
/// makes sense, and one listing of a folder of a few objects.
const ROOTS_FRESH_MS: u64 = 60_000;

/// All roots of a store at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootTable {
    roots: BTreeMap<u32, Root>,
    /// Roots with an alarm at their present revision.
    alarmed: BTreeSet<u32>,
}

impl RootTable {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Root> {
        self.roots.values()
    }

    pub(crate) fn get(&self, generation: u32) -> Option<&Root> {
        self.roots.get(&generation)
    }

    /// Whether something was read in an expired root since it expired.
    pub(crate) fn has_alarm(&self, generation: u32) -> bool {
        self.alarmed.contains(&generation)
    }

    /// The root that new pushes write under.
    pub(crate) fn active(&self) -> Option<&Root> {
        self.iter().rev().find(|root| root.state == RootState::Active)
    }

    /// Where to look for what was born in `generation`, in order.
    fn places(&self, generation: u32) -> Vec<Place> {
        let mut places: Vec<Place> = self
            .roots
            .range(generation..)
            .filter(|(_, root)| root.state < RootState::Deleting)
            .map(|(generation, root)| Place {
                generation: *generation,
                expired: (root.state == RootState::Expired).then_some(root.revision),
            })
            .collect();
        places.sort_by_key(|place| (place.expired.is_some(), place.generation));
        if !self.roots.contains_key(&generation) {
            // Made after the table was read, or never.
            places.insert(0, Place::named(generation));
        }
        places
    }
}

/// A root to look in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    generation: u32,
    /// The revision at which it expired, if it has.
    expired: Option<u32>,
}

impl Place {
    const fn named(generation: u32) -> Self {
        Self {
            generation,
            expired: None,
        }
    }
}

/// What the clones of a store know of its roots.
#[derive(Debug, Default)]
pub(crate) struct KnownRoots {
    known: Mutex<Known>,
    alarms: AtomicU64,
    /// Generation and revision of the alarms that this process has stored.
    alarms_stored: Mutex<BTreeSet<(u32, u32)>>,
}

#[derive(Debug, Default)]
struct Known {
    table: Option<Arc<RootTable>>,
    asked_ms: Option<u64>,
    refresh: Option<JoinHandle<()>>,
}

impl KnownRoots {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing that holds the lock can leave it half-changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Option<Arc<RootTable>> {
        self.lock().table.clone()
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(refresh) = self.refresh.take() {
            refresh.abort();
        }
    }
}

/// What became of an attempt to change a root.
#[derive(Debug)]
pub(crate) enum Changed {
    /// It is as wanted.
    Done(Root),
    /// Another collector was faster; the table must be read again.
    Lost,
}

impl Store {
    /// The root to write under: the newest active one. An empty store gets its first root here; of several that come
    /// at once one makes it and all use it.
    pub async fn active_root(&self) -> Result<Root, StoreError> {
        let mut table = self.load_roots().await?;
        if table.roots.is_empty() {
            self.create_root(1).await?;
            table = self.load_roots().await?;
        }
        let none = || NoActiveRoot {
            place: self.place().to_owned(),
            roots: table.roots.len(),
        };
        Ok(table.active().cloned().ok_or_else(none)?)
    }

    /// The root that a manifest names, as it is now.
    pub async fn root(&self, generation: u32) -> Result<Root, StoreError> {
        let table = self.load_roots().await?;
        let root = table.get(generation).cloned();
        root.ok_or_else(|| self.missing(Sort::Root, &generation.to_string()).into())
    }

    /// All roots, from the oldest, with whether each has an alarm that no collector has seen to yet.
    pub async fn roots(&self) -> Result<Vec<(Root, bool)>, StoreError> {
        let table = self.load_roots().await?;
        let with_alarm = |root: &Root| (root.clone(), table.has_alarm(root.generation));
        Ok(table.iter().map(with_alarm).collect())
    }

    /// Reads that this process and its clones of the store were answered by expired roots.
    #[must_use]
    pub fn expired_reads(&self) -> u64 {
        self.known_roots().alarms.load(Ordering::Relaxed)
    }

    /// Reads the table of roots. What it read before it does not read again: revisions never change.
    pub(crate) async fn load_roots(&self) -> Result<Arc<RootTable>, StoreError> {
        self.known_roots().lock().asked_ms = Some(self.now_ms());
        let before = self.known_roots().table().unwrap_or_default();
        let listed = self.list_roots().await?;
        let revisions: Vec<(u32, u32)> = listed.revisions.iter().map(|(one, other)| (*one, *other)).collect();
        let reads = revisions.into_iter().map(|(generation, revision)| {
            let known = before.get(generation).filter(|root| root.revision == revision).cloned();
            async move {
                match known {
                    Some(root) => Ok(root),
                    None => self.read_root(generation, revision).await,
                }
            }
        });
        let roots = futures::future::try_join_all(reads).await?;
        let table = Arc::new(RootTable {
            alarmed: listed.alarmed(),
            roots: roots.into_iter().map(|root| (root.generation, root)).collect(),
        });
        self.known_roots().lock().table = Some(Arc::clone(&table));
        Ok(table)
    }

    /// Makes a new root, unless another process just did: then that one's is as good.
    pub(crate) async fn create_root(&self, generation: u32) -> Result<(), StoreError> {
        let mut salt = [0; 32];
        self.fill_random(&mut salt);
        let root = Root::new(generation, self.now_ms(), salt);
        self.decide(&layout::root(generation, 1), root.encode().into()).await?;
        Ok(())
    }

    /// Lets an event happen to a root, if nothing else has happened to it meanwhile.
    pub(crate) async fn change_root(&self, root: &Root, event: RootEvent) -> Result<Changed, StoreError> {
        let changed = root.apply(event, self.now_ms())?;
        let key = layout::root(changed.generation, changed.revision);
        match self.decide(&key, changed.encode().into()).await? {
            Decided::Ours => {
                tracing::info!(root = root.generation, from = %root.state, to = %changed.state, "a root changed");
                Ok(Changed::Done(changed))
            }
            Decided::Theirs(_) => Ok(Changed::Lost),
        }
    }

    /// Writes a value if the key has none; gives whose value it is now. May be repeated.
    pub(crate) async fn decide(&self, key: &Path, value: Bytes) -> Result<Decided, StoreError> {
        let attempt = || decide(self.objects(), key, value.clone());
        let decided = self.retry().run(attempt).await;
        Ok(decided.map_err(|source| self.failed("write", key, source))?)
    }

    /// Reads what was born in `generation` from wherever it is now.
    pub(crate) async fn read_placed(
        &self,
        (sort, id): (Sort, ChunkId),
        generation: u32,
        key: impl Fn(u32) -> Path,
    ) -> Result<Bytes, StoreError> {
        let name = id.to_string();
        let mut table = self.recent_roots();
        loop {
            let places = table
                .as_ref()
                .map_or_else(|| vec![Place::named(generation)], |table| table.places(generation));
            for place in places {
                match self.read(sort, &name, &key(place.generation)).await {
                    Err(StoreError::Missing(_)) => {}
                    answer => {
                        if answer.is_ok()
                            && let Some(revision) = place.expired
                        {
                            self.raise_alarm(place.generation, revision, sort, &name).await;
                        }
                        return answer;
                    }
                }
            }
            let now = Some(self.load_roots().await?);
            if now == table {
                return Err(self.missing(sort, &name).into());
            }
            table = now;
        }
    }

    /// The same for what a start does without: a table that nobody has read yet is not waited for, and expired roots
    /// are left alone.
    pub(crate) async fn read_placed_optional(
        &self,
        (sort, manifest): (Sort, ChunkId),
        generation: u32,
        key: impl Fn(u32) -> Path,
    ) -> Result<Option<Bytes>, StoreError> {
        let places = match self.recent_roots() {
            None => vec![Place::named(generation)],
            Some(table) => table.places(generation),
        };
        // From the youngest: a pack that was built in a root while it retired has chunks that did not move with it.
        for place in places.into_iter().rev().filter(|place| place.expired.is_none()) {
            let name = manifest.to_string();
            if let Some(bytes) = self.read_optional(sort, &name, &key(place.generation)).await? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The youngest root that has a manifest which was born in `generation`: where what is new about it belongs, such as a
    /// start pack, if the root is active.
    pub async fn home(&self, generation: u32, manifest: ChunkId) -> Result<Root, StoreError> {
        let homes = self.homes(generation, manifest).await?;
        self.root(homes.into_iter().max().unwrap_or(generation)).await
    }

    /// The roots that have a manifest which was born in `generation`: one, or two while it moves.
    pub(crate) async fn homes(&self, generation: u32, manifest: ChunkId) -> Result<Vec<u32>, StoreError> {
        let table = match self.recent_roots() {
            Some(table) => table,
            None => self.load_roots().await?,
        };
        let places = table.places(generation);
        if let [only] = places[..] {
            return Ok(vec![only.generation]);
        }
        let mut homes = Vec::new();
        for place in places {
            if self.has(&layout::manifest(place.generation, manifest)).await? {
                homes.push(place.generation);
            }
        }
        Ok(homes)
    }

    /// The table as it was read last; has it read again when that was long ago.
    pub(crate) fn recent_roots(&self) -> Option<Arc<RootTable>> {
        let now_ms = self.now_ms();
        let mut known = self.known_roots().lock();
        let is_fresh = known
            .asked_ms
            // A clock that went back says nothing about age.
            .and_then(|asked| now_ms.checked_sub(asked))
            .is_some_and(|age_ms| age_ms < ROOTS_FRESH_MS);
        if !is_fresh && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            known.asked_ms = Some(now_ms);
            // The task must not keep what owns it alive, so its store has a table of its own.
            let (apart, shared) = (self.apart(), Arc::downgrade(self.known_roots()));
            known.refresh = Some(runtime.spawn(async move {
                match (apart.load_roots().await, shared.upgrade()) {
                    (Ok(table), Some(shared)) => shared.lock().table = Some(table),
                    (Err(error), _) => tracing::warn!("the table of roots could not be read again: {error}"),
                    (Ok(_), None) => {}
                }
            }));
        }
        known.table.clone()
    }

    /// Somebody needs what nobody should: says so in the log, and in the store, where it stops the root's deletion.
    async fn raise_alarm(&self, generation: u32, revision: u32, sort: Sort, name: &str) {
        let noun = sort.noun();
        self.known_roots().alarms.fetch_add(1, Ordering::Relaxed);
        let stored = || {
            self.known_roots()
                .alarms_stored
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if stored().contains(&(generation, revision)) {
            // One line is enough to act, and thousands would hide it.
            return tracing::debug!(root = generation, "{noun} {name} was read from an expired root, too");
        }
        tracing::error!(
            root = generation,
            "{noun} {name} was read from an expired root: its deletion is stopped"
        );
        let text = format!("{noun} {name} was read at {} ms after 1970\n", self.now_ms());
        match self.decide(&layout::alarm(generation, revision), text.into()).await {
            Ok(_) => {
                stored().insert((generation, revision));
            }
            Err(error) => tracing::error!(root = generation, "the alarm could not be stored: {error}"),
        }
    }

    /// In order; foreign files are passed over.
    async fn list_roots(&self) -> Result<ListedRoots, StoreError> {
        let folder = layout::roots();
        // A push's first contact: a server that takes connections and says nothing is noticed here, long before
        // `request_timeout`, which must leave time for slow uploads.
        let first_contact = tokio::time::timeout(self.settings().retry_budget, self.list(&folder));
        let objects = first_contact.await.unwrap_or_else(|elapsed| {
            let source = Error::Generic {
                store: "store",
                source: Box::new(std::io::Error::from(elapsed)),
            };
            Err(self.failed("list", &folder, source).into())
        })?;
        let mut listed = ListedRoots::default();
        for object in &objects {
            match layout::root_object(&object.location) {
                Some(layout::RootObject::Revision(generation, revision)) => {
                    let latest = listed.revisions.entry(generation).or_default();
                    *latest = revision.max(*latest);
                }
                Some(layout::RootObject::Alarm(generation, revision)) => {
                    listed.alarms.insert((generation, revision));
                }
                None => {}
            }
        }
        Ok(listed)
    }

    async fn read_root(&self, generation: u32, revision: u32) -> Result<Root, StoreError> {
        let name = generation.to_string();
        let bytes = self
            .read(Sort::Root, &name, &layout::root(generation, revision))
            .await?;
        let decoded = Root::decode(generation, revision, &bytes);
        decoded.map_err(|reason| self.corrupt(Sort::Root, &name, reason).into())
    }
}

/// What lies under `roots/`.
#[derive(Default)]
struct ListedRoots {
    /// The latest of each generation.
    revisions: BTreeMap<u32, u32>,
    alarms: BTreeSet<(u32, u32)>,
}

impl ListedRoots {
    fn alarmed(&self) -> BTreeSet<u32> {
        let present = |alarm: &&(u32, u32)| self.revisions.get(&alarm.0) == Some(&alarm.1);
        self.alarms.iter().filter(present).map(|alarm| alarm.0).collect()
    }
}

impl From<RootEventRefused> for StoreError {
    fn from(refused: RootEventRefused) -> Self {
        Self::RootEvent(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_look_from_the_named_root_upwards_and_last_where_an_alarm_waits() {
        use RootState as S;
        let states = [S::Deleted, S::Deleting, S::Expired, S::Retired, S::Active];
        let root = |(place, state): (usize, &RootState)| {
            let root = Root::new(place as u32 + 1, 0, [0; 32]);
            (root.generation, Root { state: *state, ..root })
        };
        let table = RootTable {
            roots: states.iter().enumerate().map(root).collect(),
            alarmed: BTreeSet::new(),
        };
        for (generation, expected) in [(1, &[4, 5, 3][..]), (3, &[4, 5, 3]), (4, &[4, 5]), (5, &[5]), (9, &[9])] {
            let places = table.places(generation);
            let found: Vec<u32> = places.iter().map(|place| place.generation).collect();
            assert_eq!(found, expected, "of root {generation}");
            assert!(
                places
                    .iter()
                    .all(|place| place.expired.is_some() == (place.generation == 3))
            );
        }
        assert_eq!(table.active().map(|root| root.generation), Some(5));
    }
}
