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
    /// How long unwrapped keys are used without asking for them again.
    pub key_life: KeyLife,
    /// How long the daemon lives with nothing mounted. Default 10 s: a script that mounts again finds it warm.
    pub idle: Duration,
}

/// How long a worker uses an unwrapped data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLife {
    /// The key's provider is asked again after this long, and a key that it refuses then is wiped. So this is how long a
    /// revoked account's images stay readable where they are mounted, beside the time of one question. Default 60 s.
    ///
    /// It costs one question for each account's wrapping key and each worker: with AWS KMS some 1,440 a day, at 0.03
    /// USD for 10,000.
    pub life: Duration,
    /// How long a key is used while its provider is away: it does not answer, or does not know who asks. Default 15
    /// minutes: a guess at a short outage, and a bound on what stopping its answers can gain.
    pub grace: Duration,
}

impl Default for KeyLife {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(60),
            grace: Duration::from_secs(15 * 60),
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nobody would answer the kernel.
    #[error("readers is 0: at least one thread must answer the kernel")]
    Readers,
    /// The provider would be asked without a pause.
    #[error("key_life_seconds is 0: at least one second must pass between two questions for a key")]
    KeyLife,
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
            key_life: KeyLife::default(),
            idle: Duration::from_secs(10),
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.readers == 0 {
            return Err(SettingsError::Readers);
        }
        if self.key_life.life < Duration::from_secs(1) {
            return Err(SettingsError::KeyLife);
        }
        Ok(())
    }
}
