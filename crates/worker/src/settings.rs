//! What a user may tune.

use block::RecordingLimits;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a worker's daemon.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where socket, lock, log, disk cache and the private mount of the devices are.
    pub directory: PathBuf,
    /// Tiers and permits.
    pub cache: cache::Settings,
    /// Bytes of plaintext of the chunks that were opened last. Default 64 MiB.
    pub opened_bytes: u64,
    /// Threads that answer the kernel, and so the reads that can wait for the origin at once. Default 32.
    pub readers: usize,
    /// The kernel's read-ahead while a program starts, in KiB.
    pub read_ahead_start_kb: u32,
    /// The kernel's read-ahead for what is opened after that, in KiB.
    pub read_ahead_kb: u32,
    /// Whether a mount uses the image's start pack. Default yes.
    pub start_pack: bool,
    /// Whether a mount without a start pack fetches the chunks of the trace. Default yes.
    pub trace_prefetch: bool,
    /// When a recording ends by itself.
    pub recording: RecordingLimits,
    /// How long the daemon lives with nothing mounted. Default 10 s: a script that mounts again finds it warm.
    pub idle: Duration,
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nobody would answer the kernel.
    #[error("readers is 0: at least one thread must answer the kernel")]
    Readers,
}

impl Settings {
    /// Defaults, in a directory.
    #[must_use]
    pub fn new(directory: PathBuf, cache: cache::Settings) -> Self {
        Self {
            directory,
            cache,
            opened_bytes: block::OPENED_BYTES_DEFAULT,
            readers: 32,
            read_ahead_start_kb: 32,
            read_ahead_kb: 512,
            start_pack: true,
            trace_prefetch: true,
            recording: RecordingLimits::default(),
            idle: Duration::from_secs(10),
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.readers == 0 {
            return Err(SettingsError::Readers);
        }
        Ok(())
    }
}
