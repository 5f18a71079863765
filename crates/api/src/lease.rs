//! What a worker needs in order to run one version of a function.

use crate::{ImageAddress, as_text};
use chunk::Account;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// All that an environment is made from. Environments of one revision are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique among all leases ever given: another code or configuration, another text.
    pub revision: String,
    /// Which version of which function.
    pub function: FunctionIdentity,
    /// The root file system.
    pub root: ImageAddress,
    /// Directories of other images that stand in the root: a zip's code at /var/task, layers at /opt.
    pub overlays: Vec<Overlay>,
    /// Directories that the operator shares with functions.
    #[serde(default)]
    pub file_systems: Vec<SharedFileSystem>,
    /// What runs.
    pub program: Program,
    /// Memory limit, MB as Lambda counts them (2^20 bytes); processor time is in proportion (1,769 are one processor).
    pub memory_mb: u32,
    /// Size of /tmp, MB of 2^20 bytes, 512 to 10,240.
    pub tmp_mb: u32,
    /// Longest invocation, 1 to 900 s.
    pub timeout: Duration,
    /// Invocations that an environment takes at once; 1 of most functions. The runtime is told of more by
    /// AWS_LAMBDA_MAX_CONCURRENCY.
    #[serde(default = "one")]
    pub invocations_max: u32,
    /// Where standard output goes, and how.
    pub logging: Logging,
    /// Whether the environment may reach the network.
    pub network: Network,
    /// Why environments of this lease are started.
    pub initialization: Initialization,
    /// The device that holds the snapshot from which environments go on, in its directory [`SNAPSHOT_DIRECTORY`]. Without
    /// one, and where it cannot be restored, they initialise.
    #[serde(default)]
    pub snapshot: Option<ImageAddress>,
}

/// Where a snapshot's device has the snapshot: what [`crate::TakenSnapshot::directory`] holds, with its owners and modes.
pub const SNAPSHOT_DIRECTORY: &str = "snapshot";

/// What leases say that were written before there was a choice.
const fn one() -> u32 {
    1
}

/// One version of one function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionIdentity {
    /// Its owner.
    #[serde(with = "as_text")]
    pub account: Account,
    /// As in ARNs.
    pub region: String,
    /// The bare name.
    pub name: String,
    /// `$LATEST`, or a number.
    pub version: String,
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, without a qualifier.
    pub arn: String,
}

/// A directory of an image, shown at a path of the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Overlay {
    /// The image.
    pub image: ImageAddress,
    /// A directory in the image, relative, such as `task`.
    pub source: String,
    /// A directory that the root has, absolute, such as `/var/task`.
    pub target: String,
}

/// A directory that the operator shares with functions, seen at a path of the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SharedFileSystem {
    /// The ARN of its access point, by which the worker knows the directory.
    pub arn: String,
    /// Absolute, such as `/mnt/models`.
    pub target: String,
}

/// The runtime's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Program and arguments; a program without `/` is looked up in the environment's PATH, inside the root.
    pub arguments: Vec<String>,
    /// Absolute.
    pub working_directory: String,
    /// As an image's configuration says it: empty, `name`, `uid`, `name:group`, `uid:gid`.
    pub user: String,
    /// The value of `_HANDLER`; empty for images that name none.
    pub handler: String,
    /// Variables of the image, of the runtime and of the function, in the order in which they win: the last. What only
    /// the worker knows (AWS_LAMBDA_RUNTIME_API, the log stream's name) it adds.
    pub environment: Vec<(String, String)>,
    /// A name to put into AWS_EXECUTION_ENV, such as `python3.11`; none for images.
    pub runtime: Option<String>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Name of the log group.
    pub group: String,
    /// How the platform's lines are written.
    pub format: LogFormat,
    /// TRACE, DEBUG, INFO, WARN, ERROR or FATAL; for JSON alone.
    pub application_level: Option<String>,
    /// DEBUG, INFO or WARN; for JSON alone.
    pub system_level: Option<String>,
}

/// How the platform's lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// START, END, REPORT.
    Text,
    /// An object on each line.
    Json,
}

/// Whether an environment may reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback and nothing else.
    Off,
    /// Connections that it opens leave through the machine, by address translation.
    Outbound,
}

/// Value of AWS_LAMBDA_INITIALIZATION_TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Initialization {
    /// `on-demand`: somebody waits.
    OnDemand,
    /// `provisioned-concurrency`: started ahead.
    Provisioned,
    /// `snap-start`: the version has SnapStart. Its runtime asks `restore/next` after the initialisation, whether it is
    /// written to a snapshot then, or goes on at once because there is none: so the function's hooks run either way.
    SnapStart,
}
