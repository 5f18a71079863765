//! Stops and continues all processes of a group. The files stay open: thawing is on the path of a warm invocation.

use super::failed;
use super::layout::Place;
use crate::error::SandboxError;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The first pause between two looks whether all stand still; each next one is twice as long. We look, and do not wait
/// to be told: version 1 tells nobody, and version 2 delays its event to 10 ms after the one before. Source:
/// `CGROUP_FILE_NOTIFY_MIN_INTV` in kernel/cgroup/cgroup.c; measured: 8 to 9 ms (p50) for a freeze that waited for it.
const PAUSE: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Freezer {
    /// `freezer.state` or `cgroup.freeze`.
    switch: File,
    /// `cgroup.events`; version 2 only.
    events: Option<File>,
    path: PathBuf,
}

impl Freezer {
    pub(super) fn open(place: &Place, name: &str) -> Result<Self, SandboxError> {
        let directory = place.directory().join(name);
        let (path, events) = match place {
            Place::V1(_) => (directory.join("freezer.state"), None),
            Place::V2(_) => (directory.join("cgroup.freeze"), Some(directory.join("cgroup.events"))),
        };
        let open = |path: &PathBuf, write: bool| {
            let file = OpenOptions::new().read(true).write(write).open(path);
            file.map_err(|source| failed("open", path, source))
        };
        Ok(Self {
            switch: open(&path, true)?,
            events: events.map(|events| open(&events, false)).transpose()?,
            path,
        })
    }

    /// Whether everything stood still within the time. If not, all runs again.
    pub(super) fn freeze(&self, wait: Duration) -> Result<bool, SandboxError> {
        let deadline = Instant::now() + wait;
        self.write(if self.events.is_some() { "1" } else { "FROZEN" })?;
        let mut pause = PAUSE;
        while !self.is_frozen()? {
            if Instant::now() > deadline {
                self.thaw()?;
                return Ok(false);
            }
            sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
        }
        Ok(true)
    }

    pub(super) fn thaw(&self) -> Result<(), SandboxError> {
        self.write(if self.events.is_some() { "0" } else { "THAWED" })
    }

    fn write(&self, value: &str) -> Result<(), SandboxError> {
        self.switch
            .write_all_at(value.as_bytes(), 0)
            .map_err(|source| failed("write", &self.path, source))
    }

    fn is_frozen(&self) -> Result<bool, SandboxError> {
        // Both files are far shorter.
        let mut bytes = [0; 256];
        let file = self.events.as_ref().unwrap_or(&self.switch);
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(|source| failed("read", &self.path, source))?;
        let text = String::from_utf8_lossy(&bytes[..count]);
        Ok(text.lines().any(|line| line == "frozen 1" || line == "FROZEN"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Hierarchy, hierarchies};
    use super::super::{Group, Layout, Limits, clear};
    use super::*;
    use std::fs;
    use std::process::{Command, Stdio};

    /// The layout of this host with or without its version 2 tree, if it has the rest.
    fn layout(version: u8) -> Option<Layout> {
        let text = |path| fs::read_to_string(path).unwrap();
        let all = hierarchies(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"));
        let wanted: Vec<Hierarchy> = all.into_iter().filter(|one| version == 2 || one.version == 1).collect();
        let layout = Layout::choose(&wanted, &format!("lambent-freezer-{version}-{}", std::process::id())).ok()?;
        (version == 1 || layout.unified().is_some()).then_some(layout)
    }

    /// A process that counts in a file stands still while it is frozen, and dies although it is frozen.
    fn check(version: u8) {
        let Some(layout) = layout(version) else {
            eprintln!("this host has no version {version} freezer: nothing to test");
            return;
        };
        for directory in layout.directories() {
            fs::create_dir(directory).unwrap();
        }
        layout.hand_out().unwrap();
        let limits = Limits {
            memory_bytes: 64 << 20,
            cpu_millis: 1000,
            processes_max: 8,
        };
        let group = Group::make(&layout, "one", limits).unwrap();
        let counter = tempfile::NamedTempFile::new().unwrap();
        let script = format!("while :; do echo >> {}; done", counter.path().display());
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        for directory in layout.directories() {
            fs::write(directory.join("sandbox-one/cgroup.procs"), child.id().to_string()).unwrap();
        }
        let count = || counter.as_file().metadata().unwrap().len();
        let grows = |from: u64| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while count() <= from && Instant::now() < deadline {
                std::thread::yield_now();
            }
            count() > from
        };
        assert!(grows(0));
        assert!(group.freeze(Duration::from_secs(5)).unwrap());
        let frozen_at = count();
        sleep(Duration::from_millis(50));
        assert_eq!(count(), frozen_at);
        group.thaw().unwrap();
        assert!(grows(frozen_at));
        assert!(group.freeze(Duration::from_secs(5)).unwrap());
        group.kill_all();
        assert!(!child.wait().unwrap().success());
        clear(&layout).unwrap();
        assert!(layout.directories().iter().all(|directory| !directory.exists()));
    }

    #[test]
    fn version_1_freezes_thaws_and_kills() {
        check(1);
    }

    #[test]
    fn version_2_freezes_thaws_and_kills() {
        check(2);
    }
}
