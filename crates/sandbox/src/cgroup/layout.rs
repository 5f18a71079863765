//! Where this host keeps which controller.

use super::claim::await_predecessor;
use super::{clear, failed, write};
use crate::error::SandboxError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A version 2 group may hold processes or hand out controllers, not both. The processes that share our own group
/// move to a leaf of this name beside the sandboxes.
const OWN_LEAF: &str = "lambent-host";
const V2_CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// A directory that holds the groups of all sandboxes, and which version's files are in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    V1(PathBuf),
    V2(PathBuf),
}

impl Place {
    pub(super) fn directory(&self) -> &Path {
        let (Self::V1(directory) | Self::V2(directory)) = self;
        directory
    }
}

/// The directory of all sandboxes for each duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(super) memory: Place,
    pub(super) processor: Place,
    pub(super) processes: Place,
    pub(super) freezer: Place,
    pub(super) accounting: Place,
}

/// One mounted hierarchy and our own group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: u8,
    pub(super) controllers: Vec<String>,
    pub(super) own: PathBuf,
}

/// The kernel's own `pid_max` on small machines. Source: PID_MAX_DEFAULT in include/linux/threads.h.
const PID_MAX_DEFAULT: u64 = 32_768;

impl Layout {
    /// Finds the hierarchies, waits for a predecessor of this name that is about to end, ends what it left, and makes the
    /// groups.
    pub(crate) fn make(name: &str) -> Result<Self, SandboxError> {
        let layout = Self::find(name)?;
        await_predecessor(&layout)?;
        clear(&layout)?;
        for directory in layout.directories() {
            fs::create_dir(directory).map_err(|source| failed("make", directory, source))?;
        }
        layout.hand_out()?;
        layout.limit_processes(&super::read(Path::new("/proc/sys/kernel/pid_max"))?)?;
        Ok(layout)
    }

    /// Where the groups of this name would be.
    fn find(name: &str) -> Result<Self, SandboxError> {
        let text = |path: &str| super::read(Path::new(path));
        let hierarchies = hierarchies(&text("/proc/self/mountinfo")?, &text("/proc/self/cgroup")?);
        Self::choose(&hierarchies, name)
    }

    /// All sandboxes together leave the host at least half of its process ids: each keeps its own limit, but many that
    /// use it up would leave none to log in with.
    fn limit_processes(&self, pid_max: &str) -> Result<(), SandboxError> {
        let pid_max: u64 = pid_max.trim().parse().unwrap_or(PID_MAX_DEFAULT);
        write(&self.processes.directory().join("pids.max"), pid_max / 2)
    }

    pub(super) fn choose(hierarchies: &[Hierarchy], name: &str) -> Result<Self, SandboxError> {
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == 2);
        let place = |controller: &'static str, any: bool| {
            let in_unified = unified.filter(|unified| any || unified.controllers.iter().any(|one| one == controller));
            let unified = in_unified.map(|unified| Place::V2(base(&unified.own).join(name)));
            let v1 = || {
                let has = |hierarchy: &&Hierarchy| {
                    hierarchy.version == 1 && hierarchy.controllers.iter().any(|one| one == controller)
                };
                hierarchies
                    .iter()
                    .find(has)
                    .map(|found| Place::V1(found.own.join(name)))
            };
            unified.or_else(v1).ok_or(SandboxError::CgroupMissing { controller })
        };
        Ok(Self {
            memory: place("memory", false)?,
            processor: place("cpu", false)?,
            processes: place("pids", false)?,
            freezer: place("freezer", true)?,
            accounting: place("cpuacct", true)?,
        })
    }

    fn places(&self) -> Vec<&Place> {
        let mut places = Vec::new();
        for place in [
            &self.freezer,
            &self.memory,
            &self.processor,
            &self.processes,
            &self.accounting,
        ] {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Every directory once; that of the freezer is the first.
    pub(crate) fn directories(&self) -> Vec<&Path> {
        self.places().into_iter().map(Place::directory).collect()
    }

    pub(super) fn unified(&self) -> Option<&Path> {
        match &self.freezer {
            Place::V2(directory) => Some(directory),
            Place::V1(_) => None,
        }
    }

    pub(super) fn v1_directories(&self) -> Vec<&Path> {
        let v1 = |place: &&Place| matches!(place, Place::V1(_));
        self.places().into_iter().filter(v1).map(Place::directory).collect()
    }

    /// Gives the groups of a version 2 tree their controllers, from our own group downwards.
    pub(super) fn hand_out(&self) -> Result<(), SandboxError> {
        let needs = [&self.memory, &self.processor, &self.processes];
        let wanted: Vec<_> = V2_CONTROLLERS
            .iter()
            .zip(needs)
            .filter(|(_, place)| matches!(place, Place::V2(_)))
            .collect();
        let Some((_, place)) = wanted.first() else {
            return Ok(());
        };
        let line: String = wanted.iter().map(|(controller, _)| format!("+{controller} ")).collect();
        let directory = place.directory();
        let base = directory.parent().expect("a group is named below our own");
        let switch = base.join("cgroup.subtree_control");
        match write(&switch, &line) {
            Err(SandboxError::Cgroup { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {
                step_aside(base)?;
                write(&switch, &line)?;
            }
            other => other?,
        }
        write(&directory.join("cgroup.subtree_control"), &line)
    }
}

/// Which versions of control groups would hold sandboxes here, in words; nothing is made.
///
/// # Errors
/// [`SandboxError::CgroupMissing`] with the controller that no hierarchy gives, or [`SandboxError::Cgroup`].
pub fn control_groups() -> Result<String, SandboxError> {
    let layout = Layout::find("doctor")?;
    let version = |place: &Place| match place {
        Place::V1(_) => 1,
        Place::V2(_) => 2,
    };
    let duties = [
        ("memory", &layout.memory),
        ("cpu", &layout.processor),
        ("pids", &layout.processes),
        ("freezer", &layout.freezer),
    ];
    let words = duties.map(|(duty, place)| format!("{duty} by version {}", version(place)));
    Ok(words.join(", "))
}

/// Our own group, or the one around it if a predecessor or we have stepped aside already.
fn base(own: &Path) -> &Path {
    let aside = own.file_name().is_some_and(|name| name == OWN_LEAF);
    own.parent().filter(|_| aside).unwrap_or(own)
}

/// Moves the processes of a group into a leaf of it.
fn step_aside(group: &Path) -> Result<(), SandboxError> {
    let leaf = group.join(OWN_LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", &leaf, error)),
        _ => {}
    }
    for process in super::read(&group.join("cgroup.procs"))?.lines() {
        match write(&leaf.join("cgroup.procs"), process) {
            // It has ended meanwhile.
            Err(SandboxError::Cgroup { source, .. }) if source.raw_os_error() == Some(libc::ESRCH) => {}
            other => other?,
        }
    }
    Ok(())
}

/// From `/proc/self/mountinfo` and `/proc/self/cgroup`. Formats: proc_pid_mountinfo(5), cgroups(7).
pub(super) fn hierarchies(mounts: &str, own_groups: &str) -> Vec<Hierarchy> {
    mounts.lines().filter_map(|line| hierarchy(line, own_groups)).collect()
}

fn hierarchy(mount: &str, own_groups: &str) -> Option<Hierarchy> {
    let (front, back) = mount.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, point) = (front.next()?, Path::new(front.next()?));
    let mut back = back.split(' ');
    let (kind, options) = (back.next()?, back.nth(1)?);
    let version = match kind {
        "cgroup" => 1,
        "cgroup2" => 2,
        _ => return None,
    };
    // The controllers of a group are the superblock's options in version 1 and a file in version 2.
    let options: Vec<_> = options.split(',').map(str::to_owned).collect();
    let own = own_groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let same = match version {
            2 => controllers.is_empty(),
            _ => {
                !controllers.is_empty()
                    && controllers
                        .split(',')
                        .all(|one| options.iter().any(|other| other == one))
            }
        };
        same.then_some(path)
    })?;
    let relative = Path::new(own).strip_prefix(root).ok()?;
    let own = if relative.as_os_str().is_empty() {
        point.to_owned()
    } else {
        point.join(relative)
    };
    let controllers = match version {
        2 => fs::read_to_string(base(&own).join("cgroup.controllers"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        _ => options,
    };
    Some(Hierarchy {
        version,
        controllers,
        own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS_V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /cg/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/1 /cg/memory rw,relatime shared:9 - cgroup cgroup rw,memory
37 31 0:34 / /cg/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /cg/pids rw,relatime - cgroup cgroup rw,pids
";
    const OWN: &str = "9:pids:/\n6:freezer:/\n4:memory:/docker/1/deep\n1:cpu,cpuacct:/one\n0::/user.slice\n";

    fn v1(directory: &str) -> Place {
        Place::V1(directory.into())
    }

    #[test]
    fn version_1_puts_each_duty_in_its_controller_below_our_own_group() {
        let layout = Layout::choose(&hierarchies(MOUNTS_V1, OWN), "x").unwrap();
        assert_eq!(layout.memory, v1("/cg/memory/deep/x"));
        assert_eq!(
            (&layout.processor, &layout.accounting),
            (&v1("/cg/cpu,cpuacct/one/x"), &v1("/cg/cpu,cpuacct/one/x"))
        );
        assert_eq!(
            (&layout.processes, &layout.freezer),
            (&v1("/cg/pids/x"), &v1("/cg/freezer/x"))
        );
        assert_eq!(layout.directories().len(), 4);
        assert_eq!(layout.unified(), None);
    }

    #[test]
    fn a_hybrid_host_freezes_and_accounts_in_version_2() {
        let mounts = format!("{MOUNTS_V1}41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
        let layout = Layout::choose(&hierarchies(&mounts, OWN), "x").unwrap();
        assert_eq!(layout.unified(), Some(Path::new("/cg/unified/user.slice/x")));
        assert_eq!(layout.memory, v1("/cg/memory/deep/x"));
        assert_eq!(layout.v1_directories().len(), 3);
    }

    #[test]
    fn a_version_2_host_has_one_directory_with_everything() {
        let hierarchy = Hierarchy {
            version: 2,
            controllers: ["cpu", "io", "memory", "pids"].map(str::to_owned).into(),
            own: Path::new("/cg/service").join(OWN_LEAF),
        };
        let layout = Layout::choose(&[hierarchy], "x").unwrap();
        assert_eq!(layout.directories(), [Path::new("/cg/service/x")]);
        assert!(layout.v1_directories().is_empty());
    }

    #[test]
    fn a_missing_controller_is_named() {
        let mounts: String = MOUNTS_V1
            .lines()
            .filter(|line| !line.contains("pids"))
            .map(|line| format!("{line}\n"))
            .collect();
        let error = Layout::choose(&hierarchies(&mounts, OWN), "x").unwrap_err();
        assert!(error.to_string().contains("gives pids"), "{error}");
    }
}
