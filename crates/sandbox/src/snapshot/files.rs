//! The files of `/tmp` and `/dev/shm`, to a snapshot's directory and back.
//!
//! CRIU saves no file system here, for the mounts are not its own. Directories, plain files, symlinks and pipes are
//! copied with owner, mode and time; sockets are not (CRIU binds them again), and hard links become files of their own.
//! Nothing follows a symlink: the trees are hostile.

use crate::spawner::RANGE_IDS;
use crate::wire::{Failure, Step};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
    mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Name in the snapshot, and the directory inside.
const TREES: [(&str, &str); 2] = [("tmp", "/tmp"), ("shm", "/dev/shm")];
/// Directories in each other. Each takes a frame of the stack and two descriptors.
const DEPTH_MAX: u32 = 100;
/// Bits of a mode that are kept: no program gains rights by its file here.
const MODE_KEPT: u32 = 0o1777;
/// Where owners that are not of the sandbox go: `nobody`.
const NOBODY: u32 = 65_534;

/// What happens to owners on the way.
#[derive(Clone, Copy)]
enum Owners {
    /// Ids of the host become those inside.
    In { from: u32 },
    /// And back.
    Out { from: u32 },
}

/// Copies what lies in the sandbox, whose mounts this process sees, into a snapshot.
pub(super) fn take(snapshot: &OwnedFd, ids_from: u32) -> Result<(), Failure> {
    for (name, inside) in TREES {
        let taken = || {
            mkdirat(snapshot, name, Mode::from_raw_mode(0o755))?;
            let (from, to) = (directory(CWD, inside)?, directory(snapshot, name)?);
            copy_tree(&from, &to, Owners::In { from: ids_from }, 0)
        };
        taken().step(|| format!("save the files of {inside}"))?;
    }
    Ok(())
}

/// Copies what lies in a snapshot into a new sandbox, whose mounts this process sees.
pub(super) fn bring(snapshot: &OwnedFd, ids_from: u32) -> Result<(), Failure> {
    for (name, inside) in TREES {
        let brought = || {
            let (from, to) = (directory(snapshot, name)?, directory(CWD, inside)?);
            copy_tree(&from, &to, Owners::Out { from: ids_from }, 0)
        };
        brought().step(|| format!("bring back the files of {inside}"))?;
    }
    Ok(())
}

fn directory(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn copy_tree(from: &OwnedFd, to: &OwnedFd, owners: Owners, depth: u32) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let status = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        copy_entry((from, to), name, &status, (owners, depth))?;
    }
    Ok(())
}

fn copy_entry(
    (from, to): (&OwnedFd, &OwnedFd),
    name: &CStr,
    status: &Stat,
    (owners, depth): (Owners, u32),
) -> io::Result<()> {
    let private = Mode::from_raw_mode(0o700);
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, private)?;
            let (inner, made) = (directory(from, name)?, directory(to, name)?);
            copy_tree(&inner, &made, owners, depth + 1)?;
            finish(&made, status, owners)
        }
        FileType::RegularFile => {
            let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut source = File::from(openat(from, name, read, Mode::empty())?);
            let mut made = File::from(openat(to, name, write, private)?);
            io::copy(&mut source, &mut made)?;
            finish(&made, status, owners)
        }
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
            own(to, name, status, owners)
        }
        FileType::Fifo => {
            mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(status.st_mode & 0o777), 0)?;
            own(to, name, status, owners)
        }
        _ => Ok(()),
    }
}

fn own(to: &OwnedFd, name: &CStr, status: &Stat, owners: Owners) -> io::Result<()> {
    let (user, group) = owners.of(status);
    Ok(chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Owner first: giving a file away clears bits of its mode.
fn finish(made: impl AsFd, status: &Stat, owners: Owners) -> io::Result<()> {
    let (user, group) = owners.of(status);
    fchown(&made, Some(user), Some(group))?;
    fchmod(&made, Mode::from_raw_mode(status.st_mode & MODE_KEPT))?;
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(status.st_atime, status.st_atime_nsec.cast_signed()),
        last_modification: time(status.st_mtime, status.st_mtime_nsec.cast_signed()),
    };
    Ok(futimens(&made, &times)?)
}

impl Owners {
    fn of(self, status: &Stat) -> (Uid, Gid) {
        (
            Uid::from_raw(self.one(status.st_uid)),
            Gid::from_raw(self.one(status.st_gid)),
        )
    }

    fn one(self, id: u32) -> u32 {
        match self {
            Self::In { from } => Some(id.wrapping_sub(from))
                .filter(|id| *id < RANGE_IDS)
                .unwrap_or(NOBODY),
            Self::Out { from } => from + if id < RANGE_IDS { id } else { NOBODY },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn owners_of_nobody_stay_in_the_sandbox() {
        let (inward, outward) = (Owners::In { from: 1000 }, Owners::Out { from: 1000 });
        for (host, inside) in [(1000, 0), (1993, 993), (0, NOBODY), (999, NOBODY), (u32::MAX, NOBODY)] {
            assert_eq!(inward.one(host), inside);
        }
        for (inside, host) in [(0, 1000), (993, 1993), (65_536, 1000 + NOBODY)] {
            assert_eq!(outward.one(inside), host);
        }
    }

    #[test]
    fn a_tree_is_copied_as_it_is() {
        assert!(
            rustix::process::geteuid().is_root(),
            "owners are changed by root: run these tests as root"
        );
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("d")).unwrap();
        let file = from.path().join("d/file");
        fs::write(&file, "content").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4640)).unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.path().join("socket")).unwrap();
        let open = |path| directory(CWD, path).unwrap();
        copy_tree(&open(from.path()), &open(to.path()), Owners::Out { from: 5000 }, 0).unwrap();
        let copied = to.path().join("d/file");
        let (was, is) = (fs::metadata(&file).unwrap(), fs::metadata(&copied).unwrap());
        assert_eq!(fs::read(copied).unwrap(), b"content");
        assert_eq!(
            (is.uid(), is.mode() & 0o7777, is.mtime_nsec()),
            (5000, 0o640, was.mtime_nsec())
        );
        assert_eq!(
            fs::read_link(to.path().join("link")).unwrap().to_str(),
            Some("/etc/passwd")
        );
        assert!(!to.path().join("socket").exists());
    }
}
