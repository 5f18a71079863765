//! What `lambent deploy` does to a directory before it is a function.
//!
//! ```text
//! DIR ─ project: which runtime, which handler ─> staging: a copy with its dependencies ─> archive: one zip
//! ```
//! The directory itself is never written to.

mod archive;
mod project;
mod staging;

pub(crate) use archive::zip_directory;
pub(crate) use project::{Language, Project};
pub(crate) use staging::stage;
