//! What an operator may tune.

use sandbox::SharedAccess;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the function side of a worker.
#[derive(Clone, Debug)]
pub struct FunctionSettings {
    /// How long an environment lives without an invocation. Default 10 minutes.
    pub idle: Duration,
    /// How many environments there may be. Default 2,000.
    pub environments_max: usize,
    /// Sum of the memory limits of all environments, MB. Default: none is refused for memory; `lambent up` sets it.
    pub memory_mb_max: u64,
    /// Longest init phase before Lambda's rule applies: once more, under the function's timeout. Default 10 s.
    pub init: Duration,
    /// How long an environment still runs after an invocation before it is frozen. Default 5 ms.
    ///
    /// A next invocation that meets the freezing waits for it. `benches/invoke.rs` measures that: with 0 or 1 ms, one
    /// in a hundred invocations of a caller that asks again at once took 14 to 16 ms, with 5 ms it took 2.4, and longer
    /// times gained nothing; freezing and thawing themselves were lost in the noise (two cores, others at work).
    pub linger: Duration,
    /// How long an image stays mounted when no environment uses it. Default 5 minutes.
    pub mount_idle: Duration,
    /// Directories that functions share, by the ARN of the access point that functions name. Default: none.
    pub file_systems: BTreeMap<String, FileSystem>,
    /// Trees that may hold a CRIU for snapshots, best first; see [`sandbox::Criu::open`]. Default: none, and no snapshots.
    pub criu: Vec<PathBuf>,
}

/// A directory of this machine that functions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Absolute.
    pub directory: PathBuf,
    /// Whether functions may change what lies in it.
    pub access: SharedAccess,
}

impl Default for FunctionSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            environments_max: 2000,
            memory_mb_max: u64::MAX,
            init: Duration::from_secs(10),
            linger: Duration::from_millis(5),
            mount_idle: Duration::from_secs(300),
            file_systems: BTreeMap::new(),
            criu: Vec::new(),
        }
    }
}
