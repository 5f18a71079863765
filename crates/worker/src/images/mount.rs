//! A device over its loop device, mounted; and whether anybody still has it.

use super::{Attached, Images};
use crate::error::WorkerError;
use block::kernel::loops_over;
use block::mounter::{MountTask, MounterError, RefusalKind};
use std::io;
use std::path::{Path, PathBuf};

impl Images {
    pub(super) fn mount_attached(&self, attached: &mut Attached, target: &Path) -> Result<PathBuf, WorkerError> {
        let mounted = self.parts.mounter.mount(MountTask {
            file: attached.file.clone(),
            loop_device: attached.loop_path.clone(),
            target: target.to_owned(),
            read_ahead_kb: self.parts.settings.read_ahead_start_kb,
            warm_bytes: attached.device.metadata_bytes(),
        });
        let loop_device = mounted.map_err(|error| match error {
            MounterError::Refused(refusal) if refusal.kind == RefusalKind::NotADirectory => {
                let path = target.to_owned();
                WorkerError::NotADirectory { path }
            }
            other => other.into(),
        })?;
        attached.loop_path = Some(loop_device.clone());
        Ok(loop_device)
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
