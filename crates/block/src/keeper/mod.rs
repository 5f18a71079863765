//! A small process that holds descriptors for its child, so that the child may crash or be replaced.
//!
//! ```text
//! keeper ── starts ──> child: serves, and stores the descriptors that must outlive it (the FUSE session)
//!    │                   │
//!    │<── dies (crash, kill -9, upgrade: any exit but 0) ──┘
//!    └── starts the same path again, hands over all descriptors ──> child, the next one: resumes
//! ```
//! The keeper knows nothing about what it holds. It is one thread without a runtime that waits in one poll, since
//! whatever it did more could make it die, and then nobody holds anything.
//!
//! It never lets readers hang: a child that dies too often or is not ready in time makes the keeper give up, and
//! giving up closes every descriptor, with which the kernel aborts the session, so that its readers get EIO. The
//! caller then cleans up (`kernel::clean_left_over`), which also frees a child that is caught in the kernel.
//!
//! The child's end of the socket is its standard input: inherited without an agreement about a number, and without
//! unsafe code to take it. It must not start processes before [`Link::from_stdin`] has replaced it.
//!
//! Read first: [`run`], [`Link`].

mod deaths;
mod link;
mod message;
mod supervise;

pub use link::{Link, LinkError};
pub use message::{DESCRIPTORS_MAX, MessageError, NAME_BYTES_MAX};
pub use supervise::{GaveUp, KeeperError, KeeperSettings, run};
