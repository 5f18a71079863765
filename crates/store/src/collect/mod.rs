//! Garbage collection by roots. Nothing here counts references.
//!
//! ```text
//! collect() ── once, then nothing is due for a time ──────────────────────────────────────────────────────────────
//!  1 settle   deleting roots are emptied; expired ones go back to retired (an alarm) or are deleted (grace is over)
//!  2 rotate   the active root is old and holds something dead: a new root becomes active, the old one retires
//!  3 move     pushes of retired roots are decided; all that lives is copied into the active root; then they expire
//!  4 settle   once more, for graces of nothing
//!  5 note     chunks of the active root that very many images share are listed for pushes to come (see `popular`)
//!  6 sweep    what came late into deleted roots goes, and the keys of manifests that no root has (see `keys`)
//! ```
//! Source of the idea: Brooker et al., "On-demand Container Loading in AWS Lambda", USENIX ATC 2023, garbage collection.
//!
//! **What lives** is what the caller's `live` lists (the manifests of all records) and what pushes have committed to and
//! not yet recorded. A manifest moves with its chunks, its trace and its start pack, and keeps its id, as chunks keep
//! theirs, and so their keys and their salt: copying needs no key, caches stay right, records and mounts stay valid
//! (see `roots` for how a read finds it, and docs/decisions/0012 for what it costs).
//!
//! **Order is the proof.** A manifest is copied behind its chunks, so where a manifest lies its chunks lie, and a second
//! attempt begins where the first one died. A root expires behind a complete move that began when its pushes were
//! decided (see `pushes`). It is deleted behind a last look: every live manifest is read again, and every chunk of it
//! must lie in a younger root that is active or retired. What is not so is no reason to guess: it is an alarm, and the
//! root goes back to retired, from where all of it happens again.
//!
//! **May die anywhere**, run twice at once, and run beside pushes, reads and starts: states change by put-if-absent
//! (see `root`), copies may be repeated, and what a loser copies into a root that was deleted meanwhile is swept up by
//! the next collection.

mod inventory;
mod keys;
mod moves;
mod pace;
mod popular;
mod remove;
mod survey;

pub use survey::{Popular, RootUse, Survey};

use crate::pushes::PushState;
use crate::roots::Changed;
use crate::{Root, RootEvent, RootState, Store, StoreError};
use chunk::ChunkId;
use futures::future::BoxFuture;
use moves::Mover;
use pace::Pace;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When roots change, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcSettings {
    /// An active root with something dead in it retires at this age. Default 7 days: a new root costs one copy of all
    /// that lives, so the store spends that once a week at most.
    pub retire_after: Duration,
    /// A retired root expires this long after it retired, and a push that began in it has as long to end. Default one
    /// day: longer than any push.
    pub expire_after: Duration,
    /// An expired root in which nothing is read is deleted this long after it expired; a mount of an image that was
    /// removed is good for as long. Default 2 days: a weekend in which nobody looks at an alarm.
    pub delete_after: Duration,
    /// An active root also retires at this age when nothing in it is dead, for the sake of a new salt. Default never.
    pub salt_life: Option<Duration>,
    /// Chunks that are copied in a second, and objects that are deleted. Default as fast as it goes.
    pub rate_per_second: Option<NonZeroU32>,
    /// A chunk that more images share than this is stored under one of several salts from then on. Default 1,000: eight
    /// more copies are then less than a hundredth of what these images would hold if they shared nothing. `None` is never.
    pub popular_above: Option<u64>,
    /// Whether only to say what would be done.
    pub is_dry_run: bool,
}

impl Default for GcSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            retire_after: DAY * 7,
            expire_after: DAY,
            delete_after: DAY * 2,
            salt_life: None,
            rate_per_second: None,
            popular_above: Some(1000),
            is_dry_run: false,
        }
    }
}

/// A manifest that must stay readable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveManifest {
    /// Its id.
    pub manifest: ChunkId,
    /// The root in which it was born.
    pub generation: u32,
    /// Who needs it, for messages.
    pub name: String,
    /// Stored bytes of its chunks, for a progress bar.
    pub stored_bytes: u64,
}

/// How far a collection is; another thread may read it at any time.
#[derive(Debug, Default)]
pub struct GcProgress {
    /// Stored bytes of all manifests to look at, once known.
    pub bytes_live: AtomicU64,
    /// Stored bytes of those that are where they should be.
    pub bytes_done: AtomicU64,
    /// Chunks copied.
    pub chunks_moved: AtomicU64,
    /// Their bytes.
    pub bytes_moved: AtomicU64,
    /// Manifests copied.
    pub manifests_moved: AtomicU64,
    /// Objects deleted.
    pub objects_deleted: AtomicU64,
    /// Their bytes.
    pub bytes_deleted: AtomicU64,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Each change of a root's state, in order; a new root is one that becomes active.
    pub changes: Vec<(u32, RootState)>,
    /// Manifests that must stay readable.
    pub manifests_live: u64,
    /// Manifests copied.
    pub manifests_moved: u64,
    /// Chunks copied.
    pub chunks_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// Objects deleted.
    pub objects_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Of the objects, data keys that had been wrapped anew and whose manifests are gone.
    pub keys_deleted: u64,
    /// Chunks of the active root that pushes store under several salts; 0 where too few images were born in it to look.
    pub popular_chunks: u64,
    /// Pushes into retired roots that are on their way.
    pub pushes_open: u64,
    /// Pushes that had begun in a retired root and were ended.
    pub pushes_revoked: u64,
    /// Roots of which something was read, or is still needed, after they expired.
    pub alarms: Vec<u32>,
    /// What live manifests need and no root has.
    pub faults: Vec<String>,
}

/// One collection.
struct Collector<'a, L> {
    store: &'a Store,
    settings: &'a GcSettings,
    live: L,
    pace: Pace,
    progress: &'a GcProgress,
    report: GcReport,
}

impl Store {
    /// Collects: does what is due, and nothing twice. `live` lists what must stay readable, and is asked anew whenever
    /// that decides something; it must list at least what was recorded before it was asked.
    ///
    /// Cancelling it, or an error, leaves a store in which every live manifest is whole, and the next call goes on.
    pub async fn collect<'l, L, E>(&self, settings: &GcSettings, live: L, progress: &GcProgress) -> Result<GcReport, E>
    where
        L: Fn() -> BoxFuture<'l, Result<Vec<LiveManifest>, E>>,
        E: From<StoreError> + 'l,
    {
        let mut collector = Collector {
            store: self,
            settings,
            live,
            pace: Pace::new(settings.rate_per_second),
            progress,
            report: GcReport::default(),
        };
        if self.load_roots().await?.iter().next().is_none() {
            return Ok(collector.report());
        }
        collector.settle().await?;
        collector.rotate().await?;
        collector.move_and_expire().await?;
        collector.note_popular().await?;
        if !settings.is_dry_run {
            collector.settle().await?;
            collector.sweep().await?;
        }
        collector.remove_keys().await?;
        Ok(collector.report())
    }
}

impl<'l, L, E> Collector<'_, L>
where
    L: Fn() -> BoxFuture<'l, Result<Vec<LiveManifest>, E>>,
    E: From<StoreError> + 'l,
{
    /// Ends what has expired or is being deleted.
    async fn settle(&mut self) -> Result<(), E> {
        let table = self.store.load_roots().await?;
        for root in table.iter() {
            match root.state {
                RootState::Deleting => self.empty(root).await?,
                RootState::Expired if table.has_alarm(root.generation) => self.alarm(root).await?,
                RootState::Expired if self.is_due(root, self.settings.delete_after) => self.delete(root).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&mut self, root: &Root) -> Result<(), E> {
        let mut live = self.committed(root, false).await?.0;
        live.extend((self.live)().await?);
        let needed = self.mover().await?.still_needed(root.generation, live).await?;
        if let Some(needed) = needed.first() {
            let more = needed.len();
            tracing::error!(
                root = root.generation,
                more,
                "an expired root is still needed: {needed}"
            );
            return self.alarm(root).await;
        }
        match self.change(root, RootEvent::Delete).await? {
            Some(deleting) => self.empty(&deleting).await,
            None if self.settings.is_dry_run => Ok(self.remove_objects(root.generation).await?),
            None => Ok(()),
        }
    }

    async fn alarm(&mut self, root: &Root) -> Result<(), E> {
        self.report.alarms.push(root.generation);
        self.change(root, RootEvent::Alarm).await?;
        Ok(())
    }

    async fn empty(&mut self, root: &Root) -> Result<(), E> {
        self.remove_objects(root.generation).await?;
        self.change(root, RootEvent::Emptied).await?;
        Ok(())
    }

    /// Makes a new root active if the one that is has had its time, and retires all others that are.
    async fn rotate(&mut self) -> Result<(), E> {
        let mut active = self.store.active_root().await?;
        if self.wants_new_root(&active).await? {
            let next = active.generation + 1;
            self.report.changes.push((next, RootState::Active));
            if self.settings.is_dry_run {
                self.change(&active, RootEvent::Retire).await?;
            } else {
                self.store.create_root(next).await?;
                active = self.store.active_root().await?;
            }
        }
        let table = self.store.load_roots().await?;
        let older = table.iter().filter(|root| root.generation < active.generation);
        for root in older.filter(|root| root.state == RootState::Active) {
            self.change(root, RootEvent::Retire).await?;
        }
        Ok(())
    }

    async fn wants_new_root(&self, active: &Root) -> Result<bool, E> {
        if self.settings.salt_life.is_some_and(|life| self.is_due(active, life)) {
            return Ok(true);
        }
        if !self.is_due(active, self.settings.retire_after) {
            return Ok(false);
        }
        let survey = self.store.survey((self.live)().await?).await?;
        let used = survey
            .roots
            .iter()
            .find(|used| used.root.generation == active.generation);
        Ok(used.is_some_and(|used| used.dead_bytes > 0))
    }

    /// Copies what lives into the active root; then retired roots whose time has come expire.
    async fn move_and_expire(&mut self) -> Result<(), E> {
        let table = self.store.load_roots().await?;
        let retired: Vec<&Root> = table.iter().filter(|root| root.state == RootState::Retired).collect();
        // In a dry run the root that would retire is active still.
        let none_would_retire = !self.settings.is_dry_run || self.report.changes.is_empty();
        if retired.is_empty() && none_would_retire {
            return Ok(());
        }
        let mut live = Vec::new();
        let mut expiring = Vec::new();
        for root in retired {
            let is_due = self.is_due(root, self.settings.expire_after);
            let (committed, open) = self.committed(root, is_due).await?;
            live.extend(committed);
            self.report.pushes_open += open;
            if is_due && open == 0 {
                expiring.push(root);
            }
        }
        // Behind the pushes: whatever has ended meanwhile is in one list or the other.
        live.extend((self.live)().await?);
        self.move_all(live).await?;
        for root in expiring {
            self.change(root, RootEvent::Expire).await?;
        }
        Ok(())
    }

    async fn move_all(&mut self, mut live: Vec<LiveManifest>) -> Result<(), E> {
        live.sort_unstable();
        live.dedup_by_key(|one| one.manifest);
        self.report.manifests_live = live.len() as u64;
        let all: u64 = live.iter().map(|one| one.stored_bytes).sum();
        self.progress.bytes_live.store(all, Ordering::Relaxed);
        let mut mover = self.mover().await?;
        for one in &live {
            mover.bring(one).await?;
            self.progress.bytes_done.fetch_add(one.stored_bytes, Ordering::Relaxed);
        }
        self.report.faults = mover.into_faults().await?;
        Ok(())
    }

    /// The manifests that pushes into a root have committed to, and how many pushes are undecided.
    async fn committed(&mut self, root: &Root, revoke: bool) -> Result<(Vec<LiveManifest>, u64), E> {
        let (mut committed, mut open) = (Vec::new(), 0);
        for (token, mut state) in self.store.pushes(root.generation).await? {
            if state == PushState::Open && revoke && !self.settings.is_dry_run {
                state = self.store.revoke_push(root.generation, &token).await?;
                self.report.pushes_revoked += u64::from(state == PushState::Revoked);
            }
            match state {
                PushState::Open => open += 1,
                PushState::Revoked => {}
                PushState::Committed(manifest) => committed.push(LiveManifest {
                    manifest,
                    generation: root.generation,
                    name: format!("push {token}"),
                    stored_bytes: 0,
                }),
            }
        }
        Ok((committed, open))
    }

    async fn mover(&self) -> Result<Mover<'_>, StoreError> {
        let will_rotate = self.report.changes.iter().any(|change| change.1 == RootState::Active);
        Mover::new(
            self.store,
            &self.pace,
            self.progress,
            self.settings.is_dry_run.then_some(will_rotate),
        )
        .await
    }

    /// `None` where another collector was faster, and in a dry run.
    async fn change(&mut self, root: &Root, event: RootEvent) -> Result<Option<Root>, StoreError> {
        if self.settings.is_dry_run {
            let state = root.apply(event, self.store.now_ms())?.state;
            self.report.changes.push((root.generation, state));
            return Ok(None);
        }
        match self.store.change_root(root, event).await? {
            Changed::Done(changed) => {
                self.report.changes.push((changed.generation, changed.state));
                Ok(Some(changed))
            }
            Changed::Lost => Ok(None),
        }
    }

    fn is_due(&self, root: &Root, after: Duration) -> bool {
        u128::from(root.age_ms(self.store.now_ms())) >= after.as_millis()
    }

    fn report(self) -> GcReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GcReport {
            manifests_moved: count(&self.progress.manifests_moved),
            chunks_moved: count(&self.progress.chunks_moved),
            bytes_moved: count(&self.progress.bytes_moved),
            objects_deleted: count(&self.progress.objects_deleted),
            bytes_deleted: count(&self.progress.bytes_deleted),
            ..self.report
        }
    }
}
