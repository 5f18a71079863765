//! The control groups of one sandbox.

use super::freezer::Freezer;
use super::layout::{Layout, Place};
use super::{failed, read, write};
use crate::error::SandboxError;
use crate::spec::{SandboxSpec, Usage};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Microseconds in which a sandbox may use its quota. A sandbox that has used it up stands still until the period is
/// over: with the kernel's default of 100,000 and 7 % of a processor for up to 93 ms, with this for up to 19 ms.
const PERIOD_US: u64 = 20_000;
/// The least quota that the kernel takes. Source: `min_cfs_quota_period` in kernel/sched/core.c.
const QUOTA_US_MIN: u64 = 1000;
/// The longest period that the kernel takes. Source: `max_cfs_quota_period`, same file.
const PERIOD_US_MAX: u64 = 1_000_000;
/// How often we look whether a killed group is empty.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// What a sandbox may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: u32,
    pub(crate) processes_max: u32,
}

impl From<&SandboxSpec> for Limits {
    fn from(spec: &SandboxSpec) -> Self {
        Self {
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
            processes_max: spec.processes_max,
        }
    }
}

/// The groups of one sandbox. Dropping it removes them, if they are empty.
#[derive(Debug)]
pub(crate) struct Group {
    layout: Layout,
    name: String,
    freezer: Freezer,
    processes_max: u32,
}

impl Group {
    /// Makes the groups and sets their limits. The name is one that [`crate::spec::is_name`] accepts.
    pub(crate) fn make(layout: &Layout, name: &str, limits: Limits) -> Result<Self, SandboxError> {
        // Without a prefix, a sandbox named `tasks` would meet the kernel's own file.
        let name = format!("sandbox-{name}");
        let made = Self::fill(layout, &name, limits);
        if !matches!(&made, Err(SandboxError::Cgroup { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
            && made.is_err()
        {
            remove(layout, &name);
        }
        made
    }

    fn fill(layout: &Layout, name: &str, limits: Limits) -> Result<Self, SandboxError> {
        for directory in layout.directories() {
            let directory = directory.join(name);
            fs::create_dir(&directory).map_err(|source| failed("make", &directory, source))?;
        }
        limit_memory(&layout.memory, name, limits.memory_bytes)?;
        limit_processor(&layout.processor, name, limits.cpu_millis)?;
        limit_processes(&layout.processes, name, limits.processes_max)?;
        Ok(Self {
            freezer: Freezer::open(&layout.freezer, name)?,
            layout: layout.clone(),
            name: name.to_owned(),
            processes_max: limits.processes_max,
        })
    }

    /// The version 2 directory, into which init is born.
    pub(crate) fn unified(&self) -> Result<Option<OwnedFd>, SandboxError> {
        let open = |parent: &Path| {
            let directory = parent.join(&self.name);
            File::open(&directory)
                .map(OwnedFd::from)
                .map_err(|source| failed("open", &directory, source))
        };
        self.layout.unified().map(open).transpose()
    }

    /// The `tasks` files of version 1, into which init writes `0`. That moves one thread, itself, without the lock
    /// that moving a process takes and that waits for an RCU grace period. Source: `cgroup_procs_write_start` in
    /// kernel/cgroup/cgroup.c.
    pub(crate) fn tasks(&self) -> Result<Vec<OwnedFd>, SandboxError> {
        let open = |parent: &Path| {
            let path = parent.join(&self.name).join("tasks");
            let file = fs::OpenOptions::new().write(true).open(&path);
            file.map(OwnedFd::from).map_err(|source| failed("open", &path, source))
        };
        self.layout.v1_directories().into_iter().map(open).collect()
    }

    /// Waits until nothing runs any more.
    pub(crate) fn freeze(&self, wait: Duration) -> Result<bool, SandboxError> {
        self.freezer.freeze(wait)
    }

    /// One system call.
    pub(crate) fn thaw(&self) -> Result<(), SandboxError> {
        self.freezer.thaw()
    }

    /// Another share of the processors, from the next period on.
    pub(crate) fn set_processor(&self, cpu_millis: u32) -> Result<(), SandboxError> {
        limit_processor(&self.layout.processor, &self.name, cpu_millis)
    }

    /// Lets so many more processes live than the limit says, for as long as CRIU works inside; 0 is the limit itself.
    pub(crate) fn allow_more_processes(&self, more: u32) -> Result<(), SandboxError> {
        limit_processes(&self.layout.processes, &self.name, self.processes_max + more)
    }

    /// Counters that a host does not have are zero, as is what no group counts.
    pub(crate) fn usage(&self) -> Usage {
        let file = |place: &Place, v1: &str, v2: &str| {
            let name = if matches!(place, Place::V1(_)) { v1 } else { v2 };
            read(&place.directory().join(&self.name).join(name)).unwrap_or_default()
        };
        let number = |text: String| text.trim().parse().unwrap_or(0);
        let memory = &self.layout.memory;
        let accounting = &self.layout.accounting;
        let processor = file(accounting, "cpuacct.usage", "cpu.stat");
        Usage {
            memory_bytes: number(file(memory, "memory.usage_in_bytes", "memory.current")),
            tmp_bytes: 0,
            memory_peak_bytes: number(file(memory, "memory.max_usage_in_bytes", "memory.peak")),
            out_of_memory_kills: field(&file(memory, "memory.oom_control", "memory.events"), "oom_kill"),
            cpu_us: match accounting {
                Place::V1(_) => number(processor) / 1000,
                Place::V2(_) => field(&processor, "usage_usec"),
            },
        }
    }

    /// Removes the groups once they are empty; `false` if they were not within the time.
    pub(crate) fn remove_within(&self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        while !remove(&self.layout, &self.name) {
            if Instant::now() > deadline {
                return false;
            }
            sleep(LOOK_AGAIN);
        }
        true
    }

    /// Kills every process in the groups; for a sandbox whose init is not known.
    pub(crate) fn kill_all(&self) {
        super::clear::kill_group(&self.layout, &self.name);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.layout, &self.name);
    }
}

/// Whether no group of this name is left.
pub(super) fn remove(layout: &Layout, name: &str) -> bool {
    let gone = |path: PathBuf| match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    // No short cut: what can go, goes.
    let directories = layout.directories().into_iter();
    directories.filter(|directory| !gone(directory.join(name))).count() == 0
}

/// One more, for init.
fn limit_processes(place: &Place, name: &str, processes_max: u32) -> Result<(), SandboxError> {
    let processes_max = u64::from(processes_max) + 1;
    write(&place.directory().join(name).join("pids.max"), processes_max)
}

fn limit_memory(place: &Place, name: &str, bytes: u64) -> Result<(), SandboxError> {
    let directory = place.directory().join(name);
    match place {
        Place::V1(_) => {
            write(&directory.join("memory.limit_in_bytes"), bytes)?;
            write_if_there(&directory.join("memory.memsw.limit_in_bytes"), bytes)
        }
        Place::V2(_) => {
            write(&directory.join("memory.max"), bytes)?;
            write_if_there(&directory.join("memory.swap.max"), 0)
        }
    }
}

/// Swap files are missing where the kernel does not count swap; then there is none to limit.
fn write_if_there(path: &Path, value: u64) -> Result<(), SandboxError> {
    if path.exists() { write(path, value) } else { Ok(()) }
}

fn limit_processor(place: &Place, name: &str, millis: u32) -> Result<(), SandboxError> {
    let directory = place.directory().join(name);
    let (quota_us, period_us) = quota(millis);
    // The share decides who runs when more is promised than there is; its defaults (1024, 100) are one processor's.
    let share = u64::from(millis);
    match place {
        Place::V1(_) => {
            write(&directory.join("cpu.cfs_period_us"), period_us)?;
            write(&directory.join("cpu.cfs_quota_us"), quota_us)?;
            write(&directory.join("cpu.shares"), (share * 1024 / 1000).max(2))
        }
        Place::V2(_) => {
            write(&directory.join("cpu.max"), format_args!("{quota_us} {period_us}"))?;
            write(&directory.join("cpu.weight"), (share / 10).clamp(1, 10_000))
        }
    }
}

/// Quota and period in microseconds. A quota below the kernel's least makes the period longer instead.
fn quota(millis: u32) -> (u64, u64) {
    let millis = u64::from(millis.max(1));
    let quota_us = PERIOD_US * millis / 1000;
    if quota_us >= QUOTA_US_MIN {
        return (quota_us, PERIOD_US);
    }
    (QUOTA_US_MIN, (QUOTA_US_MIN * 1000 / millis).min(PERIOD_US_MAX))
}

/// The number after a name, on one of many lines.
fn field(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_quotas_keep_the_kernels_least() {
        assert_eq!(quota(1000), (20_000, 20_000));
        assert_eq!(quota(6000), (120_000, 20_000));
        assert_eq!(quota(72), (1440, 20_000));
        assert_eq!(quota(50), (1000, 20_000));
        assert_eq!(quota(10), (1000, 100_000));
        assert_eq!(quota(1), (1000, 1_000_000));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), 3);
        assert_eq!(field(text, "usage_usec"), 0);
    }

    #[test]
    fn version_2_limits_go_to_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let group = directory.path().join("g");
        fs::create_dir(&group).unwrap();
        for file in ["memory.max", "memory.swap.max", "cpu.max", "cpu.weight"] {
            fs::write(group.join(file), "").unwrap();
        }
        let place = Place::V2(directory.path().to_owned());
        limit_memory(&place, "g", 1 << 27).unwrap();
        limit_processor(&place, "g", 500).unwrap();
        let content = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        assert_eq!(
            (content("memory.max"), content("memory.swap.max")),
            ("134217728".into(), "0".into())
        );
        assert_eq!(
            (content("cpu.max"), content("cpu.weight")),
            ("10000 20000".into(), "50".into())
        );
    }
}
