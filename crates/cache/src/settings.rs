//! What a user may tune.

use chunk::CHUNK_BYTES;
use std::path::PathBuf;
use std::time::Duration;

/// Limits and times of a cache. [`Settings::default`] suits one worker with one store; the disk is off until somebody
/// says where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Memory for sealed chunks. Default 256 MiB: what importing scikit-learn and onnxruntime touches (431-508 chunks,
    /// measured). 0 keeps nothing in memory.
    pub memory_bytes: u64,
    /// The disk tier; `None` leaves it out, which is the default.
    pub disk: Option<DiskSettings>,
    /// The file that names the memcached servers of the zone, see `zone::fleet`; read again while the cache is open.
    /// `None` leaves the tier out, which is the default.
    pub zone_fleet: Option<PathBuf>,
    /// Chunks on their way from the origin at once. Default 32: at 20 ms an answer this is 1,600 chunks a second, more
    /// than a 5 Gbit/s line carries. Prefetches use three quarters at most, so that a demand finds a free permit.
    pub origin_requests: usize,
    /// Bytes on their way from the origin at once. Default 32 MiB: twice what 32 whole chunks need, so that today the
    /// requests are the bound, and origins of larger answers have one too.
    pub origin_bytes: u64,
    /// After this long a demand fails, whatever it waits for; a prefetch is given as long once it has its permit.
    /// Default 30 s: longer than a store's restart, shorter than the time after which people kill a container.
    pub fetch_budget: Duration,
    /// After this long one question to the origin is given up and asked again. Default 15 s: longer than
    /// [`store::Settings::retry_budget`], so that a store's own retries end first and are not multiplied, and enough
    /// for 32 whole chunks at 10 Mbit/s.
    pub attempt_timeout: Duration,
    /// Of 100 questions to a remote origin, how many may be asked a second time because their answer is late; 0 is none.
    /// Default 5: what the slowest one in twenty costs in bytes and requests. Only where late is later than 95 of the
    /// last 100 answers.
    pub hedge_percent: u32,
    /// No answer is late before this. Default 20 ms: S3 answers in 10 to 30 ms, and what is nearer is late only because
    /// a machine is busy, which a second question makes worse.
    pub hedge_after: Duration,
}

/// Where the disk tier lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// A directory for this cache alone; made, mode 0700, when it is not there.
    pub directory: PathBuf,
    /// Most bytes of chunks, in slots of 512 KiB. [`DiskSettings::BYTES_DEFAULT`] is 8 GiB: 16,384 chunks, some four
    /// whole images of the size that was measured (3,775 chunks).
    pub bytes: u64,
}

impl DiskSettings {
    /// The default of `bytes`.
    pub const BYTES_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;

    /// A disk tier of the default size.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            bytes: Self::BYTES_DEFAULT,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            disk: None,
            zone_fleet: None,
            origin_requests: 32,
            origin_bytes: 32 * 1024 * 1024,
            fetch_budget: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(15),
            hedge_percent: 5,
            hedge_after: Duration::from_millis(20),
        }
    }
}

/// A setting with which some chunk could never be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No room for a demand beside a prefetch.
    #[error("origin_requests is {requests}: at least 2 are needed, one for prefetch and one for demand")]
    OriginRequests {
        /// The setting's value.
        requests: usize,
    },
    /// No room for a demand beside a prefetch.
    #[error("origin_bytes is {bytes}: at least two chunks of {CHUNK_BYTES} bytes must fit")]
    OriginBytes {
        /// The setting's value.
        bytes: u64,
    },
    /// Not one slot, or more slots than have numbers.
    #[error("the disk tier has {bytes} bytes: it takes from one chunk of {CHUNK_BYTES} bytes to 1 PiB")]
    DiskBytes {
        /// The setting's value.
        bytes: u64,
    },
    /// More second questions than first ones.
    #[error("hedge_percent is {percent}: of 100 questions at most 100 can be asked a second time")]
    HedgePercent {
        /// The setting's value.
        percent: u32,
    },
    /// No time at all.
    #[error("{setting} is 0: no fetch could ever end well")]
    NoTime {
        /// The setting's name.
        setting: &'static str,
    },
}

/// Slots are numbered with 32 bits; this many are 1 PiB.
const DISK_SLOTS_MAX: u64 = 1 << 31;

impl Settings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let chunk = CHUNK_BYTES as u64;
        if self.origin_requests < 2 {
            let requests = self.origin_requests;
            return Err(SettingsError::OriginRequests { requests });
        }
        if self.origin_bytes < 2 * chunk {
            let bytes = self.origin_bytes;
            return Err(SettingsError::OriginBytes { bytes });
        }
        if let Some(DiskSettings { bytes, .. }) = self.disk
            && !(1..=DISK_SLOTS_MAX).contains(&(bytes / chunk))
        {
            return Err(SettingsError::DiskBytes { bytes });
        }
        if self.hedge_percent > 100 {
            let percent = self.hedge_percent;
            return Err(SettingsError::HedgePercent { percent });
        }
        let times = [
            ("fetch_budget", self.fetch_budget),
            ("attempt_timeout", self.attempt_timeout),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((setting, _)) => Err(SettingsError::NoTime { setting }),
            None => Ok(()),
        }
    }
}
