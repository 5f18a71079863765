//! The record of a start: when it ends, and who learns from it.

use super::{Attached, Images, not_mounted};
use crate::error::WorkerError;
use crate::handover::DeviceState;
use crate::protocol::Selector;
use chunk::Touch;
use std::sync::Arc;

/// A start that is over, to be learnt from.
#[derive(Debug)]
pub(crate) struct StartOver {
    pub(crate) state: Arc<DeviceState>,
    pub(crate) touches: Vec<Touch>,
}

impl Images {
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

    fn end_start(&self, attached: &Attached) -> Result<u64, WorkerError> {
        if let Some(path) = &attached.loop_path {
            self.parts
                .mounter
                .set_read_ahead(path, self.parts.settings.read_ahead_kb)?;
        }
        Ok(self.learn(attached))
    }

    /// Hands the record to whoever learns from it; gives its bytes.
    pub(super) fn learn(&self, attached: &Attached) -> u64 {
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
}
