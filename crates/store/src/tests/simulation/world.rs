//! What all processes share, and the judge of it.

use super::random::Random;
use crate::backend::Backend;
use crate::error::Sort;
use crate::root::RootState;
use crate::surroundings::Surroundings;
use crate::{Held, LiveManifest, ServerId, Settings, Store, layout};
use chunk::{Account, ChunkEntry, ChunkId, Manifest};
use futures::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long a root lives in each state: of the order of a schedule's steps of time.
pub(super) const GRACE: Duration = Duration::from_secs(6 * 3600);

const HOUR_MS: u64 = 3_600_000;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// Nothing happens, and the caller is told so.
    Lost,
    /// It happens, and the caller is told that it did not.
    AnswerLost,
}

/// What happened in a schedule, so that a simulation in which nothing does is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) pushes: u64,
    pub(super) pushes_revoked: u64,
    pub(super) removals: u64,
    pub(super) reads: u64,
    pub(super) starts: u64,
    pub(super) collections: u64,
    pub(super) manifests_moved: u64,
    pub(super) roots_deleted: u64,
    pub(super) alarms: u64,
    pub(super) rotations: u64,
    pub(super) keys_deleted: u64,
    pub(super) in_lanes: u64,
    pub(super) claims: u64,
    pub(super) releases: u64,
    pub(super) kept_for_others: u64,
    pub(super) jumps: u64,
    pub(super) deaths: u64,
    pub(super) judgements: u64,
}

impl Seen {
    pub(super) const fn is_everything(&self) -> bool {
        self.pushes > 0
            && self.pushes_revoked > 0
            && self.removals > 0
            && self.reads > 0
            && self.starts > 0
            && self.collections > 0
            && self.manifests_moved > 0
            && self.roots_deleted > 0
            && self.rotations > 0
            && self.keys_deleted > 0
            && self.in_lanes > 0
            && self.claims > 0
            && self.releases > 0
            && self.kept_for_others > 0
            && self.jumps > 0
            && self.deaths > 0
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.pushes += other.pushes;
        self.pushes_revoked += other.pushes_revoked;
        self.removals += other.removals;
        self.reads += other.reads;
        self.starts += other.starts;
        self.collections += other.collections;
        self.manifests_moved += other.manifests_moved;
        self.roots_deleted += other.roots_deleted;
        self.alarms += other.alarms;
        self.rotations += other.rotations;
        self.keys_deleted += other.keys_deleted;
        self.in_lanes += other.in_lanes;
        self.claims += other.claims;
        self.releases += other.releases;
        self.kept_for_others += other.kept_for_others;
        self.jumps += other.jumps;
        self.deaths += other.deaths;
        self.judgements += other.judgements;
    }
}

struct State {
    random: Random,
    now_ms: u64,
    /// All that the clock ever went forward.
    elapsed_ms: u64,
    /// Whether the clock is set now and then, and each process has a clock of its own.
    has_jumps: bool,
    /// Since when a manifest has no record any more.
    gone: HashMap<String, u64>,
    /// Manifests whose keys a rotation has wrapped anew.
    wrapped_anew: HashSet<ChunkId>,
    /// What functions of each server run from, and under which name it was found.
    used: HashSet<(ServerId, String, ChunkId)>,
    /// Servers that claim or release something at this moment.
    busy: HashSet<ServerId>,
    /// Whether something changed that the judge should look at.
    is_dirty: bool,
    faults: bool,
    seen: Seen,
}

/// The part that processes may send about.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

pub(super) struct World {
    objects: Arc<InMemory>,
    shared: Shared,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn fate(&self) -> Fate {
        let mut state = self.lock();
        if !state.faults {
            return Fate::Done;
        }
        match state.random.below(400) {
            0 => Fate::Lost,
            1 => Fate::AnswerLost,
            _ => Fate::Done,
        }
    }

    /// Notes what is about to change: a record that goes leaves its manifest without one.
    pub(super) fn before_write(&self, objects: &Arc<InMemory>, key: &Path) {
        let tree = key.as_ref().split('/').next();
        if matches!(
            tree,
            Some("roots" | "images" | "chunks" | "manifests" | "keys" | "held")
        ) {
            self.lock().is_dirty = true;
        }
        if tree == Some("images")
            && let Some(Ok(found)) = objects.get(key).now_or_never()
            && let Some(Ok(bytes)) = found.bytes().now_or_never()
        {
            let (_, manifest) = parse_record(&bytes);
            let mut state = self.lock();
            let now_ms = state.now_ms;
            state.gone.entry(manifest.to_string()).or_insert(now_ms);
        }
    }
}

impl World {
    pub(super) fn new(mut random: Random) -> Self {
        let has_jumps = random.below(4) == 0;
        let state = State {
            random,
            now_ms: 10_000_000_000,
            elapsed_ms: 0,
            has_jumps,
            gone: HashMap::new(),
            wrapped_anew: HashSet::new(),
            used: HashSet::new(),
            busy: HashSet::new(),
            is_dirty: false,
            faults: true,
            seen: Seen::default(),
        };
        Self {
            objects: Arc::new(InMemory::new()),
            shared: Shared(Arc::new(Mutex::new(state))),
        }
    }

    pub(super) fn objects(&self) -> Arc<InMemory> {
        Arc::clone(&self.objects)
    }

    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    pub(super) fn random(&self, bound: u64) -> u64 {
        self.shared.lock().random.below(bound)
    }

    pub(super) fn advance(&self, ms: u64) {
        let mut state = self.shared.lock();
        state.now_ms += ms;
        state.elapsed_ms += ms;
    }

    /// Lets time pass, or sets the clock: back by hours, forward by days.
    pub(super) fn move_clock(&self) {
        let has_jumps = self.shared.lock().has_jumps;
        if !has_jumps || self.random(2) == 0 {
            return self.advance(self.random(5 * HOUR_MS));
        }
        self.see(|seen| seen.jumps += 1);
        if self.random(2) == 0 {
            let back = self.random(20 * HOUR_MS);
            let mut state = self.shared.lock();
            state.now_ms = state.now_ms.saturating_sub(back);
        } else {
            self.advance(self.random(40 * 24 * HOUR_MS));
        }
    }

    /// How wrong a process's clock is: up to three hours either way.
    fn skew_ms(&self) -> u64 {
        let has_jumps = self.shared.lock().has_jumps;
        if has_jumps {
            self.random(6 * HOUR_MS)
        } else {
            3 * HOUR_MS
        }
    }

    pub(super) fn end_faults(&self) {
        self.shared.lock().faults = false;
    }

    pub(super) fn see(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.shared.lock().seen);
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared.lock().seen
    }

    /// A store over these objects with the world's clock and randomness.
    pub(super) fn store(&self, objects: Arc<dyn ObjectStore>) -> Store {
        let (clock, stopwatch, random) = (self.shared(), self.shared(), self.shared());
        let skew_ms = self.skew_ms();
        let settings = Settings {
            in_flight_requests: 3,
            ..Settings::default()
        };
        Store::over(Backend::over(objects, "simulation"), settings).with_surroundings(Surroundings {
            clock: Arc::new(move || clock.lock().now_ms + skew_ms - 3 * HOUR_MS),
            stopwatch: Arc::new(move || stopwatch.lock().elapsed_ms),
            random: Arc::new(move |bytes| {
                let mut state = random.lock();
                bytes.fill_with(|| state.random.next() as u8);
            }),
        })
    }

    /// One that waits for nothing.
    pub(super) fn judges_store(&self) -> Store {
        self.store(self.objects())
    }

    pub(super) fn wrapped_anew(&self, manifest: ChunkId) {
        self.shared.lock().wrapped_anew.insert(manifest);
    }

    /// Until it is dropped, also by a death, nothing else of the server claims or releases.
    pub(super) fn alone(&self, server: ServerId) -> Option<Alone> {
        let is_free = self.shared.lock().busy.insert(server);
        is_free.then(|| Alone {
            shared: self.shared(),
            server,
        })
    }

    pub(super) fn use_device(&self, server: ServerId, name: &str, manifest: ChunkId) {
        let mut state = self.shared.lock();
        state.used.insert((server, name.to_owned(), manifest));
        state.seen.claims += 1;
        state.is_dirty = true;
    }

    pub(super) fn end_use(&self, server: ServerId, name: &str) {
        self.shared
            .lock()
            .used
            .retain(|used| (used.0, used.1.as_str()) != (server, name));
    }

    /// Whether a function runs from what is held; else its server died before it looked again.
    pub(super) fn is_used(&self, held: &Held) -> bool {
        self.uses(held.server, held.manifest)
    }

    fn uses(&self, server: ServerId, manifest: ChunkId) -> bool {
        let state = self.shared.lock();
        state.used.iter().any(|used| (used.0, used.2) == (server, manifest))
    }

    /// Whether a fault that a collection reports is one: nobody uses what was held too late.
    pub(super) fn is_fault(&self, fault: &str) -> bool {
        let state = self.shared.lock();
        let is_used = |used: &(ServerId, String, ChunkId)| fault.contains(&used.2.to_string());
        !fault.starts_with(HELD) || state.used.iter().any(is_used)
    }

    /// Whether a reader may count on a manifest: it has a record, or had one until a grace ago.
    pub(super) fn must_be_readable(&self, manifest: ChunkId) -> bool {
        let state = self.shared.lock();
        let gone = state.gone.get(&manifest.to_string());
        // With clocks that are set, only what lives is promised.
        gone.is_none() || !state.has_jumps && gone.is_none_or(|gone| state.now_ms - gone < GRACE.as_millis() as u64)
    }

    /// Every record's manifest and chunks lie where a read finds them.
    pub(super) async fn judge(&self, always: bool) {
        let is_dirty = std::mem::take(&mut self.shared.lock().is_dirty);
        if !is_dirty && !always {
            return;
        }
        self.see(|seen| seen.judgements += 1);
        let store = self.judges_store();
        let table = store.load_roots().await.unwrap();
        let readable: Vec<u32> = table
            .iter()
            .filter(|root| root.state < RootState::Deleting)
            .map(|root| root.generation)
            .collect();
        let held = store.list_held().await.unwrap();
        let used = self.shared.lock().used.clone();
        for used in used {
            let is_held = held.iter().any(|held| (held.server, held.manifest) == (used.0, used.2));
            assert!(is_held, "server {} does not hold what it uses as {}", used.0, used.1);
        }
        let is_needed = |one: &LiveManifest| {
            let holders = held.iter().filter(|held| held.manifest == one.manifest);
            !one.name.starts_with(HELD) || holders.into_iter().any(|held| self.is_used(held))
        };
        for one in live(&store).await.unwrap().into_iter().filter(is_needed) {
            let roots = || readable.iter().copied().filter(|root| *root >= one.generation);
            let manifest = self.find(roots(), |root| layout::manifest(root, one.manifest)).await;
            let manifest = manifest.unwrap_or_else(|| panic!("{} has lost its manifest", one.name));
            if self.shared.lock().wrapped_anew.contains(&one.manifest) {
                let key = store.get_wrapped_key(one.manifest).await.unwrap();
                assert!(key.is_some(), "{} has lost its newest key", one.name);
            }
            for id in Manifest::decode(&manifest)
                .unwrap()
                .entries()
                .iter()
                .filter_map(ChunkEntry::id)
            {
                let found = self.find(roots(), |root| layout::chunk(root, id)).await;
                assert!(found.is_some(), "{} has lost chunk {id}", one.name);
            }
        }
    }

    async fn find(&self, roots: impl Iterator<Item = u32>, key: impl Fn(u32) -> Path) -> Option<bytes::Bytes> {
        for root in roots {
            if let Ok(found) = self.objects.get(&key(root)).await {
                return Some(found.bytes().await.unwrap());
            }
        }
        None
    }
}

/// How the name of what is held begins.
const HELD: &str = "server ";

/// While it is there, its server does one thing.
pub(super) struct Alone {
    shared: Shared,
    server: ServerId,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.shared.lock().busy.remove(&self.server);
    }
}

/// What records live for, which are `GENERATION MANIFEST` here, and then what servers hold, as `image::live` lists them.
pub(super) async fn live(store: &Store) -> Result<Vec<LiveManifest>, crate::StoreError> {
    let mut live = Vec::new();
    for (account, name) in store.list_all_records().await? {
        let key = layout::record(&account, &name)?;
        if let Some(bytes) = store.read_optional(Sort::Record, &name, &key).await? {
            let (generation, manifest) = parse_record(&bytes);
            live.push(LiveManifest {
                manifest,
                generation,
                name: format!("{account}/{name}"),
                stored_bytes: 1,
            });
        }
    }
    live.extend(store.list_held().await?.into_iter().map(|held| LiveManifest {
        manifest: held.manifest,
        generation: held.generation,
        name: format!("{HELD}{}", held.server),
        stored_bytes: 0,
    }));
    Ok(live)
}

pub(super) fn parse_record(bytes: &[u8]) -> (u32, ChunkId) {
    let text = std::str::from_utf8(bytes).unwrap();
    let (generation, manifest) = text.split_once(' ').unwrap();
    (generation.parse().unwrap(), manifest.parse().unwrap())
}

pub(super) fn account() -> Account {
    "123456789012".parse().unwrap()
}
