//! An OCI image made into one deterministic ext4 file system, and pushed as chunks.
//!
//! The only crate that knows OCI and file systems. Same layers in, same bytes out, on any machine and with any number
//! of threads: no clock, no randomness, no order that depends on timing.
//!
//! What it never does: extract anything to a directory, run anything, or trust a byte of an image before its digest.
//!
//! Read first: [`images::Images`] and its [`push`], [`tree::TreeBuilder`], [`ext4::lay_out`].

pub mod device;
mod early_seal;
pub mod ext4;
pub mod file_map;
pub mod images;
pub mod layer;
pub mod live;
pub mod placement;
pub mod push;
pub mod read_at;
pub mod record;
mod sealer;
pub mod source;
pub mod traced;
pub mod tree;
pub mod xattr;
