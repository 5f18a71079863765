//! From a name to a device that the kernel can be shown.
//!
//! One round trip brings manifest, newer key, trace and start pack, behind the metadata's first chunks; then the key is
//! unwrapped, and the device is made, told to the keeper, and set to fetch what a start will want.

use super::key_leases::{self, KeyLease};
use super::{Attached, Images, lock};
use crate::error::WorkerError;
use crate::found::{FetchedAhead, FoundImage};
use crate::handover::{DeviceState, device_name};
use crate::protocol::MountedImage;
use api::ImageAddress;
use block::kernel::DeviceNumber;
use block::{ImageDevice, ImageParts, Recorder};
use bytes::Bytes;
use chunk::{Manifest, StartPack, Trace};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connections that are opened ahead of an image's first chunks: enough for a piece of metadata of 8 MiB at once.
const CONNECTIONS_AHEAD: usize = 16;

/// After this long some may have been closed for idleness. Shorter than what servers and clients allow: `hyper-util`
/// keeps idle connections for 90 s by default.
const CONNECTIONS_LIFE: Duration = Duration::from_secs(60);

/// What is fetched ahead when nothing is to be.
static NO_TRACE: Trace = Trace {
    starts: 0,
    runs: Vec::new(),
};

impl Images {
    /// A device for background reads of an image, with statistics and record of its own.
    pub(crate) fn background_device(&self, state: &DeviceState) -> Result<Arc<ImageDevice>, WorkerError> {
        Ok(ImageDevice::new(
            image_parts(state, Recorder::stopped())?,
            self.parts.shared.clone(),
        ))
    }

    pub(super) fn find(&self, image: &MountedImage) -> Result<FoundImage, WorkerError> {
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

    pub(super) fn attach(&self, found: FoundImage) -> Result<Attached, WorkerError> {
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
    pub(super) fn prepare(
        &self,
        state: Arc<DeviceState>,
        recorder: Recorder,
        lease: KeyLease,
    ) -> Result<Attached, WorkerError> {
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
    pub(super) fn keep(&self, state: &DeviceState) {
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

pub(super) fn manifest_error(address: &ImageAddress, source: chunk::ManifestError) -> WorkerError {
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
