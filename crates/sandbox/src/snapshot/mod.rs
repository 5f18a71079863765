//! Snapshots: a process of one sandbox is written to a directory, and goes on in another sandbox.
//!
//! ```text
//! caller ── CriuRequest ──> spawner ──fork──> guide ──fork, into the sandbox's pid namespace──> criu
//!   └────────────────── one socket for each run of criu ─┘ waits, copies files, reports
//! ```
//! **What is in it.** One process that [`crate::Sandbox::spawn`] started, with its threads and children, as CRIU writes
//! them; the files of `/tmp` and `/dev/shm`; and a small record (see `record`). Nothing of the sandbox itself: not its
//! init, none of its namespaces and mounts. So a restore begins with an ordinary new sandbox of the same trees, with
//! its own range of ids, groups, network and limits, and CRIU only puts processes into it.
//!
//! **How CRIU gets that.** It runs inside all of the sandbox's namespaces, so that it finds nothing there to save or
//! make; only the namespace of users differs. To write, it keeps the host's, since the kernel shows system call filters
//! to nobody else, and the images then say that the processes were in another one: `inventory` strikes that out. To
//! restore, it enters the sandbox's own, so that all that it makes belongs to it; it has no right over the host then.
//! Its program and libraries are found through a descriptor, since the sandbox's root has none of them.
//!
//! **Connections.** A process waits for its caller on a connection to the listener inside, and the caller's end is no
//! part of the sandbox. [`Connection`] notes where that end was in the stream of bytes, and makes it again in the new
//! sandbox before the processes are there.
//!
//! **What is lost.** Landlock domains (the kernel gives no way to read them); sockets to anybody else are there, and
//! get an error when they are used. Processes beside the tree and System V memory are refused by name.
//!
//! **Whom to trust.** What is restored has the rights that the images say: restore only what nobody but this program
//! could have written.
//!
//! **How it ends.** criu is in the sandbox's pid namespace, and dies with it and with its guide. The guide is outside; it
//! gives up when its caller closes the socket, when the sandbox has ended, and after [`CRIU_WAIT`] (see `watch`). What it
//! writes has a limit: criu's images are no larger than the sandbox's memory, of files see `files`, and
//! [`DISK_SPARE_BYTES`] of the disk stay free.

mod connection;
mod criu;
mod files;
mod guide;
mod inventory;
mod record;
mod steps;
mod watch;

pub use connection::Connection;
pub use criu::Criu;
pub(crate) use guide::run as run_guide;
pub(crate) use record::Record;
pub use record::{Identity, processor_class};

use std::time::Duration;

/// Writing or reading memory takes about a millisecond for each MB; this allows 10 GiB from a slow disk.
pub(crate) const CRIU_WAIT: Duration = Duration::from_secs(120);
/// Bytes that a snapshot leaves free on its disk, which others write, too: some ticks of what two CRIUs write.
pub const DISK_SPARE_BYTES: u64 = 128 << 20;
/// Bytes of CRIU's images beside memory: some hundred KiB for each process.
pub(crate) const IMAGES_SPARE_BYTES: u64 = 64 << 20;
/// Processes of CRIU itself at one time, beside those that it restores; the sandbox's limit is raised by as many.
pub(crate) const CRIU_PROCESSES: u32 = 16;
/// CRIU and its helpers have ids from here on inside, so that those of the restored processes are free.
pub(crate) const CRIU_ID: i32 = 30_000;
