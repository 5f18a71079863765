//! A device over its loop device, mounted; and whether anybody still has it.

use super::{Attached, Images};
use crate::error::WorkerError;
use block::kernel::{LoopDevice, MountOptions, loops_over};
use std::io;
use std::path::{Path, PathBuf};

impl Images {
    pub(super) fn mount_attached(&self, attached: &mut Attached, target: &Path) -> Result<PathBuf, WorkerError> {
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
    pub(super) fn loop_over(&self, file: &Path) -> io::Result<Option<PathBuf>> {
        let loops = loops_over(&self.parts.devices)?;
        Ok(loops
            .into_iter()
            .find(|attached| attached.file == file)
            .map(|found| found.path))
    }

    pub(super) fn is_used(&self, attached: &Attached) -> bool {
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
