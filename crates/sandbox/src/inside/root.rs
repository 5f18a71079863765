//! The sandbox's file system.
//!
//! The image is shared and read-only, so everything is laid over it: `/proc`, `/dev`, `/dev/shm`, `/tmp`, a file or two
//! of `/etc`, and the overlays. Their sources are detached mounts that the builder made, so nothing here names a path of the host, and
//! all targets are resolved after `pivot_root`, when a symlink of a hostile image can lead nowhere but into the image.
//!
//! An image from scratch may lack those directories and files. Then, and only then, an overlay file system without an upper layer
//! joins the image with a small tree of what is missing.

use crate::kernel::{MountAttributes, set_mount_attributes};
use crate::spec::{SandboxNetwork, SandboxSpec};
use crate::wire::{Failure, Step};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A directory that exists on every host; the new root is attached there before it becomes the root.
const SCRATCH: &str = "/proc";
/// Names in `/etc` of the files that the builder made.
pub(crate) const HOSTS_FILE: &str = "hosts";
pub(crate) const RESOLVER_FILE: &str = "resolv.conf";
/// Of `/proc`, writable for root inside or dangerous to write; as in the OCI runtimes' defaults (runc, Docker).
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Of `/proc`, telling of the host; same source.
const MASKED_FILES: [&str; 7] = [
    "interrupts",
    "kcore",
    "key-users",
    "keys",
    "latency_stats",
    "sched_debug",
    "timer_list",
];
const MASKED_DIRECTORIES: [&str; 3] = ["acpi", "asound", "scsi"];

/// Makes the image and what lies over it the root of this mount namespace; gives the mount of `/tmp`.
pub(super) fn enter(spec: &SandboxSpec, mounts: Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    let mut mounts = mounts.into_iter();
    let (Some(image), Some(devices), Some(files), Some(tmp), Some(shared)) = (
        mounts.next(),
        mounts.next(),
        mounts.next(),
        mounts.next(),
        mounts.next(),
    ) else {
        return Err(Failure {
            step: "get the mounts from the builder".to_owned(),
            errno: libc::EPROTO,
        });
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step(|| "detach from the host's mounts".to_owned())?;
    // The kernel gives a new one only to who can see a whole one: before the host's is out of sight.
    let processes = processes().step(|| "make /proc; the host's own /proc must not be masked".to_owned())?;
    pivot(&complete(spec, image)?)?;
    attach(&processes, "/proc")?;
    attach(&devices, "/dev")?;
    mask(&processes)?;
    attach(&shared, "/dev/shm")?;
    lay_files(&files, spec)?;
    attach(&tmp, "/tmp")?;
    for (mount, target) in mounts.zip(spec.targets()) {
        attach(&mount, target)?;
    }
    Ok(tmp)
}

/// A mount that is attached nowhere gives no part of itself, so it lies on `/tmp` for a moment.
fn lay_files(files: &OwnedFd, spec: &SandboxSpec) -> Result<(), Failure> {
    attach(files, "/tmp")?;
    for name in files_of(spec) {
        let laid = clone(files, name).and_then(|file| attach_to(&file, &format!("/etc/{name}")));
        match laid {
            // A symlink of the image that leads nowhere: nothing that reads it finds anything, as before.
            Err(Errno::NOENT) => {}
            other => other.step(|| format!("mount /etc/{name}"))?,
        }
    }
    unmount("/tmp", UnmountFlags::DETACH).step(|| "take the files of /etc from /tmp".to_owned())
}

fn files_of(spec: &SandboxSpec) -> &'static [&'static str] {
    match spec.network {
        SandboxNetwork::Off => &[HOSTS_FILE],
        SandboxNetwork::Outbound => &[HOSTS_FILE, RESOLVER_FILE],
    }
}

fn processes() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// The image itself if it has all targets, or else joined with those that it lacks.
fn complete(spec: &SandboxSpec, image: OwnedFd) -> Result<OwnedFd, Failure> {
    let mut missing = Vec::new();
    for target in ["/proc", "/dev", "/tmp"].into_iter().chain(spec.targets()) {
        if !has(&image, target, OFlags::DIRECTORY)? {
            missing.push((target.to_owned(), Kind::Directory));
        }
    }
    for name in files_of(spec) {
        let target = format!("/etc/{name}");
        if !has(&image, &target, OFlags::empty())? {
            missing.push((target, Kind::File));
        }
    }
    if missing.is_empty() {
        return Ok(image);
    }
    let names = || missing.iter().map(|(target, _)| target.as_str()).collect::<Vec<_>>();
    join(&image, &missing).step(|| format!("add {} to the image", names().join(", ")))
}

/// What a target has to be.
#[derive(Clone, Copy)]
enum Kind {
    Directory,
    File,
}

fn has(image: &OwnedFd, target: &str, kind: OFlags) -> Result<bool, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | kind;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(image, target, flags, Mode::empty(), resolve) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error).step(|| format!("use {target} of the image")),
    }
}

fn join(image: &OwnedFd, missing: &[(String, Kind)]) -> Result<OwnedFd, std::io::Error> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "755")?;
    fsconfig_create(&context)?;
    let scratch = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    place(&scratch, SCRATCH)?;
    fs::create_dir(format!("{SCRATCH}/image"))?;
    place(image, &format!("{SCRATCH}/image"))?;
    for (target, kind) in missing {
        make(Path::new(&format!("{SCRATCH}/missing{target}")), *kind)?;
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "lowerdir", format!("{SCRATCH}/image:{SCRATCH}/missing"))?;
    fsconfig_create(&context)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// The umask is empty here, and directories that all may enter are wanted.
fn make(path: &Path, kind: Kind) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let directory = match kind {
        Kind::Directory => path,
        Kind::File => path.parent().unwrap_or(path),
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(directory)?;
    match kind {
        Kind::Directory => Ok(()),
        Kind::File => fs::write(path, ""),
    }
}

/// `pivot_root` and not `chroot`: afterwards the host's tree is not hidden but gone.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    place(root, SCRATCH).step(|| "attach the root".to_owned())?;
    let pivoted = rustix::process::fchdir(root)
        .and_then(|()| rustix::process::pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir("/"));
    pivoted.step(|| "change the root".to_owned())
}

fn place(mount: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn attach(mount: &OwnedFd, target: &str) -> Result<(), Failure> {
    attach_to(mount, target).step(|| format!("mount {target}"))
}

fn attach_to(mount: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    let follow = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount, "", CWD, target, follow)
}

/// Hides or locks parts of `/proc`. A kernel without one of them has nothing to hide.
fn mask(processes: &OwnedFd) -> Result<(), Failure> {
    for name in READ_ONLY {
        cover(processes, name, clone(processes, name))?;
    }
    for name in MASKED_FILES {
        cover(processes, name, clone(CWD, "/dev/null"))?;
    }
    for name in MASKED_DIRECTORIES {
        // Still empty: the writable file system is attached there later.
        cover(processes, name, clone(CWD, "/dev/shm"))?;
    }
    Ok(())
}

/// Lays a read-only mount over an entry of `/proc`, if that exists.
fn cover(processes: &OwnedFd, name: &str, mount: rustix::io::Result<OwnedFd>) -> Result<(), Failure> {
    let laid = mount.map_err(std::io::Error::from).and_then(|mount| {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            clear: 0,
            propagation: libc::MS_PRIVATE,
            user_namespace: 0,
        };
        set_mount_attributes(&mount, &attributes)?;
        Ok(move_mount(
            &mount,
            "",
            processes,
            name,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )?)
    });
    match laid {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.step(|| format!("cover /proc/{name}")),
    }
}

fn clone(directory: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    open_tree(
        directory,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
}
