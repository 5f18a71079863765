//! Whose the groups of a name are: one spawner's at a time.
//!
//! A spawner outlives a killed caller by the moment that it takes to end its sandboxes and to remove their groups. A
//! successor that made its own groups in that moment would lose them again. So a spawner locks the directories of all
//! its sandboxes for as long as it lives, and a successor waits for the locks before it makes new ones.

use super::failed;
use super::layout::Layout;
use crate::error::SandboxError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// As long as a dying spawner may take for its sandboxes, and a little.
const WAIT: Duration = Duration::from_secs(35);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Holds the groups until it is dropped, in every process that has a copy.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "open files are locks")] Vec<File>);

impl Claim {
    /// Claims groups that exist.
    pub(crate) fn take(layout: &Layout) -> Result<Self, SandboxError> {
        let take = |directory: &Path| {
            let file = File::open(directory).map_err(|source| failed("open", directory, source))?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|error| failed("lock", directory, error.into()))?;
            Ok(file)
        };
        layout
            .directories()
            .into_iter()
            .map(take)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Waits until no spawner has a claim on groups of this layout.
pub(super) fn await_predecessor(layout: &Layout) -> Result<(), SandboxError> {
    let deadline = Instant::now() + WAIT;
    for directory in layout.directories() {
        match File::open(directory) {
            Ok(file) => await_lock(&file, deadline).map_err(|source| failed("lock", directory, source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", directory, error)),
        }
    }
    Ok(())
}

fn await_lock(file: &File, deadline: Instant) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => sleep(LOOK_AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
}
