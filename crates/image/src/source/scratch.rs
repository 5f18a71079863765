//! Unlinked files for unpacked bytes: gone when the last handle closes, also when the process is killed.

use super::error::SourceError;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What can go wrong between a compressed stream and its scratch file.
pub(super) enum Fault {
    Read(io::Error),
    Write { directory: PathBuf, source: io::Error },
    TooLong { max: u64 },
}

impl Fault {
    pub(super) fn of_archive(self, path: &Path) -> SourceError {
        let path = path.to_owned();
        match self {
            Self::Read(source) => SourceError::Read { path, source },
            Self::Write { directory, source } => SourceError::Scratch { directory, source },
            Self::TooLong { max } => SourceError::ArchiveTooLong { path, max },
        }
    }
}

/// A new scratch file in `directory`.
pub(super) fn create(directory: &Path) -> Result<File, SourceError> {
    tempfile::tempfile_in(directory).map_err(|source| SourceError::Scratch {
        directory: directory.to_owned(),
        source,
    })
}

/// Copies all of `plain` into a new scratch file, at most `max` bytes.
pub(super) fn fill(directory: &Path, mut plain: impl Read, max: u64) -> Result<File, Fault> {
    let failed = |source| Fault::Write {
        directory: directory.to_owned(),
        source,
    };
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut left = max;
    loop {
        let read = plain.read(&mut buffer).map_err(Fault::Read)?;
        if read == 0 {
            return Ok(file);
        }
        left = left.checked_sub(read as u64).ok_or(Fault::TooLong { max })?;
        file.write_all(&buffer[..read]).map_err(failed)?;
    }
}
