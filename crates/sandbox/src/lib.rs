//! One isolated environment: start, freeze, stop, snapshot, restore.
//!
//! A root file system, limits and a name go in; a listener inside, and processes with their output and exit status,
//! come out. What it never does: it knows no chunk, no HTTP and no function, and it has no thread and no async code.
//! Every call blocks; give it a thread that may wait.
//!
//! ```text
//! caller ──socket──> spawner ──fork──> builder ──clone3──> init (pid 1 inside) ──fork──> processes
//!   └─────────────────────────────one socket for each sandbox──────┘
//! ```
//! **Spawner.** The caller's program again, single-threaded, so that it may fork at any time. It owns nothing but the
//! duty to end everything: when the caller dies, however it dies, the socket closes, and the spawner kills every
//! sandbox and removes every control group. When the spawner is killed, the parent-death signal ends every init, and
//! with an init the kernel ends all of its pid namespace.
//!
//! **Builder.** One short-lived child for each new sandbox, with the host's root rights: writes the id maps, makes
//! the mounts that need the host, hands them to init and exits. So twenty sandboxes are made at the same time.
//!
//! **Init.** Builds the rest from inside with rights over its own namespaces only, gives nearly all of them up, and
//! then starts processes on request, reports how they end, and reaps orphans.
//!
//! **Network.** Loopback of its own, and, where the spec says so, a way out that leads to nothing of this machine (see
//! `outbound`). The caller can connect to what listens inside ([`Dialer`]).
//!
//! Files of `/tmp` and `/dev/shm` live in memory, and that memory counts towards the sandbox's memory limit.
//!
//! Read first: [`Spawner`], [`SandboxSpec`], [`Sandbox`].

mod cgroup;
mod dialer;
mod error;
mod inside;
mod kernel;
mod netlink;
mod outbound;
mod sandbox;
mod seccomp;
mod snapshot;
mod socket;
mod spawner;
mod spec;
mod status;
mod wire;

pub use cgroup::control_groups;
pub use dialer::Dialer;
pub use error::SandboxError;
pub use sandbox::{Process, Sandbox};
pub use snapshot::{Connection, Criu, DISK_SPARE_BYTES, Identity, processor_class};
pub use spawner::{Spawner, run_spawner};
pub use spec::{ProcessSpec, SandboxNetwork, SandboxSpec, SharedAccess, SharedDirectory, SpawnerSettings, Usage};
pub use status::{EXIT_STATUS_BYTES, ExitStatus};

/// The port on 127.0.0.1 inside that [`Sandbox::take_listener`] listens on. Lambda's own: its functions see
/// `AWS_LAMBDA_RUNTIME_API=169.254.100.1:9001`.
pub const LISTENER_PORT: u16 = 9001;
