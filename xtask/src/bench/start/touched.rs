//! How much of an image does a start touch, in pages of 4 KiB?
//!
//! The program runs on a plain loop device that reads nothing ahead, neither for files (`read_ahead_kb` 0) nor for inodes
//! (`inode_readahead_blks` 0), on an empty page cache that is large enough to keep all. The kernel then reads each page
//! and each block of metadata that is used once and nothing else, so the device's own count of sectors is the answer.
//! mincore and fincore would not see metadata, and would have to be asked for every file.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::isolation::drop_caches;
use super::mounted::{LoopDevice, Mounted};
use super::program::run_until_ready;

/// Bytes that the start of the program in an ext4 file touches, from mount to ready.
pub(super) fn bytes(ext4: &Path, folder: &Path) -> Result<u64> {
    drop_caches()?;
    let device = LoopDevice::without_read_ahead(ext4)?;
    let before = device.read_bytes()?;
    let mounted = Mounted::ext4_without_read_ahead(&device.path, folder)?;
    let (_, after) = run_until_ready(mounted.folder(), Instant::now(), || device.read_bytes())?;
    Ok(after - before)
}
