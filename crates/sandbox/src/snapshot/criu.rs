//! CRIU's program: where it lies, whether it is the right one, and how it is started.
//!
//! Inside a sandbox everything that a path can name belongs to a hostile image. So the program, its loader and its
//! libraries are reached through a descriptor; and what a loader or CRIU would read at fixed paths is switched off:
//! `/etc/ld.so.preload` by a copy of the loader that looks for another name, `/etc/ld.so.cache`, configuration files
//! and plug-ins by options.

use crate::error::SandboxError;
use rustix::fs::{AtFlags, Mode, OFlags, chmodat, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

#[cfg(target_arch = "x86_64")]
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
#[cfg(target_arch = "x86_64")]
const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
#[cfg(target_arch = "aarch64")]
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";
#[cfg(target_arch = "aarch64")]
const LOADER: &str = "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1";
const PROGRAM: &str = "usr/sbin/criu";

/// The first version that writes and restores Node.js on current kernels; 3.17 fails at once.
const VERSION_MIN: (u32, u32) = (4, 2);

/// Holds the loader's copy and CRIU's own notes on the kernel, a few hundred KiB.
const SCRATCH_BYTES: &str = "4194304";
const LOADER_COPY: &str = "loader";
/// Written by CRIU.
const KERNEL_NOTES: &str = "criu.kdat";
/// What the loader would execute in every program, and a name of equal length that nothing can have.
const PRELOAD: &[u8] = b"/etc/ld.so.preload\0";
const NOTHING: &[u8] = b"/dev/null/.preload\0";
/// Bytes of a loader; glibc's has about 240 KiB.
const LOADER_BYTES_MAX: u64 = 3 << 20;

/// A CRIU that works on this machine.
#[derive(Debug)]
pub struct Criu {
    tree: OwnedFd,
    scratch: OwnedFd,
    version: String,
}

impl Criu {
    /// Takes the CRIU in a tree that has `usr/sbin/criu` and, below `usr/lib`, its loader and libraries: `/` where
    /// Debian's package is installed, or a directory that packages were unpacked into. Runs it twice: for its version,
    /// and for its judgement of this kernel, which takes some ten milliseconds.
    ///
    /// # Errors
    /// [`SandboxError::CriuUnusable`].
    pub fn open(directory: &Path) -> Result<Self, SandboxError> {
        Self::try_open(directory).map_err(|problem| SandboxError::CriuUnusable {
            directory: directory.to_owned(),
            problem,
        })
    }

    /// As CRIU says it, such as `4.2.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    fn try_open(directory: &Path) -> Result<Self, String> {
        let program = directory.join(PROGRAM);
        if !program.exists() {
            return Err(format!("there is no {}", program.display()));
        }
        let version = output(command(directory).arg("--version"))?;
        let version = version_of(&version).ok_or("it does not say its version")?;
        if !is_new_enough(&version) {
            let (major, minor) = VERSION_MIN;
            return Err(format!("it is version {version}, and {major}.{minor} is needed"));
        }
        let scratch = scratch(directory).map_err(|error| format!("cannot prepare its loader: {error}"))?;
        let notes = format!("/proc/{}/fd/{}", std::process::id(), scratch.as_raw_fd());
        output(
            command(directory)
                .args(["check", "--unprivileged"])
                .env("XDG_RUNTIME_DIR", notes),
        )?;
        let open = || {
            chmodat(&scratch, KERNEL_NOTES, Mode::from_raw_mode(0o644), AtFlags::empty())?;
            openat(
                rustix::fs::CWD,
                directory,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let tree = open().map_err(|error| format!("cannot open its directory: {error}"))?;
        Ok(Self { tree, scratch, version })
    }

    /// Tree and scratch, as [`arguments`] needs them.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.tree.as_fd(), self.scratch.as_fd()]
    }
}

/// The loader, CRIU, and the options that every run has, inside a sandbox: the descriptors stay open over `execve`.
pub(super) fn arguments(tree: &OwnedFd, scratch: &OwnedFd) -> Vec<String> {
    let at = |descriptor: &OwnedFd, path: &str| format!("/proc/self/fd/{}/{path}", descriptor.as_raw_fd());
    let texts = [
        at(scratch, LOADER_COPY),
        "--inhibit-cache".to_owned(),
        "--library-path".to_owned(),
        at(tree, LIBRARIES),
        at(tree, PROGRAM),
    ];
    texts.into_iter().collect()
}

/// The whole environment of CRIU inside.
pub(super) fn environment(scratch: &OwnedFd) -> [String; 2] {
    [
        format!("XDG_RUNTIME_DIR=/proc/self/fd/{}", scratch.as_raw_fd()),
        // A library of CRIU's reads a file of /etc as soon as it is loaded.
        "GNUTLS_SYSTEM_PRIORITY_FILE=/dev/null".to_owned(),
    ]
}

/// On the host, where paths can be trusted.
fn command(directory: &Path) -> Command {
    let mut command = Command::new(directory.join(LOADER));
    command
        .arg("--library-path")
        .arg(directory.join(LIBRARIES))
        .arg(directory.join(PROGRAM))
        .env_clear()
        .stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start it: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = [output.stdout, output.stderr].concat();
    Err(super::guide::reason(&String::from_utf8_lossy(&told)))
}

fn version_of(text: &str) -> Option<String> {
    let version = text.lines().find_map(|line| line.strip_prefix("Version:"))?;
    Some(version.trim().to_owned())
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= VERSION_MIN
}

/// A file system in memory that is attached nowhere, with the loader's copy.
fn scratch(directory: &Path) -> io::Result<OwnedFd> {
    let path = directory.join(LOADER);
    if fs::metadata(&path)?.len() > LOADER_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let loader = without_preload(fs::read(&path)?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not name /etc/ld.so.preload: not glibc's loader",
        )
    })?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (option, value) in [("size", SCRATCH_BYTES), ("mode", "755")] {
        fsconfig_set_string(&context, option, value)?;
    }
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let scratch = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&scratch, LOADER_COPY, create, Mode::from_raw_mode(0o755))?;
    File::from(file).write_all(&loader)?;
    Ok(scratch)
}

/// With every mention of the file replaced; `None` if there is none.
fn without_preload(mut loader: Vec<u8>) -> Option<Vec<u8>> {
    let at: Vec<_> = (0..loader.len().saturating_sub(PRELOAD.len() - 1))
        .filter(|at| loader[*at..].starts_with(PRELOAD))
        .collect();
    for at in &at {
        loader[*at..*at + PRELOAD.len()].copy_from_slice(NOTHING);
    }
    (!at.is_empty()).then_some(loader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_not_new_enough() {
        for (version, expected) in [
            ("4.2", true),
            ("4.2.1", true),
            ("5.0", true),
            ("4.1.1", false),
            ("3.17.1", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
        assert_eq!(version_of("Version: 4.2.1\nGitID: v4\n").as_deref(), Some("4.2.1"));
        assert_eq!(version_of("what?"), None);
    }

    #[test]
    fn the_loaders_copy_preloads_nothing() {
        assert_eq!(PRELOAD.len(), NOTHING.len());
        let loader = [b"ab".as_slice(), PRELOAD, b"cd"].concat();
        let expected = [b"ab".as_slice(), NOTHING, b"cd"].concat();
        assert_eq!(without_preload(loader), Some(expected));
        assert_eq!(without_preload(b"musl".to_vec()), None);
        assert_eq!(without_preload(Vec::new()), None);
    }

    #[test]
    fn a_directory_without_criu_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Criu::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }
}
