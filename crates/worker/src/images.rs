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
//! What could wait for this very process, `block::mounter` does in another one.

mod attach;
mod key_leases;
mod mount;
mod starts;
mod stats;

pub(crate) use key_leases::renew_keys;
pub(crate) use starts::StartOver;

use crate::error::WorkerError;
use crate::found::FindImage;
use crate::handover::{DeviceState, device_name};
use crate::protocol::{MountRequest, Mounted, Selector};
use crate::settings::Settings;
use attach::manifest_error;
use block::kernel::{self, Device, DeviceNumber, DeviceTable, MountEntry};
use block::mounter::Mounter;
use block::{ImageDevice, Recorder, SharedParts};
use chunk::{ChunkId, Manifest};
use key_leases::KeyLease;
use keys::KeyProvider;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
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
    /// Touches what this process serves, in its place.
    pub(crate) mounter: Arc<Mounter>,
    /// Takes starts that are over.
    pub(crate) starts: SyncSender<StartOver>,
    pub(crate) settings: Settings,
    /// Reads the record of a name.
    pub(crate) find: FindImage,
    /// The private mount that holds a file for each device.
    pub(crate) devices: PathBuf,
}

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
        let mounted = self.mount_shared(request);
        if mounted.is_err() {
            // An image that was not attached, or is no longer, keeps no daemon alive.
            self.forget_empty_slots();
        }
        mounted
    }

    fn mount_shared(&self, request: &MountRequest) -> Result<Mounted, WorkerError> {
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
        let mounter = &self.parts.mounter;
        targets.iter().try_for_each(|target| mounter.unmount(target))?;
        Ok(targets)
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

    /// Where images are stored.
    pub(crate) const fn store(&self) -> &Store {
        &self.parts.store
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
            let stats = stats::stats(&attached, Vec::new());
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
