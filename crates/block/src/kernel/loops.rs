//! Loop devices over the session's files.
//!
//! `/sys/block/loopN/loop/backing_file` tells which file a loop device stands over: the kernel's own record, right
//! after any crash of ours.

use super::error::{KernelError, NoFreeLoop, NotALoopDevice, call_failed};
use super::mounts::MountOptions;
use super::{ioctl, mounts};
use rustix::fs::{
    Advice, AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags, fadvise, fstat, major, makedev, minor,
    mknodat, open, statx,
};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The block device's sector, when the file is a whole number of them. 4 KiB is the ext4 block, so the block device
/// starts with the block size that ext4 wants, and mounting keeps the pages that [`LoopDevice::warm`] has read: ext4
/// first sets the smallest size that the sector allows, and a change of size drops the cache.
const BLOCK_BYTES: u32 = 4096;

/// The sector when the file is not: a read of the last, partial block of 4 KiB would fail with EIO.
const SECTOR_BYTES: u32 = 512;

/// Tries to get a loop device before others do. Each lost try means that somebody else attached one in the same
/// millisecond; 64 in a row means that something is wrong.
const ATTACH_TRIES: u32 = 64;

/// The major number of loop devices (`Documentation/admin-guide/devices.txt`).
const LOOP_MAJOR: u32 = 7;

/// Bytes of one read while warming.
const WARM_BYTES: usize = 1024 * 1024;

/// A loop device that stays attached at least as long as this value lives.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    number: u32,
    /// Open, so that AUTOCLEAR waits.
    device: File,
}

/// A loop device and the file below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedLoop {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// The file.
    pub file: PathBuf,
}

impl LoopDevice {
    /// Puts a free loop device over `file`, read-only, with direct I/O. It detaches by itself when this value is gone
    /// and its last mount is too.
    pub fn attach(file: &Path, read_ahead_kb: u32) -> Result<LoopDevice, KernelError> {
        let backing = open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(call_failed("open", file))?;
        let file_bytes = fstat(&backing).map_err(call_failed("look at", file))?.st_size;
        let block_bytes = if file_bytes % i64::from(BLOCK_BYTES) == 0 {
            BLOCK_BYTES
        } else {
            SECTOR_BYTES
        };
        let control_path = Path::new("/dev/loop-control");
        let control = open(control_path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(call_failed("open", control_path))?;
        for _ in 0..ATTACH_TRIES {
            let number =
                ioctl::free_loop(&control).map_err(call_failed("get a free loop device from", control_path))?;
            let device = LoopDevice::open_number(number)?;
            match ioctl::configure_loop(
                &device.device,
                backing.as_fd(),
                block_bytes,
                file.as_os_str().as_bytes(),
            ) {
                Ok(()) => {
                    device.set_read_ahead(read_ahead_kb)?;
                    return Ok(device);
                }
                Err(Errno::BUSY) => {}
                Err(source) => return Err(call_failed("put a loop device over", file)(source)),
            }
        }
        Err(NoFreeLoop { tries: ATTACH_TRIES }.into())
    }

    /// Holds an existing loop device.
    pub fn open(path: &Path) -> Result<LoopDevice, KernelError> {
        let device = open_device(path).map_err(call_failed("open", path))?;
        let node = fstat(&device).map_err(call_failed("look at", path))?;
        if FileType::from_raw_mode(node.st_mode) != FileType::BlockDevice || major(node.st_rdev) != LOOP_MAJOR {
            return Err(NotALoopDevice { path: path.to_owned() }.into());
        }
        Ok(LoopDevice {
            path: path.to_owned(),
            number: minor(node.st_rdev),
            device: device.into(),
        })
    }

    /// Opens `/dev/loopN`, and makes the node first where nothing else makes nodes.
    fn open_number(number: u32) -> Result<LoopDevice, KernelError> {
        let path = PathBuf::from(format!("/dev/loop{number}"));
        match LoopDevice::open(&path) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            other => return other,
        }
        match mknodat(
            CWD,
            &path,
            FileType::BlockDevice,
            Mode::RUSR | Mode::WUSR,
            makedev(LOOP_MAJOR, number),
        ) {
            Ok(()) | Err(Errno::EXIST) => LoopDevice::open(&path),
            Err(source) => Err(call_failed("make the node", &path)(source)),
        }
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the kernel reads ahead of a sequential reader, in KiB.
    pub fn set_read_ahead(&self, kb: u32) -> Result<(), KernelError> {
        set_read_ahead(&self.path, kb)
    }

    /// Reads the device's first `bytes` into its page cache, where ext4 finds its metadata: before or after mounting.
    pub fn warm(&self, bytes: u64) -> Result<(), KernelError> {
        let failed = |source: io::Error| call_failed("read the front of", &self.path)(source);
        let Some(length) = NonZeroU64::new(bytes) else {
            return Ok(());
        };
        fadvise(&self.device, 0, Some(length), Advice::WillNeed).map_err(|errno| failed(errno.into()))?;
        let mut buffer = vec![0; WARM_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let part = (bytes - offset).min(WARM_BYTES as u64) as usize;
            match self.device.read_at(&mut buffer[..part], offset).map_err(failed)? {
                0 => break,
                read => offset += read as u64,
            }
        }
        Ok(())
    }

    /// Mounts the ext4 on this device at `target`, read-only and without its journal. Every mount of one loop device
    /// shares one file system, and so one page cache.
    pub fn mount_ext4(&self, target: &Path, options: MountOptions) -> Result<(), KernelError> {
        let mut flags = MountFlags::RDONLY;
        flags.set(MountFlags::NODEV, options.nodev);
        flags.set(MountFlags::NOSUID, options.nosuid);
        rustix::mount::mount(&self.path, target, "ext4", flags, c"noload")
            .map_err(call_failed("mount an ext4 file system at", target))
    }

    /// Whether the device stands over `file`, one of a session's.
    pub fn is_over(&self, file: &Path) -> io::Result<bool> {
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return Ok(false);
        };
        let directory = mounts::resolve_parent(directory).map_err(io::Error::other)?;
        let below = backing_file(format!("loop{}", self.number).as_ref())?;
        Ok(below.is_some_and(|below| below == directory.join(name)))
    }

    /// Whether the top mount at `target` is of this device. Asks the target alone: the table of all mounts grows with
    /// every mount.
    pub fn is_mounted_at(&self, target: &Path) -> Result<bool, KernelError> {
        let mask = StatxFlags::BASIC_STATS;
        let found = statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW, mask).map_err(call_failed("look at", target))?;
        let is_root = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        Ok(is_root && (found.stx_dev_major, found.stx_dev_minor) == (LOOP_MAJOR, self.number))
    }

    /// Takes the device from its file, at once or when nobody uses it any longer.
    pub(super) fn clear(&self) -> Result<(), KernelError> {
        ioctl::clear_loop(&self.device).map_err(call_failed("detach", &self.path))
    }
}

/// How far the kernel reads ahead of a sequential reader of a block device, in KiB. The kernel waits for the reads that
/// are under way (`queue_ra_store` freezes the queue in Linux 6.15 to 6.18).
pub fn set_read_ahead(block_device: &Path, kb: u32) -> Result<(), KernelError> {
    let name = block_device.file_name().unwrap_or_default();
    let file = Path::new("/sys/block").join(name).join("queue/read_ahead_kb");
    std::fs::write(&file, kb.to_string()).map_err(call_failed("set the read-ahead in", &file))
}

fn open_device(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The loop devices over files in `directory`, a session's. The directory is not looked into, so it may be a dead mount.
pub fn loops_over(directory: &Path) -> io::Result<Vec<AttachedLoop>> {
    let directory = mounts::resolve_parent(directory).map_err(io::Error::other)?;
    let mut loops = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        if !name.as_bytes().starts_with(b"loop") {
            continue;
        }
        let Some(file) = backing_file(&name)? else { continue };
        if file.parent() == Some(&directory) {
            loops.push(AttachedLoop {
                path: Path::new("/dev").join(&name),
                file,
            });
        }
    }
    Ok(loops)
}

/// The file below a loop device; `None` when it has none.
fn backing_file(name: &std::ffi::OsStr) -> io::Result<Option<PathBuf>> {
    match std::fs::read(Path::new("/sys/block").join(name).join("loop/backing_file")) {
        Ok(mut line) => {
            line.pop_if(|byte| *byte == b'\n');
            Ok(Some(std::ffi::OsString::from_vec(line).into()))
        }
        // It has none, or lost it between the two steps; NXIO and NODEV are what a loop device that goes says.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NXIO | Errno::NODEV)) => Ok(None),
        Err(error) => Err(error),
    }
}
