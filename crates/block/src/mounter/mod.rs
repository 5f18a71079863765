//! A process beside the one that serves, which touches the served devices in its place.
//!
//! ```text
//! server: holds /dev/fuse, answers reads           mounter: holds no session
//!   └── a socket for each task ───────────────────────> a thread: loop device, mount, read ahead, unmount
//! ```
//! Whoever mounts, unmounts, reads or closes a loop device may wait inside the kernel for bytes that only the session
//! gives, and not even SIGKILL ends that wait. In the process that holds the session it would keep the session open, so
//! that nobody answers and nobody gets an error. Here it ends: the server, killed, is gone at once; then either a
//! successor answers, or the last copy of the session's descriptor is closed, and the kernel answers with EIO.
//!
//! A mounter ends with its server. One at a time works: a successor's waits until its predecessor's last call has
//! returned, so that a mount that is asked for again finds the first one. What a task says is in `message`.
//!
//! Read first: [`Mounter`], [`serve`].

mod hand;
mod message;
mod tasks;

pub use hand::{Mounter, MounterError};
pub use message::{MountTask, Refusal, RefusalKind};
pub use tasks::serve;
