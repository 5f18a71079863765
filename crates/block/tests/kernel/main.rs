//! The kernel path against the real kernel: FUSE, loop devices, ext4. Needs root, `/dev/fuse` and `mke2fs`.
//!
//! Tests that need a second process start this program again in one of its roles (see `roles`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caught;
mod conformance;
mod life;
mod mounter;
mod rig;
mod roles;
mod survival;
