//! Control groups of version 1, version 2 and hybrid hosts.
//!
//! [`Layout`] says where each duty (memory, processor, processes, freezing, accounting) lies on this host; [`Group`] is
//! the set of directories of one sandbox. Groups lie below the group that this process runs in, so that limits that
//! somebody set for us bind the sandboxes as well, and nothing of another owner is touched.
//!
//! Where a version 2 tree exists, even an empty one beside version 1 controllers, it freezes, kills and accounts: a
//! process that it has frozen can still be killed, and a process can be born into it.

mod claim;
mod clear;
mod freezer;
mod group;
mod layout;

pub(crate) use claim::Claim;
pub(crate) use clear::clear;
pub(crate) use group::{Group, Limits};
pub(crate) use layout::Layout;
pub use layout::control_groups;

use crate::error::SandboxError;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes one value; the file has to exist.
fn write(path: &Path, value: impl std::fmt::Display) -> Result<(), SandboxError> {
    let value = value.to_string();
    let written = fs::OpenOptions::new().write(true).open(path);
    written
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| failed("write", path, source))
}

fn read(path: &Path) -> Result<String, SandboxError> {
    fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Cgroup {
        act,
        path: path.to_owned(),
        source,
    }
}
