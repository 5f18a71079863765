//! The sandbox's file system.
//!
//! The image is shared and read-only, so everything is laid over it: `/proc`, `/dev`, `/dev/shm`, `/tmp` and the
//! overlays. Their sources are detached mounts that the builder made, so nothing here names a path of the host, and
//! all targets are resolved after `pivot_root`, when a symlink of a hostile image can lead nowhere but into the image.
//!
//! An image from scratch may lack those directories. Then, and only then, an overlay file system without an upper layer
//! joins the image with a small tree of the missing directories.

use crate::kernel::{MountAttributes, set_mount_attributes};
use crate::spec::SandboxSpec;
use crate::wire::{Failure, Step};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// A directory that exists on every host; the new root is attached there before it becomes the root.
const SCRATCH: &str = "/proc";
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

/// Makes the image and what lies over it the root of this mount namespace.
pub(super) fn enter(spec: &SandboxSpec, mounts: Vec<OwnedFd>) -> Result<(), Failure> {
    let mut mounts = mounts.into_iter();
    let (Some(image), Some(devices), Some(tmp), Some(shared)) =
        (mounts.next(), mounts.next(), mounts.next(), mounts.next())
    else {
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
    attach(&tmp, "/tmp")?;
    for (overlay, (_, target)) in mounts.zip(&spec.overlays) {
        attach(&overlay, target)?;
    }
    Ok(())
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
    let overlays = spec.overlays.iter().map(|(_, target)| target.as_str());
    let mut missing = Vec::new();
    for target in ["/proc", "/dev", "/tmp"].into_iter().chain(overlays) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(
            &image,
            target,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(_) => {}
            Err(Errno::NOENT) => missing.push(target),
            Err(error) => return Err(error).step(|| format!("use {target} of the image as a directory")),
        }
    }
    if missing.is_empty() {
        return Ok(image);
    }
    join(&image, &missing).step(|| format!("add the directories {} to the image", missing.join(", ")))
}

fn join(image: &OwnedFd, missing: &[&str]) -> Result<OwnedFd, std::io::Error> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "755")?;
    fsconfig_create(&context)?;
    let scratch = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    place(&scratch, SCRATCH)?;
    fs::create_dir(format!("{SCRATCH}/image"))?;
    place(image, &format!("{SCRATCH}/image"))?;
    for target in missing {
        make_directories(&format!("{SCRATCH}/missing"), target)?;
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "lowerdir", format!("{SCRATCH}/image:{SCRATCH}/missing"))?;
    fsconfig_create(&context)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// The umask is empty here, and directories that all may enter are wanted.
fn make_directories(base: &str, target: &str) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(format!("{base}{target}"))
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
    let follow = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount, "", CWD, target, follow).step(|| format!("mount {target}"))
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
