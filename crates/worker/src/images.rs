//! The images that are attached, and what mounts them.
//!
//! ```text
//! mount ── first of its image: manifest, trace, start pack ─> ImageDevice ─> file N ─> loop device ─┐
//!   └───── image is attached ───────────────────────────────────────────────────────────────────────┴─> ext4 mount
//! last unmount ─> the kernel detaches the loop ─> RELEASE of file N ─> `released`: device dropped, start learnt
//! ```
//! The kernel drives a device's life: whoever unmounts, and with which tool, the loop device goes with the last mount
//! (it was attached with autoclear), and the session hears of it. Each image has a slot with a lock of its own, held
//! while it is attached, so that of many mounts at once one attaches and the others share.

mod key_leases;

pub(crate) use key_leases::renew_keys;

use crate::error::WorkerError;
use crate::found::{FetchedAhead, FindImage, FoundImage};
use crate::handover::{DeviceState, device_name};
use crate::protocol::{MountRequest, Mounted, MountedImage, Selector};
use crate::report::{CacheStats, CacheTierStats, ImageStats, MountLine, PrefetchStats, TierStats, ZoneNodeStats};
use crate::settings::Settings;
use api::ImageAddress;
use block::kernel::{self, Device, DeviceNumber, DeviceTable, LoopDevice, MountEntry, MountOptions, loops_over};
use block::{ChunkCount, ImageDevice, ImageParts, Recorder, SharedParts};
use bytes::Bytes;
use cache::Tier;
use chunk::{ChunkId, Manifest, StartPack, Touch, Trace};
use key_leases::KeyLease;
use keys::KeyProvider;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store::Store;

/// Where chunks and keys come from, and what the kernel is served with.
#[derive(Debug)]
pub(crate) struct ImagesParts {
    pub(crate) store: Store,
    pub(crate) keys: KeyProvider,
    pub(crate) shared: SharedParts,
    pub(crate) table: DeviceTable,
    /// Keeps and forgets what a successor needs.
    pub(crate) keeper: Arc<block::keeper::Link>,
    /// Takes starts that are over.
    pub(crate) starts: SyncSender<StartOver>,
    pub(crate) settings: Settings,
    /// Reads the record of a name.
    pub(crate) find: FindImage,
    /// The private mount that holds a file for each device.
    pub(crate) devices: PathBuf,
}

/// Connections that are opened ahead of an image's first chunks: enough for a piece of metadata of 8 MiB at once.
const CONNECTIONS_AHEAD: usize = 16;

/// After this long some may have been closed for idleness. Shorter than what servers and clients allow: `hyper-util`
/// keeps idle connections for 90 s by default.
const CONNECTIONS_LIFE: Duration = Duration::from_secs(60);

/// A start that is over, to be learnt from.
#[derive(Debug)]
pub(crate) struct StartOver {
    pub(crate) state: Arc<DeviceState>,
    pub(crate) touches: Vec<Touch>,
}

/// What is fetched ahead when nothing is to be.
static NO_TRACE: Trace = Trace {
    starts: 0,
    runs: Vec::new(),
};

/// All attached images.
#[derive(Debug)]
pub(crate) struct Images {
    parts: ImagesParts,
    slots: Mutex<HashMap<ChunkId, Arc<Slot>>>,
    next_number: AtomicU64,
    /// When connections to the store were last opened ahead of need.
    connections_opened: Mutex<Option<Instant>>,
}

/// One image, attached or about to be.
type Slot = Mutex<Option<Attached>>;

#[derive(Clone, Debug)]
struct Attached {
    state: Arc<DeviceState>,
    device: Arc<ImageDevice>,
    /// The session's file.
    file: PathBuf,
    /// `None` until a loop device has been put over the file.
    loop_path: Option<PathBuf>,
    /// How long the key may be used.
    lease: KeyLease,
}

impl Images {
    pub(crate) fn new(parts: ImagesParts) -> Self {
        Self {
            parts,
            slots: Mutex::default(),
            next_number: AtomicU64::new(first_number()),
            connections_opened: Mutex::new(None),
        }
    }

    /// Mounts an image on a directory, attaching it if it is the first.
    pub(crate) fn mount(&self, request: &MountRequest) -> Result<Mounted, WorkerError> {
        if !request.target.is_dir() {
            let path = request.target.clone();
            return Err(WorkerError::NotADirectory { path });
        }
        let found = self.find(&request.image)?;
        let slot = self.slot(found.address.manifest);
        let mut slot = lock(&slot);
        let shared = slot.is_some();
        if slot.is_none() {
            *slot = Some(self.attach(found)?);
        }
        let attached = slot.as_mut().expect("it was attached above");
        if attached.device.is_closed() {
            return Err(key_leases::refused(&attached.state.address));
        }
        match self.mount_attached(attached, &request.target) {
            Ok(device) => Ok(Mounted {
                device,
                shared,
                image_bytes: attached.device.bytes(),
                start_pack: attached.device.pack().is_some(),
            }),
            Err(error) => {
                self.drop_unless_used(&mut slot);
                Err(error)
            }
        }
    }

    /// Unmounts; gives the directories.
    pub(crate) fn unmount(&self, selector: &Selector) -> Result<Vec<PathBuf>, WorkerError> {
        let targets: Vec<PathBuf> = self
            .select(selector)?
            .into_iter()
            .flat_map(|(_, mounts)| mounts)
            .filter(|target| !matches!(selector, Selector::Directory(directory) if directory != target))
            .collect();
        if targets.is_empty() {
            return Err(not_mounted(selector));
        }
        targets.iter().try_for_each(|target| kernel::unmount(target))?;
        Ok(targets)
    }

    /// All mounts of all images.
    pub(crate) fn mounts(&self) -> Result<Vec<MountLine>, WorkerError> {
        let mut lines: Vec<MountLine> = Vec::new();
        for (attached, mounts) in self.attached_with_mounts()? {
            let stats = stats(&attached, Vec::new());
            lines.extend(mounts.into_iter().map(|directory| MountLine {
                directory,
                name: stats.name.clone(),
                device: attached.loop_path.clone().unwrap_or_default(),
                image_bytes: stats.image_bytes,
                fetched_bytes: stats.fetched_bytes,
            }));
        }
        lines.sort_by(|one, other| one.directory.cmp(&other.directory));
        Ok(lines)
    }

    /// What an image has read since it was attached.
    pub(crate) fn stats(&self, selector: &Selector) -> Result<ImageStats, WorkerError> {
        let found = self.select(selector)?.into_iter().next();
        let (attached, mounts) = found.ok_or_else(|| not_mounted(selector))?;
        Ok(ImageStats {
            cache: cache_stats(&self.parts.shared.cache.report()),
            ..stats(&attached, mounts)
        })
    }

    /// The program is ready: its record ends and is learnt from. Gives the bytes that it touched; 0 when the record
    /// had ended before.
    pub(crate) fn ready(&self, selector: &Selector) -> Result<u64, WorkerError> {
        let found = self.select(selector)?;
        if found.is_empty() {
            return Err(not_mounted(selector));
        }
        found.iter().map(|(attached, _)| self.end_start(attached)).sum()
    }

    /// Ends the records that have lasted too long.
    pub(crate) fn end_old_starts(&self) {
        for attached in self.attached() {
            let recorder = attached.device.recorder();
            let is_old = recorder.is_recording() && recorder.age() > self.parts.settings.recording.time;
            if is_old && let Err(error) = self.end_start(&attached) {
                tracing::warn!(image = attached.device.name(), "cannot end a start's record: {error}");
            }
        }
    }

    /// The kernel has closed a device's file.
    pub(crate) fn released(&self, number: DeviceNumber) {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            let mut slot = lock(&slot);
            if slot.as_ref().is_some_and(|attached| attached.state.number == number.0) {
                self.drop_unless_used(&mut slot);
            }
        }
        self.forget_empty_slots();
    }

    /// Takes over a device that a predecessor served.
    pub(crate) fn restore(&self, state: DeviceState) -> Result<(), WorkerError> {
        let slot = self.slot(state.address.manifest);
        // Its start was recorded by a process that is gone; half a record would spoil the trace.
        let wrapped = Manifest::decode(&state.manifest).map(|manifest| manifest.wrapped_key().to_vec());
        let wrapped = wrapped.map_err(|source| manifest_error(&state.address, source))?;
        // The predecessor may have died long ago: the key is asked for at once.
        let lease = KeyLease::due(wrapped);
        let attached = self.prepare(Arc::new(state), Recorder::stopped(), lease)?;
        *lock(&slot) = Some(attached);
        Ok(())
    }

    /// Drops restored devices that nobody has open any more, and finds the loops of the others.
    pub(crate) fn reconcile(&self) {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            let mut slot = lock(&slot);
            self.drop_unless_used(&mut slot);
            if let Some(attached) = slot.as_mut() {
                attached.loop_path = self.loop_over(&attached.file).unwrap_or_default();
            }
        }
        self.forget_empty_slots();
    }

    /// Whether nothing is attached.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.slots).is_empty()
    }

    /// A device for background reads of an image, with statistics and record of its own.
    pub(crate) fn background_device(&self, state: &DeviceState) -> Result<Arc<ImageDevice>, WorkerError> {
        Ok(ImageDevice::new(
            image_parts(state, Recorder::stopped())?,
            self.parts.shared.clone(),
        ))
    }

    /// Where images are stored.
    pub(crate) const fn store(&self) -> &Store {
        &self.parts.store
    }

    fn find(&self, image: &MountedImage) -> Result<FoundImage, WorkerError> {
        match image {
            MountedImage::Found(address) => Ok(FoundImage {
                address: address.clone(),
                metadata: Vec::new(),
            }),
            MountedImage::Named { account, name } => {
                let account = account.parse().map_err(|source| WorkerError::Find(Box::new(source)))?;
                (self.parts.find.0)(&account, name).map_err(WorkerError::Find)
            }
        }
    }

    fn attach(&self, found: FoundImage) -> Result<Attached, WorkerError> {
        let (store, settings) = (&self.parts.store, &self.parts.settings);
        let address = &found.address;
        let (generation, manifest) = (address.generation, address.manifest);
        self.open_connections();
        let ahead = FetchedAhead::begin(found.metadata, &self.parts.shared.cache, &self.parts.shared.runtime);
        // One round trip for all four.
        let (stored, rewrapped, trace, pack) = self.parts.shared.runtime.block_on(async {
            tokio::join!(
                store.get_manifest(generation, manifest),
                store.get_wrapped_key(manifest),
                store.get_trace(generation, manifest),
                store.get_start_pack(generation, manifest)
            )
        });
        let stored = stored?;
        let decoded = Manifest::decode(&stored).map_err(|source| manifest_error(address, source))?;
        let (rewrapped, own) = (rewrapped?, decoded.wrapped_key());
        let unwrap = self
            .parts
            .keys
            .unwrap_newest(&address.account, rewrapped.as_deref(), own);
        let key = self.parts.shared.runtime.block_on(unwrap)?;
        let lease = KeyLease::fresh(rewrapped.as_deref().unwrap_or(own).to_vec(), settings.key_life);
        let state = DeviceState {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            address: address.clone(),
            key,
            manifest: stored.into(),
            trace: optional(address, "trace", trace),
            pack: if settings.start_pack {
                optional(address, "start pack", pack)
            } else {
                Vec::new()
            },
        };
        let blocks = decoded.device_bytes() / chunk::BLOCK_BYTES as u64;
        let recorder = Recorder::start(blocks, settings.recording);
        let attached = self.prepare(Arc::new(state), recorder, lease)?;
        ahead.count_for(Arc::clone(&attached.device), &self.parts.shared.runtime);
        let trace = Trace::open(&attached.state.trace, &attached.state.key, manifest).unwrap_or_default();
        attached
            .device
            .prefetch_start(if settings.trace_prefetch { &trace } else { &NO_TRACE });
        Ok(attached)
    }

    /// Has connections opened for the chunks that will be wanted as soon as the manifest is here, unless that was done
    /// a moment ago.
    pub(crate) fn open_connections(&self) {
        let mut opened = lock(&self.connections_opened);
        if opened.is_none_or(|opened| opened.elapsed() >= CONNECTIONS_LIFE) {
            *opened = Some(Instant::now());
            let store = self.parts.store.clone();
            self.parts
                .shared
                .runtime
                .spawn(async move { store.open_connections(CONNECTIONS_AHEAD).await });
        }
    }

    /// Makes a device servable, and lets the keeper know it.
    fn prepare(&self, state: Arc<DeviceState>, recorder: Recorder, lease: KeyLease) -> Result<Attached, WorkerError> {
        let device = match key_leases::closed_device(&state, &self.parts.shared)? {
            Some(closed) => closed,
            None => ImageDevice::new(image_parts(&state, recorder)?, self.parts.shared.clone()),
        };
        self.keep(&state);
        self.parts.table.insert(DeviceNumber(state.number), device.clone());
        Ok(Attached {
            file: self.parts.devices.join(state.number.to_string()),
            state,
            device,
            loop_path: None,
            lease,
        })
    }

    /// Leaves what serving a device takes with the keeper, in place of what it held before.
    fn keep(&self, state: &DeviceState) {
        let kept = state.keep().and_then(|memory| {
            use std::os::fd::AsFd;
            let name = device_name(state.number);
            self.parts.keeper.store(&name, memory.as_fd()).map_err(io::Error::other)
        });
        if let Err(error) = kept {
            // It is served all the same; only a crash of this daemon would now be seen.
            tracing::warn!(image = %state.address.name, "the keeper does not keep this device: {error}");
        }
    }

    fn mount_attached(&self, attached: &mut Attached, target: &Path) -> Result<PathBuf, WorkerError> {
        // Held until the mount is there: with its last descriptor the loop would detach.
        let (loop_device, is_new) = self.loop_device(attached)?;
        let path = loop_device.path().to_owned();
        attached.loop_path = Some(path.clone());
        // A client whose daemon died may ask again for what is there.
        if loop_device.is_mounted_at(target)? {
            return Ok(path);
        }
        loop_device.mount_ext4(target, MountOptions::default())?;
        if is_new {
            warm(loop_device, attached.device.metadata_bytes());
        }
        Ok(path)
    }

    fn loop_device(&self, attached: &Attached) -> Result<(LoopDevice, bool), WorkerError> {
        if let Some(path) = &attached.loop_path
            && let Ok(loop_device) = LoopDevice::open(path)
            // Between the last unmount and the word of it, the loop may be free or another's.
            && loop_device.is_over(&attached.file).unwrap_or(false)
        {
            return Ok((loop_device, false));
        }
        let loop_device = LoopDevice::attach(&attached.file, self.parts.settings.read_ahead_start_kb)?;
        Ok((loop_device, true))
    }

    /// The loop device over a file of the session.
    fn loop_over(&self, file: &Path) -> io::Result<Option<PathBuf>> {
        let loops = loops_over(&self.parts.devices)?;
        Ok(loops
            .into_iter()
            .find(|attached| attached.file == file)
            .map(|found| found.path))
    }

    fn end_start(&self, attached: &Attached) -> Result<u64, WorkerError> {
        if let Some(path) = &attached.loop_path {
            LoopDevice::open(path)?.set_read_ahead(self.parts.settings.read_ahead_kb)?;
        }
        Ok(self.learn(attached))
    }

    /// Hands the record to whoever learns from it; gives its bytes.
    fn learn(&self, attached: &Attached) -> u64 {
        let Some(touches) = attached.device.finish_recording() else {
            return 0;
        };
        let bytes = touches.iter().map(|touch| touch.run.bytes()).sum();
        let state = Arc::clone(&attached.state);
        // A start that nobody has time to learn from is no loss.
        if bytes > 0 && self.parts.starts.try_send(StartOver { state, touches }).is_err() {
            tracing::warn!(
                image = attached.device.name(),
                "too many starts at once: this one is not recorded"
            );
        }
        bytes
    }

    fn is_used(&self, attached: &Attached) -> bool {
        match self.loop_over(&attached.file) {
            Ok(over) => over.is_some(),
            // To keep what nobody uses costs memory; to drop what somebody uses costs their reads.
            Err(error) => {
                tracing::warn!(
                    image = attached.device.name(),
                    "cannot tell whether a device is used: {error}"
                );
                true
            }
        }
    }

    fn drop_unless_used(&self, slot: &mut Option<Attached>) {
        if slot.as_ref().is_some_and(|attached| self.is_used(attached)) {
            return;
        }
        if let Some(attached) = slot.take() {
            self.learn(&attached);
            self.parts.table.remove(DeviceNumber(attached.state.number));
            if let Err(error) = self.parts.keeper.remove(&device_name(attached.state.number)) {
                tracing::warn!(
                    image = attached.device.name(),
                    "the keeper does not forget this device: {error}"
                );
            }
            let stats = stats(&attached, Vec::new());
            tracing::info!(image = %stats.name, fetched_bytes = stats.fetched_bytes, "detached");
        }
    }

    fn forget_empty_slots(&self) {
        // A slot that somebody else holds is about to be used.
        lock(&self.slots).retain(|_, slot| Arc::strong_count(slot) > 1 || lock(slot).is_some());
    }

    fn slot(&self, manifest: ChunkId) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(manifest).or_default())
    }

    fn attached(&self) -> Vec<Attached> {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        slots.iter().filter_map(|slot| lock(slot).clone()).collect()
    }

    fn attached_with_mounts(&self) -> Result<Vec<(Attached, Vec<PathBuf>)>, WorkerError> {
        let attached = self.attached();
        // Read once for all of them: the kernel writes the whole list for each reader.
        let all = kernel::mounts()?;
        let with_mounts = attached.into_iter().map(|attached| {
            let on_it = |mount: &&MountEntry| attached.loop_path.as_ref() == Some(&mount.source);
            let mounts = all.iter().filter(on_it).map(|mount| mount.target.clone()).collect();
            (attached, mounts)
        });
        Ok(with_mounts.collect())
    }

    fn select(&self, selector: &Selector) -> Result<Vec<(Attached, Vec<PathBuf>)>, WorkerError> {
        let mut found = self.attached_with_mounts()?;
        found.retain(|(attached, mounts)| match selector {
            Selector::Name(name) => attached.state.address.name == *name,
            Selector::Directory(directory) => mounts.contains(directory),
        });
        Ok(found)
    }
}

/// Reads the metadata into the block device's page cache, beside whoever mounts: a walk of a large tree would ask for
/// it in thousands of small reads.
fn warm(loop_device: LoopDevice, bytes: u64) {
    let read = move || {
        if let Err(error) = loop_device.warm(bytes) {
            tracing::warn!("metadata could not be read ahead: {error}");
        }
    };
    // Without a thread there is no read-ahead, and nothing else is lost.
    let _ = std::thread::Builder::new().name("warm".to_owned()).spawn(read);
}

fn image_parts(state: &DeviceState, recorder: Recorder) -> Result<ImageParts, WorkerError> {
    let address = &state.address;
    let failed = |source| manifest_error(address, source);
    let manifest = Manifest::decode(&state.manifest).map_err(failed)?;
    let (metadata_chunks, generation) = (manifest.metadata_chunks(), manifest.generation());
    let pack = StartPack::open(&state.pack, &state.key, address.manifest);
    if let Err(error) = &pack
        && !state.pack.is_empty()
    {
        tracing::warn!(image = %address.name, "start pack passed over: {error}");
    }
    Ok(ImageParts {
        name: address.name.clone(),
        manifest_id: address.manifest,
        manifest: manifest.unlock(&state.key).map_err(failed)?,
        metadata_chunks,
        generation,
        pack: pack.ok(),
        recorder,
    })
}

fn manifest_error(address: &ImageAddress, source: chunk::ManifestError) -> WorkerError {
    WorkerError::Manifest {
        name: address.name.clone(),
        source,
    }
}

/// A trace or a pack: a start goes on without.
fn optional(address: &ImageAddress, what: &str, found: Result<Option<Bytes>, store::StoreError>) -> Vec<u8> {
    found
        .unwrap_or_else(|error| {
            tracing::warn!(image = %address.name, "{what} passed over: {error}");
            None
        })
        .map_or_else(Vec::new, Into::into)
}

fn stats(attached: &Attached, mounts: Vec<PathBuf>) -> ImageStats {
    let report = attached.device.report();
    let state = &attached.state;
    let index_bytes = (state.manifest.len() + state.trace.len() + state.pack.len()) as u64;
    let tier = |count: ChunkCount| TierStats {
        chunks: count.chunks,
        bytes: count.bytes,
    };
    ImageStats {
        name: state.address.name.clone(),
        manifest: state.address.manifest.to_string(),
        image_bytes: report.device_bytes,
        fetched_bytes: report.origin.bytes + index_bytes,
        index_bytes,
        memory: tier(report.memory),
        disk: tier(report.disk),
        zone: tier(report.zone),
        origin: tier(report.origin),
        start_pack: tier(report.packed),
        prefetch: PrefetchStats {
            chunks: report.prefetch.chunks,
            used: report.prefetch.used,
            late: report.prefetch.late,
            wasted: report.prefetch.wasted,
            wasted_bytes: report.prefetch.wasted_bytes,
        },
        reads: report.reads,
        read_bytes: report.read_bytes,
        failed_reads: report.failed_reads,
        key: attached.lease.stats(attached.device.is_closed()),
        recording: attached.device.recorder().is_recording(),
        mounts,
        cache: CacheStats::default(),
    }
}

fn cache_stats(report: &cache::Report) -> CacheStats {
    let held = |tier| match tier {
        Tier::Memory => report.memory.bytes,
        Tier::Disk => report.disk.map_or(0, |disk| disk.held.bytes),
        Tier::Zone | Tier::Origin => 0,
    };
    let tiers = Tier::ALL.into_iter().map(|tier| {
        let found = report.tier(tier);
        CacheTierStats {
            tier: tier.to_string(),
            hits: found.hits,
            bytes: found.hit_bytes,
            misses: found.misses,
            corrupt: found.corrupt,
            errors: found.errors,
            mean_us: found.latency.mean_us,
            p50_us: found.latency.p50_us,
            p99_us: found.latency.p99_us,
            max_us: found.latency.max_us,
            held_bytes: held(tier),
        }
    });
    CacheStats {
        tiers: tiers.collect(),
        joined: report.joined,
        in_flight: report.origin.in_flight_requests,
        waiting_demands: report.origin.waiting_demands,
        waiting_prefetches: report.origin.waiting_prefetches,
        retries: report.origin.retries,
        writes_dropped: report.disk.map_or(0, |disk| disk.writes_dropped),
        zone_nodes: report
            .zone
            .iter()
            .flat_map(|zone| &zone.nodes)
            .map(zone_node_stats)
            .collect(),
        zone_writes_dropped: report.zone.as_ref().map_or(0, |zone| zone.writes_dropped),
    }
}

fn zone_node_stats(node: &cache::NodeReport) -> ZoneNodeStats {
    ZoneNodeStats {
        node: node.name.clone(),
        state: node.state.to_owned(),
        hits: node.hits,
        bytes: node.hit_bytes,
        misses: node.misses,
        rejected: node.rejected,
        failures: node.failures,
        skipped: node.skipped,
        writes: node.writes,
    }
}

fn not_mounted(selector: &Selector) -> WorkerError {
    let what = match selector {
        Selector::Directory(directory) => format!("on {}", directory.display()),
        Selector::Name(name) => format!("from an image `{name}`"),
    };
    WorkerError::NotMounted { what }
}

/// Numbers must not come again within a session, which may have seen predecessors of this process: milliseconds since
/// 1970 are ahead of all that they gave out.
fn first_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
