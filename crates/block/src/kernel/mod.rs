//! A device's bytes as a Linux block device, and the kernel's own ext4 on it.
//!
//! ```text
//! reader ──> ext4 (ro, noload) ──> page cache ──miss──> /dev/loopN ──direct I/O──> FUSE file ──> worker ──> Device::read
//! ```
//! A hit in the page cache never leaves the kernel. A miss becomes a FUSE request that one of the session's workers
//! answers. One session, mounted at a directory that only root enters, has one regular file per device, named by the
//! device's number; one loop device stands over each file, and every mount of that loop device shares one ext4
//! superblock and so one page cache.
//!
//! **Life.** The loop devices are `AUTOCLEAR`, so the kernel drives a device's end: the last ext4 unmount closes the
//! loop device, which closes the FUSE file, which arrives here as a RELEASE request and leaves as a message on
//! [`Session::released`]. Nothing here counts mounts; [`loops_over`] asks the kernel.
//!
//! **Survival.** The descriptor of `/dev/fuse` is the session. Whoever holds a copy may serve it, and as long as one
//! copy is open readers wait instead of failing: a successor takes the copy, calls [`Session::serve`] with
//! [`Start::Resumed`], and the kernel sends again whatever the predecessor had read and not answered. When the last
//! copy closes, the kernel aborts the session and every reader gets EIO; nobody ever gets a wrong byte. So that a
//! successor needs no memory of its predecessor, file handles and node ids are derived from the device's number.
//!
//! **Trap.** A thread that touches what its own process serves may wait inside the kernel for that process: mounting
//! and warming read, the last unmount waits for reads that others began, closing the last descriptor of a loop device
//! does both. Not even SIGKILL ends such a wait. Killed then, the process keeps its descriptors, the session's among
//! them, and nobody answers: with a keeper until a successor does, without one for ever. So whoever serves a session
//! leaves all of that to another process, [`crate::mounter`], and [`abort_connection`] ends what is caught all the same.
//!
//! Read first: [`Device`], [`Session`], [`LoopDevice`].

mod answer;
mod clean;
mod connections;
mod device;
mod error;
mod ioctl;
mod loops;
mod mounts;
mod session;
mod wire;

pub use clean::{CleanReport, clean_left_over};
pub use connections::{ConnectionNumber, abort_connection, connection_at};
pub use device::{Device, DeviceNumber, DeviceTable, ReadFailed};
pub use error::{CallFailed, KernelError, MountBusy, NoFreeLoop, NotALoopDevice, ProtocolUnknown};
pub use loops::{AttachedLoop, LoopDevice, loops_over, set_read_ahead};
pub use mounts::{MountEntry, MountOptions, mounts, mounts_of, unmount};
pub use session::{Session, Start, WORKERS_DEFAULT, unmount_session};
pub use wire::{Operation, ParseError, Request, parse_request};
