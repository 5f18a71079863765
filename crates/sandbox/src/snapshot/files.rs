//! The files of `/tmp` and `/dev/shm`, to a snapshot's directory and back.
//!
//! CRIU saves no file system here, for the mounts are not its own. Directories, plain files, symlinks and pipes are
//! copied with owner, mode and time; sockets are not (CRIU binds them again), and hard links become files of their own.
//! Nothing follows a symlink: the trees are hostile.
//!
//! A file in memory can be as long as it likes while it holds nothing. So a tree is taken, and brought back, only if all
//! its files together, each name for itself and with the holes, are no longer than its file system's size. It has to fit
//! into a layer, too: no paths longer than a program can name, and no names that mean there that something is deleted.

use super::DISK_SPARE_BYTES;
use super::watch::Watch;
use crate::spawner::RANGE_IDS;
use crate::wire::Failure;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fstatvfs,
    futimens, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// Name in the snapshot, and the directory inside.
const TREES: [(&str, &str); 2] = [("tmp", "/tmp"), ("shm", "/dev/shm")];
/// Directories in each other. Each takes a frame of the stack and two descriptors.
const DEPTH_MAX: u32 = 100;
/// Entries of one tree. Each costs an inode of the snapshot's file system and some of the worker's time.
const ENTRIES_MAX: u32 = 100_000;
/// Bytes of a path below `/tmp`. The whole one, in the snapshot's directory, is to be shorter than the kernel's 4096.
const PATH_BYTES_MAX: usize = 3072;
/// What begins so is a layer's word for a file that is deleted.
const WHITEOUT: &[u8] = b".wh.";
/// Copied between two looks at whether anybody still waits.
const COPY_BYTES: u64 = 4 << 20;
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

/// A tree on its way.
struct Walk<'a> {
    owners: Owners,
    watch: &'a Watch<'a>,
    bytes_left: u64,
    entries_left: u32,
    /// Of the directory that is copied.
    path_bytes: usize,
}

/// Why a tree is not copied.
pub(super) enum Uncopied {
    /// It is one that no snapshot has.
    Refused(String),
    /// It went wrong.
    Failed(Failure),
}

/// Fails when the disk of a snapshot is nearly full.
pub(super) fn require_spare(snapshot: impl AsFd) -> io::Result<()> {
    let disk = fstatvfs(snapshot)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_SPARE_BYTES {
        return Err(Errno::NOSPC.into());
    }
    Ok(())
}

/// Copies what lies in the sandbox, whose mounts this process sees, into a snapshot.
pub(super) fn take(snapshot: &OwnedFd, ids_from: u32, watch: &Watch<'_>) -> Result<(), Uncopied> {
    for (name, inside) in TREES {
        let taken = || {
            mkdirat(snapshot, name, Mode::from_raw_mode(0o755))?;
            let (from, to) = (directory(CWD, inside)?, directory(snapshot, name)?);
            Walk::new(&from, Owners::In { from: ids_from }, watch)?.copy_tree(&from, &to, 0)
        };
        taken().map_err(|error| failure(format!("save the files of {inside}"), &error))?;
    }
    Ok(())
}

/// Copies what lies in a snapshot into a new sandbox, whose mounts this process sees.
pub(super) fn bring(snapshot: &OwnedFd, ids_from: u32, watch: &Watch<'_>) -> Result<(), Uncopied> {
    for (name, inside) in TREES {
        let brought = || {
            let (from, to) = (directory(snapshot, name)?, directory(CWD, inside)?);
            Walk::new(&to, Owners::Out { from: ids_from }, watch)?.copy_tree(&from, &to, 0)
        };
        brought().map_err(|error| failure(format!("bring back the files of {inside}"), &error))?;
    }
    Ok(())
}

fn directory(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// With what is allowed, where that was too little.
fn failure(step: String, error: &io::Error) -> Uncopied {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Uncopied::Refused(format!(
            "cannot {step}, of which a snapshot takes {ENTRIES_MAX}, together as long, with their holes, as the file \
            system is large: {error}"
        )),
        io::ErrorKind::InvalidFilename => Uncopied::Refused(format!("cannot {step}: {error}")),
        _ => Uncopied::Failed(Failure {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }),
    }
}

/// What a layer can name, below a directory whose path has so many bytes.
fn require_name(name: &[u8], path_bytes: usize) -> io::Result<()> {
    if name.starts_with(WHITEOUT) {
        let name = name.escape_ascii();
        let told = format!("a snapshot takes no name that begins with .wh., as \"{name}\"");
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, told));
    }
    if path_bytes + name.len() > PATH_BYTES_MAX {
        let told = format!("a path has more than {PATH_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, told));
    }
    Ok(())
}

impl<'a> Walk<'a> {
    /// Of a tree that lies in, or goes to, this file system in memory.
    fn new(memory: &OwnedFd, owners: Owners, watch: &'a Watch<'a>) -> io::Result<Self> {
        let size = fstatvfs(memory)?;
        Ok(Self {
            owners,
            watch,
            bytes_left: size.f_blocks.saturating_mul(size.f_frsize),
            entries_left: ENTRIES_MAX,
            path_bytes: 0,
        })
    }

    fn copy_tree(&mut self, from: &OwnedFd, to: &OwnedFd, depth: u32) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.watch.check()?;
            self.entries_left = self.entries_left.checked_sub(1).ok_or(Errno::FBIG)?;
            require_name(name.to_bytes(), self.path_bytes)?;
            let status = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            self.copy_entry((from, to), name, &status, depth)?;
        }
        Ok(())
    }

    fn copy_entry(
        &mut self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &CStr,
        status: &Stat,
        depth: u32,
    ) -> io::Result<()> {
        let private = Mode::from_raw_mode(0o700);
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                mkdirat(to, name, private)?;
                let (inner, made) = (directory(from, name)?, directory(to, name)?);
                let entered = name.to_bytes().len() + 1;
                self.path_bytes += entered;
                self.copy_tree(&inner, &made, depth + 1)?;
                self.path_bytes -= entered;
                finish(&made, status, self.owners)
            }
            FileType::RegularFile => {
                let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let bytes = status.st_size.cast_unsigned();
                self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Errno::FBIG)?;
                let source = File::from(openat(from, name, read, Mode::empty())?);
                let mut made = File::from(openat(to, name, write, private)?);
                self.copy_bytes(source.take(bytes), &mut made)?;
                finish(&made, status, self.owners)
            }
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                own(to, name, status, self.owners)
            }
            FileType::Fifo => {
                mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(status.st_mode & 0o777), 0)?;
                own(to, name, status, self.owners)
            }
            _ => Ok(()),
        }
    }

    fn copy_bytes(&self, mut source: io::Take<File>, made: &mut File) -> io::Result<()> {
        while io::copy(&mut source.by_ref().take(COPY_BYTES), made)? > 0 {
            self.watch.check()?;
            // What is brought back goes to memory.
            if matches!(self.owners, Owners::In { .. }) {
                require_spare(&*made)?;
            }
        }
        Ok(())
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
    use crate::socket;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
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
        let ((_near, far), living) = (socket::pair().unwrap(), living());
        let watch = Watch::new(&far, &living);
        let mut walk = Walk::new(&open(to.path()), Owners::Out { from: 5000 }, &watch).unwrap();
        walk.copy_tree(&open(from.path()), &open(to.path()), 0).unwrap();
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

    #[test]
    fn more_than_the_budget_is_refused_before_it_is_written() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // With nothing in them; a name more of the same file counts again.
        File::create(from.path().join("one")).unwrap().set_len(1 << 20).unwrap();
        fs::hard_link(from.path().join("one"), from.path().join("two")).unwrap();
        let open = |path| directory(CWD, path).unwrap();
        let ((near, far), living) = (socket::pair().unwrap(), living());
        let watch = Watch::new(&far, &living);
        let copied = |bytes_left, entries_left| {
            fs::remove_dir_all(to.path()).unwrap();
            fs::create_dir(to.path()).unwrap();
            let mut walk = Walk {
                owners: Owners::Out { from: 0 },
                watch: &watch,
                bytes_left,
                entries_left,
                path_bytes: 0,
            };
            let copied = walk.copy_tree(&open(from.path()), &open(to.path()), 0);
            let written = fs::read_dir(to.path()).unwrap().count();
            (copied.err().and_then(|error| error.raw_os_error()), written)
        };
        assert_eq!(copied(2 << 20, 2), (None, 2));
        assert_eq!(copied((2 << 20) - 1, 2), (Some(libc::EFBIG), 1));
        assert_eq!(copied(2 << 20, 1), (Some(libc::EFBIG), 1));
        drop(near);
        assert_eq!(copied(2 << 20, 2), (Some(libc::ECANCELED), 0));
    }

    #[test]
    fn what_a_layer_cannot_name_is_refused() {
        let told = |name: &str, path_bytes| match require_name(name.as_bytes(), path_bytes) {
            Ok(()) => None,
            Err(error) => match failure("save".to_owned(), &error) {
                Uncopied::Refused(told) => Some(told),
                Uncopied::Failed(_) => panic!("{error}"),
            },
        };
        assert_eq!(told("wh.name", 0), None);
        assert_eq!(told(".wh", PATH_BYTES_MAX - 3), None);
        let expected = "cannot save: a snapshot takes no name that begins with .wh., as \".wh.\\n\"";
        assert_eq!(told(".wh.\n", 0).as_deref(), Some(expected));
        let expected = "cannot save: a path has more than 3072 bytes";
        assert_eq!(told(".wh", PATH_BYTES_MAX - 2).as_deref(), Some(expected));
    }

    #[test]
    fn deep_directories_are_refused_by_the_length_of_their_paths() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = (0..12).fold(from.path().to_owned(), |path, _| path.join("d".repeat(250)));
        fs::create_dir_all(&deep).unwrap();
        fs::write(from.path().join("beside"), "").unwrap();
        let open = |path| directory(CWD, path).unwrap();
        let ((_near, far), living) = (socket::pair().unwrap(), living());
        let watch = Watch::new(&far, &living);
        let copied = || {
            fs::remove_dir_all(to.path()).unwrap();
            fs::create_dir(to.path()).unwrap();
            let mut walk = Walk::new(&open(to.path()), Owners::Out { from: 0 }, &watch).unwrap();
            walk.copy_tree(&open(from.path()), &open(to.path()), 0)
        };
        // Twelve times 251 bytes.
        fs::write(deep.join("f".repeat(60)), "").unwrap();
        copied().unwrap();
        fs::write(deep.join("f".repeat(61)), "").unwrap();
        assert_eq!(copied().unwrap_err().kind(), io::ErrorKind::InvalidFilename);
    }

    fn living() -> OwnedFd {
        pidfd_open(getpid(), PidfdFlags::empty()).unwrap()
    }
}
