//! What a caller asks for.

use crate::error::SandboxError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of a sandbox's name: it becomes a directory's name in every control group hierarchy.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a host name. Source: `__NEW_UTS_LEN` of the kernel.
const HOSTNAME_BYTES_MAX: usize = 64;
/// More than the two that a function needs (code and layers); with the other descriptors of one message it stays far
/// below the kernel's 253 (`SCM_MAX_FD`).
pub(crate) const OVERLAYS_MAX: usize = 16;
/// Lambda has one for each function; the same sum holds as for overlays.
pub(crate) const SHARED_MAX: usize = 4;
/// Bytes of all texts of a process, as they are encoded: with the rest they fit in one message. Lambda's own limit for
/// an environment is 4 KiB.
const PROCESS_BYTES_MAX: usize = 128 << 10;
/// Below this the kernel kills init itself while the sandbox is made.
const MEMORY_BYTES_MIN: u64 = 8 << 20;
/// Descriptors. Init inherits the limit and needs about ten for itself and two for each process.
const FILES_MIN: u64 = 64;

/// How to start the spawner.
#[derive(Debug, Clone)]
pub struct SpawnerSettings {
    /// The program whose main calls [`crate::run_spawner`]; normally `/proc/self/exe`.
    pub program: PathBuf,
    /// Its arguments, such as the hidden subcommand.
    pub arguments: Vec<String>,
    /// Name of the control group that holds all sandboxes of this spawner, such as `lambent-1a2b`. Whatever a
    /// predecessor left in a group of this name is killed and removed at start.
    pub cgroup: String,
}

/// One sandbox to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Unique among the living sandboxes of one spawner; letters, digits, `-`, `_` and `.`, at most 64 bytes.
    pub name: String,
    /// A mounted tree whose files belong to ids 0..=65535; it is seen read-only inside. Its file system has to allow
    /// idmapped mounts (ext4 does, from Linux 5.12).
    pub root: PathBuf,
    /// Directories of the host and their absolute targets inside; read-only; at most 16. A missing target is made.
    pub overlays: Vec<(PathBuf, String)>,
    /// Directories of the host that several sandboxes may use at the same time; at most 4. A missing target is made.
    pub shared: Vec<SharedDirectory>,
    /// The host name inside.
    pub hostname: String,
    /// Size of `/tmp`. What lies there also counts in `memory_bytes`.
    pub tmp_bytes: u64,
    /// Memory of all processes, page cache, kernel objects and files of `/tmp` and `/dev/shm`; no swap.
    pub memory_bytes: u64,
    /// Processor time, 1000 = one whole processor.
    pub cpu_millis: u32,
    /// Processes and threads at one time.
    pub processes_max: u32,
    /// Open files of each process.
    pub files_max: u64,
    /// What can be reached from inside.
    pub network: SandboxNetwork,
}

/// A directory of the host, shown inside without set-user-id programs and devices. Its owner on the host is root inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDirectory {
    /// On the host, absolute.
    pub directory: PathBuf,
    /// Inside, absolute.
    pub target: String,
    /// Whether it can be changed from inside.
    pub access: SharedAccess,
}

/// Whether a shared directory can be changed from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedAccess {
    /// It cannot.
    ReadOnly,
    /// By who may, by its files' own permissions.
    ReadWrite,
}

/// What can be reached from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxNetwork {
    /// Its own loopback, nothing else.
    Off,
    /// Also other machines over IPv4, behind address translation; neither the host's services nor other sandboxes.
    Outbound,
}

/// One process to start in a sandbox.
#[derive(Clone, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `environment`.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// An absolute directory inside.
    pub working_directory: String,
    /// As in an OCI configuration: `user`, `uid`, `user:group`, `uid:gid`; empty means root, which has no rights
    /// beyond those of files here.
    pub user: String,
}

impl std::fmt::Debug for ProcessSpec {
    /// Without values of the environment: they are often secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ProcessSpec")
            .field("arguments", &self.arguments)
            .field("environment", &format_args!("{} variables", self.environment.len()))
            .field("working_directory", &self.working_directory)
            .field("user", &self.user)
            .finish()
    }
}

/// What a sandbox has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes at this moment.
    pub memory_bytes: u64,
    /// The most at one time. Zero on version 2 hosts before Linux 5.19, which do not count it.
    pub memory_peak_bytes: u64,
    /// Of the memory, what the files of `/tmp` take at this moment.
    pub tmp_bytes: u64,
    /// Processes that were killed because the memory limit was reached.
    pub out_of_memory_kills: u64,
    /// Processor time in microseconds, user and system.
    pub cpu_us: u64,
}

impl SandboxSpec {
    /// Where overlays, then shared directories, are seen.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &str> {
        let overlays = self.overlays.iter().map(|(_, target)| target.as_str());
        overlays.chain(self.shared.iter().map(|shared| shared.target.as_str()))
    }

    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        let problem = if !is_name(&self.name) {
            "the name must be 1 to 64 letters, digits, '-', '_' or '.'"
        } else if self.hostname.is_empty() || self.hostname.len() > HOSTNAME_BYTES_MAX || self.hostname.contains('\0') {
            "the host name must be 1 to 64 bytes"
        } else if self.overlays.len() > OVERLAYS_MAX {
            "there may be at most 16 overlays"
        } else if self.shared.len() > SHARED_MAX {
            "there may be at most 4 shared directories"
        } else if !self.targets().all(is_plain_absolute) {
            "the target of an overlay or a shared directory must be an absolute path without '.' and '..', other than '/'"
        } else if self.memory_bytes < MEMORY_BYTES_MIN {
            "the memory limit must be at least 8 MiB"
        } else if self.tmp_bytes == 0 || self.cpu_millis == 0 || self.processes_max == 0 {
            "the limits of /tmp, processor and processes must not be 0"
        } else if self.files_max < FILES_MIN {
            "the limit of open files must be at least 64"
        } else {
            return Ok(());
        };
        Err(SandboxError::InvalidSpec {
            sandbox: self.name.clone(),
            problem,
        })
    }
}

impl ProcessSpec {
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        let variables = self.environment.iter().flat_map(|(name, value)| [name, value]);
        let texts = || {
            self.arguments
                .iter()
                .chain(variables.clone())
                .chain([&self.working_directory, &self.user])
        };
        let problem = if self.arguments.first().is_none_or(String::is_empty) {
            "there is no program"
        } else if texts().map(|text| encoded_bytes(text)).sum::<usize>() > PROCESS_BYTES_MAX {
            "its arguments and environment are longer than 128 KiB (a control character counts as six bytes)"
        } else if texts().any(|text| text.contains('\0')) {
            "an argument, a variable, the working directory or the user holds a zero byte"
        } else if (self.environment.iter()).any(|(name, _)| name.is_empty() || name.contains('=')) {
            "a variable's name is empty or holds '='"
        } else {
            return Ok(());
        };
        Err(SandboxError::InvalidProcess {
            program: self.arguments.first().cloned().unwrap_or_default(),
            problem,
        })
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) && name != "." && name != ".."
}

/// At most, as JSON with quotes and separators.
fn encoded_bytes(text: &str) -> usize {
    let one = |byte: u8| match byte {
        0..32 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    4 + text.bytes().map(one).sum::<usize>()
}

fn is_plain_absolute(path: &str) -> bool {
    let Some(relative) = path.strip_prefix('/') else {
        return false;
    };
    !relative.contains('\0') && relative.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_plain_file_names_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("0b7c-environment_1.2"));
    }

    #[test]
    fn overlay_targets_stay_below_the_root() {
        for path in ["", "opt", "/", "/opt/", "/opt/../etc", "/./opt", "//opt", "/o\0"] {
            assert!(!is_plain_absolute(path), "{path:?}");
        }
        assert!(is_plain_absolute("/var/task"));
    }

    #[test]
    fn values_of_the_environment_are_not_printed() {
        let process = ProcessSpec {
            arguments: vec!["/bin/true".to_owned()],
            environment: vec![("TOKEN".to_owned(), "very secret".to_owned())],
            working_directory: "/".to_owned(),
            user: String::new(),
        };
        assert!(!format!("{process:?}").contains("very secret"));
    }
}
