//! Mounts of the bench's own: tmpfs and ext4 by the kernel's plain loop device. They go with their guards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// A mounted folder.
pub(super) struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    /// A file system in memory: the page cache's dropping does not reach it.
    pub(super) fn tmpfs(folder: &Path) -> Result<Self> {
        Self::mount(folder, &["-t", "tmpfs", "tmpfs"])
    }

    /// A file with ext4, read-only, as `mount -o loop` does it.
    pub(super) fn ext4(file: &Path, folder: &Path) -> Result<Self> {
        Self::mount(
            folder,
            &["-t", "ext4", "-o", "ro,noload,loop", &file.display().to_string()],
        )
    }

    /// A loop device that is there already, as ext4 that reads nothing ahead.
    pub(super) fn ext4_without_read_ahead(device: &str, folder: &Path) -> Result<Self> {
        Self::mount(
            folder,
            &["-t", "ext4", "-o", "ro,noload,inode_readahead_blks=0", device],
        )
    }

    /// Where.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn mount(folder: &Path, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        process::run(Command::new("mount").args(arguments).arg(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.folder) {
            eprintln!("{error:#}");
        }
    }
}

fn unmount(folder: &Path) -> Result<()> {
    // Namespaces of a program that has ended go a moment later, and their copies of the mount with them; this one goes now.
    process::run(Command::new("umount").arg(folder)).with_context(|| format!("unmounting {}", folder.display()))?;
    Ok(())
}

/// An attached loop device without a mount.
pub(super) struct LoopDevice {
    pub(super) path: String,
}

impl LoopDevice {
    /// Read-only, and with no read-ahead of the kernel.
    pub(super) fn without_read_ahead(file: &Path) -> Result<Self> {
        let path = process::run(
            Command::new("losetup")
                .args(["--find", "--show", "--read-only"])
                .arg(file),
        )?;
        let device = Self {
            path: path.trim().to_owned(),
        };
        process::run(Command::new("blockdev").args(["--setra", "0", &device.path]))?;
        Ok(device)
    }

    /// Bytes that were read from it so far.
    pub(super) fn read_bytes(&self) -> Result<u64> {
        let name = self.path.trim_start_matches("/dev/");
        let text = fs::read_to_string(format!("/sys/block/{name}/stat"))?;
        // Source: the kernel's Documentation/block/stat.rst: the third value is sectors read, of 512 bytes.
        let sectors: u64 = text
            .split_whitespace()
            .nth(2)
            .context("a disk's stat has read sectors")?
            .parse()?;
        Ok(sectors * 512)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = process::run(Command::new("losetup").args(["--detach", &self.path])) {
            eprintln!("{error:#}");
        }
    }
}
