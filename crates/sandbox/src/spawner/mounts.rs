//! Mounts that need the host's rights, made detached: they belong to no mount namespace until init attaches them.

use super::owners;
use crate::inside::{HOSTS_FILE, RESOLVER_FILE};
use crate::kernel::{MountAttributes, set_mount_attributes};
use crate::spec::{SharedAccess, SharedDirectory};
use crate::wire::{Failure, Step};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchown, fstat, makedev, mkdirat, mknodat,
    openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Name, major and minor number. Source: the kernel's Documentation/admin-guide/devices.txt.
const DEVICES: [(&str, u32, u32); 5] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
];
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// Of `/dev`: it holds names only, and is read-only.
const DEVICES_BYTES: u64 = 64 << 10;
/// Of the files of `/etc`: a page for each, and some more.
const FILES_BYTES: u64 = 64 << 10;

/// A tree of the host as the sandbox may see it: read-only, and with its owners 0..=65535 as the same ids inside.
///
/// The range of ids on the host differs from sandbox to sandbox while the tree is shared by many, so the mount maps
/// them, and not the file system.
pub(super) fn image(tree: &Path, user_namespace: impl AsFd) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, tree, flags).step(|| format!("open {} as a mount", tree.display()))?;
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: user_namespace.as_fd().as_raw_fd() as u64,
    };
    set_mount_attributes(&mount, &attributes).step(|| {
        format!(
            "map the owners of {}; its file system must allow idmapped mounts, as ext4 does from Linux 5.12 on",
            tree.display()
        )
    })?;
    Ok(mount)
}

/// A directory of the operator's as the sandbox may see it: its owner is root inside.
///
/// A file system that cannot map owners (NFS, among others) is shown as it is: its files belong to nobody inside, so only
/// what everybody may do can be done. Mounts below the directory are not shown.
pub(super) fn shared(shared: &SharedDirectory, ids_from: u32) -> Result<OwnedFd, Failure> {
    let directory = &shared.directory;
    let shown = directory.display();
    let held = hold(directory).step(|| format!("open {shown}, which must have no symbolic link on its way"))?;
    let facts = fstat(&held).step(|| format!("look at {shown}"))?;
    if shared.access == SharedAccess::ReadWrite && (facts.st_uid == 0 || facts.st_gid == 0) {
        return Err(Errno::PERM).step(|| format!("share {shown} to be written: it belongs to root"));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(&held, "", flags).step(|| format!("open {shown} as a mount"))?;
    let locked = match shared.access {
        SharedAccess::ReadOnly => libc::MOUNT_ATTR_RDONLY,
        SharedAccess::ReadWrite => 0,
    };
    let owners =
        owners::namespace(facts.st_uid, facts.st_gid, ids_from).step(|| format!("map the owner of {shown}"))?;
    let mut attributes = MountAttributes {
        set: locked | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: owners.as_raw_fd() as u64,
    };
    let mut set = set_mount_attributes(&mount, &attributes);
    if set
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
    {
        attributes.set &= !libc::MOUNT_ATTR_IDMAP;
        attributes.user_namespace = 0;
        set = set_mount_attributes(&mount, &attributes);
    }
    set.step(|| format!("protect the mount of {}", directory.display()))?;
    Ok(mount)
}

/// The directory that the operator named and no other: one who may write beside it could put a link in its place.
fn hold(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// A file system in memory, writable by all users inside. Its pages count in the group of the process that fills them.
pub(super) fn memory(name: &str, bytes: u64, owner: u32) -> Result<OwnedFd, Failure> {
    tmpfs(
        bytes,
        "1777",
        owner,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
    .step(|| format!("make {name} of {bytes} bytes"))
}

/// `/dev` with the harmless few, read-only, and a directory for `/dev/shm`.
///
/// AWS's own sandbox has no `/dev/shm`; here it exists, since Python's multiprocessing and PyTorch's data loaders fail
/// without it. There is no `/dev/pts`: a function has no terminal.
pub(super) fn devices(owner: u32) -> Result<OwnedFd, Failure> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = tmpfs(DEVICES_BYTES, "755", owner, flags).step(|| "make /dev".to_owned())?;
    fill_devices(&mount, owner).step(|| "fill /dev".to_owned())?;
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    set_mount_attributes(&mount, &attributes).step(|| "make /dev read-only".to_owned())?;
    Ok(mount)
}

fn fill_devices(mount: &OwnedFd, owner: u32) -> rustix::io::Result<()> {
    let (user, group) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(mount, name, FileType::CharacterDevice, mode, makedev(major, minor))?;
        chownat(mount, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    for (target, name) in LINKS {
        symlinkat(target, mount, name)?;
    }
    mkdirat(mount, "shm", Mode::from_raw_mode(0o755))
}

/// Files that tell of the sandbox's own network, read-only, to be laid over those of the image: `hosts`, and
/// `resolv.conf` if there is anybody to ask.
pub(super) fn files(hostname: &str, resolver: Option<&str>, owner: u32) -> Result<OwnedFd, Failure> {
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = tmpfs(FILES_BYTES, "755", owner, flags).step(|| "make the files of /etc".to_owned())?;
    let hosts = format!("127.0.0.1 localhost {hostname}\n127.0.0.1 sandbox.localdomain sandbox\n::1 localhost\n");
    let resolver = resolver.map(|text| (RESOLVER_FILE, text));
    for (name, text) in [(HOSTS_FILE, hosts.as_str())].into_iter().chain(resolver) {
        write_file(&mount, name, text, owner).step(|| format!("write /etc/{name}"))?;
    }
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    set_mount_attributes(&mount, &attributes).step(|| "make the files of /etc read-only".to_owned())?;
    Ok(mount)
}

fn write_file(directory: &OwnedFd, name: &str, text: &str, owner: u32) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
    fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    File::from(file).write_all(text.as_bytes())
}

fn tmpfs(bytes: u64, mode: &str, owner: u32, flags: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let owner = owner.to_string();
    for (option, value) in [
        ("size", bytes.to_string().as_str()),
        ("mode", mode),
        ("uid", &owner),
        ("gid", &owner),
    ] {
        fsconfig_set_string(&context, option, value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}
