//! A manifest as a read-only Linux block device, and a mount of it.
//!
//! [`ImageDevice`] answers reads of a manifest's device from chunks: from the worker's memory, its disk or the origin,
//! by way of `cache`, and from the image's start pack. `kernel` puts it before the kernel: a FUSE file, a loop device
//! over it, the kernel's own ext4. `keeper` is the small process that holds the FUSE session's descriptor, so that the
//! daemon may die and be replaced while readers wait. `mounter` is the one that mounts and unmounts in its place, so that
//! it can always die.
//!
//! It knows offsets and manifests, and no image, name or function beyond what a log line says. It never returns a byte
//! that the manifest did not name: what cannot be read is an error. `unsafe` is in one module, `kernel::ioctl`.
//!
//! Read first: [`ImageDevice`], [`kernel::Session`], [`kernel::LoopDevice`].

mod image_device;
pub mod keeper;
pub mod kernel;
mod marks;
pub mod mounter;
mod opened;
mod recorder;
mod statistics;
mod streams;
mod windows;

pub use image_device::{ImageDevice, ImageParts, SharedParts};
pub use opened::{OPENED_BYTES_DEFAULT, OpenedChunks};
pub use recorder::{Recorder, RecordingLimits};
pub use statistics::{ChunkCount, DeviceReport, PrefetchCounts};
