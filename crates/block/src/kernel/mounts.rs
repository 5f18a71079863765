//! What is mounted, and how it is taken away.

use super::error::{KernelError, MountBusy, call_failed};
use rustix::fs::{major, minor, stat};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How an ext4 is mounted; it is always read-only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Device files in the image are not devices.
    pub nodev: bool,
    /// Set-user-id bits in the image have no effect.
    pub nosuid: bool,
}

/// One mount that this process can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's number, unique while it lives.
    pub id: u64,
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// What is mounted, as it was named at mounting.
    pub source: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// The file system's type: "ext4", "fuse".
    pub kind: String,
}

/// All mounts of this mount namespace, in the order in which they were made.
pub fn mounts() -> Result<Vec<MountEntry>, KernelError> {
    let table = Path::new("/proc/self/mountinfo");
    let lines = std::fs::read(table).map_err(call_failed("read", table))?;
    Ok(lines.split(|&byte| byte == b'\n').filter_map(parse_line).collect())
}

/// The mounts of a block device, however it was named when they were made.
pub fn mounts_of(block_device: &Path) -> Result<Vec<MountEntry>, KernelError> {
    let device = stat(block_device)
        .map_err(call_failed("look at", block_device))?
        .st_rdev;
    let device = (major(device), minor(device));
    Ok(mounts()?.into_iter().filter(|mount| mount.device == device).collect())
}

/// Unmounts what is at `target`.
pub fn unmount(target: &Path) -> Result<(), KernelError> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => Err(MountBusy {
            target: target.to_owned(),
        }
        .into()),
        other => other.map_err(call_failed("unmount", target)),
    }
}

/// A line of `/proc/self/mountinfo` (proc(5)), fields parted by one space: id, parent, major:minor, root, target,
/// options, any number of further fields, "-", type, source, options. `None` for what is not such a line.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let (major, minor) = text(fields.nth(1)?)?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let target = unescape(fields.nth(1)?);
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = text(fields.next()?)?.to_owned();
    let source = unescape(fields.next()?);
    Some(MountEntry {
        id,
        device,
        source,
        target,
        kind,
    })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.first_chunk::<3>().filter(|_| byte == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(text(digits)?, 8).ok()
}

/// `path` with its parent's links resolved. The last part is not looked at: it may be a dead mount that answers nobody.
pub(super) fn resolve_parent(path: &Path) -> Result<PathBuf, KernelError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path.to_owned());
    };
    let parent = if parent.as_os_str().as_bytes().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    Ok(parent
        .canonicalize()
        .map_err(call_failed("resolve", parent))?
        .join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_its_optional_fields() {
        let entry = |target: &str| MountEntry {
            id: 36,
            device: (7, 12),
            source: "/dev/loop12".into(),
            target: target.into(),
            kind: "ext4".to_owned(),
        };
        let check = |line: &str, expected: Option<MountEntry>| assert_eq!(parse_line(line.as_bytes()), expected);
        check(
            "36 35 7:12 / /a rw,relatime master:1 x - ext4 /dev/loop12 rw",
            Some(entry("/a")),
        );
        check("36 35 7:12 / /a rw - ext4 /dev/loop12 rw", Some(entry("/a")));
        check(
            r"36 35 7:12 / /a\040b\134c\011 rw - ext4 /dev/loop12 rw",
            Some(entry("/a b\\c\t")),
        );
        check(r"36 35 7:12 / /a\0 rw - ext4 /dev/loop12 rw", Some(entry(r"/a\0")));
        check("36 35 7:12 / /a rw ext4 /dev/loop12 rw", None);
        check("", None);
    }
}
