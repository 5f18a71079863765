//! What a start touches, as it happens.
//!
//! The kernel's reads are what can be seen: its read-ahead is in them, and pages that were in its cache are not. So a
//! record is as fine as the device's read-ahead, and only the first start after an attach, which finds the kernel's
//! cache empty, says anything.

use chunk::{BLOCK_BYTES, Run, Touch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a record ends by itself, if nobody says that the program is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingLimits {
    /// Time after the attach. Default 2 minutes: a model that takes longer has its first minutes recorded.
    pub time: Duration,
    /// Bytes touched. Default 1 GiB: beyond it a start reads everything, and needs no list.
    pub bytes: u64,
}

impl Default for RecordingLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(120),
            bytes: 1 << 30,
        }
    }
}

/// Notes each block that is read for the first time, until it is told to stop or meets a limit.
#[derive(Debug)]
pub struct Recorder {
    /// Read before the lock is taken, so that a device that no longer records pays one load for each read.
    recording: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    began: Instant,
    limits: RecordingLimits,
    /// A bit for each block of the device.
    seen: Vec<u64>,
    blocks: u64,
    touches: Vec<Touch>,
}

impl Recorder {
    /// Begins to record a device of this many blocks.
    #[must_use]
    pub fn start(device_blocks: u64, limits: RecordingLimits) -> Self {
        let record = Record {
            began: Instant::now(),
            limits,
            seen: vec![0; device_blocks.div_ceil(64) as usize],
            blocks: 0,
            touches: Vec::new(),
        };
        Self {
            recording: AtomicBool::new(true),
            record: Mutex::new(record),
        }
    }

    /// Records nothing, as for a device whose start is over.
    #[must_use]
    pub fn stopped() -> Self {
        let recorder = Self::start(0, RecordingLimits::default());
        recorder.recording.store(false, Ordering::Relaxed);
        recorder
    }

    /// Notes a read.
    pub fn touch(&self, offset: u64, bytes: usize) {
        if self.recording.load(Ordering::Relaxed) && bytes > 0 {
            let goes_on = self.record().touch(offset, bytes);
            if !goes_on {
                self.recording.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Ends the record and gives it; `None` when it was given before.
    pub fn finish(&self) -> Option<Vec<Touch>> {
        self.recording.store(false, Ordering::Relaxed);
        let mut record = self.record();
        // Without its bits a record has been given away.
        let seen = std::mem::take(&mut record.seen);
        (!seen.is_empty()).then(|| std::mem::take(&mut record.touches))
    }

    /// Whether reads are still noted.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    /// Time since the record began.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.record().began.elapsed()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// `false` when a limit is met.
    fn touch(&mut self, offset: u64, bytes: usize) -> bool {
        let age = self.began.elapsed();
        if age > self.limits.time || self.blocks * BLOCK_BYTES as u64 > self.limits.bytes {
            return false;
        }
        let at_ms = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
        let first = offset / BLOCK_BYTES as u64;
        let last = (offset + bytes as u64 - 1) / BLOCK_BYTES as u64;
        for block in first..=last {
            self.touch_block(block, at_ms);
        }
        true
    }

    fn touch_block(&mut self, block: u64, at_ms: u32) {
        // Beyond the device there is nothing, and beyond 16 TiB no number.
        let (Some(bits), Ok(number)) = (self.seen.get_mut((block / 64) as usize), u32::try_from(block)) else {
            return;
        };
        let bit = 1 << (block % 64);
        if *bits & bit != 0 {
            return;
        }
        *bits |= bit;
        self.blocks += 1;
        match self.touches.last_mut() {
            Some(Touch { run, .. }) if run.block + u32::from(run.blocks) == number && run.blocks < u16::MAX => {
                run.blocks += 1;
            }
            _ => self.touches.push(Touch {
                run: Run {
                    block: number,
                    blocks: 1,
                },
                at_ms,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: u64 = BLOCK_BYTES as u64;

    fn runs(touches: &[Touch]) -> Vec<(u32, u16)> {
        touches
            .iter()
            .map(|touch| (touch.run.block, touch.run.blocks))
            .collect()
    }

    #[test]
    fn blocks_are_noted_once_and_in_order() {
        let recorder = Recorder::start(1000, RecordingLimits::default());
        for (offset, bytes) in [
            (10 * B, 8192),
            (11 * B + 1, 1),
            (0, 1),
            (12 * B, 4096),
            (9 * B + 4095, 2),
            (2000 * B, 1),
        ] {
            recorder.touch(offset, bytes);
        }
        let touches = recorder.finish().unwrap();
        assert_eq!(runs(&touches), [(10, 2), (0, 1), (12, 1), (9, 1)]);
        assert_eq!(recorder.finish(), None);
        recorder.touch(50 * B, 1);
        assert!(!recorder.is_recording());
    }

    #[test]
    fn limits_end_a_record_and_keep_what_it_has() {
        let of_bytes = RecordingLimits {
            bytes: 2 * B,
            ..RecordingLimits::default()
        };
        let of_time = RecordingLimits {
            time: Duration::ZERO,
            ..RecordingLimits::default()
        };
        for (limits, expected) in [(of_bytes, vec![(0, 3)]), (of_time, vec![])] {
            let recorder = Recorder::start(1000, limits);
            (0..10).for_each(|block| recorder.touch(block * B, 1));
            assert!(!recorder.is_recording());
            assert_eq!(runs(&recorder.finish().unwrap()), expected);
        }
    }
}
