//! Ends everything in the groups of a spawner, and removes them: when its caller has died, and before the first
//! sandbox of a successor.

use super::failed;
use super::group::remove;
use super::layout::{Layout, Place};
use crate::error::SandboxError;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Killed processes end within milliseconds, unless they wait for a device; a read of ours fails after less.
const WAIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Kills all sandboxes below the layout's directories and removes these as well.
pub(crate) fn clear(layout: &Layout) -> Result<(), SandboxError> {
    let deadline = Instant::now() + WAIT;
    loop {
        let groups = groups(layout);
        for group in &groups {
            if !remove(layout, group) {
                kill_group(layout, group);
            }
        }
        let Some((path, source)) = first_left(layout) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(failed("remove", &path, source));
        }
        if !groups.is_empty() {
            sleep(LOOK_AGAIN);
        }
    }
}

/// Kills what runs in one group, frozen or not.
pub(super) fn kill_group(layout: &Layout, name: &str) {
    // Whatever fails here shows when the group cannot be removed.
    if let Place::V2(directory) = &layout.freezer
        && super::write(&directory.join(name).join("cgroup.kill"), 1).is_ok()
    {
        return;
    }
    for directory in layout.directories() {
        let processes = fs::read_to_string(directory.join(name).join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
    let _ = match &layout.freezer {
        // Version 1 does not let a frozen process die.
        Place::V1(directory) => super::write(&directory.join(name).join("freezer.state"), "THAWED"),
        Place::V2(directory) => super::write(&directory.join(name).join("cgroup.freeze"), 0),
    };
}

/// Names of the groups that exist in any hierarchy.
fn groups(layout: &Layout) -> BTreeSet<String> {
    let entries = layout
        .directories()
        .into_iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn first_left(layout: &Layout) -> Option<(std::path::PathBuf, io::Error)> {
    layout
        .directories()
        .into_iter()
        .find_map(|directory| match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Some((directory.to_owned(), error)),
            _ => None,
        })
}
