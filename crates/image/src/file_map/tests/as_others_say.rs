//! The map beside what the kernel and debugfs say of the same image. Needs e2fsprogs, and root for a mount.

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A mounted image; unmounted when dropped, also when the test fails.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(image: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a mount point");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "ext4", "-o", "loop,ro,noload"])
            .arg(image)
            .arg(directory.path());
        assert!(
            mount.status().expect("mount runs").success(),
            "the kernel refused the image"
        );
        Self(directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "umount failed"
        );
    }
}

/// Writes the image, with holes for its data.
fn export(image: &Image) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&image.metadata).expect("write the metadata");
    file.as_file()
        .set_len(u64::from(image.blocks()) * BLOCK)
        .expect("size the image");
    file
}

fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut stdin = tempfile::tempfile().expect("a file");
    stdin.write_all(input).expect("write the input");
    std::io::Seek::rewind(&mut stdin).expect("rewind the input");
    let output = command
        .stdin(Stdio::from(stdin))
        .stderr(Stdio::null())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{command:?} failed");
    output.stdout
}

/// Inode and size of each regular file by its first path in path order, as the kernel lists them.
fn listed(root: &Path) -> BTreeMap<Vec<u8>, (u64, u64)> {
    let mut seen = HashSet::new();
    let mut files = BTreeMap::new();
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let full = root.join(std::ffi::OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(&path)));
        let metadata = fs::symlink_metadata(&full).expect("metadata");
        if metadata.is_file() && seen.insert(metadata.ino()) {
            files.insert(path, (metadata.ino(), metadata.size()));
        } else if metadata.is_dir() {
            let names = fs::read_dir(&full).expect("directory");
            let mut names: Vec<_> = names
                .map(|entry| entry.expect("entry").file_name().into_vec())
                .collect();
            names.sort_by(|left, right| right.cmp(left));
            ahead.extend(names.into_iter().map(|name| [&path, &b"/"[..], &name].concat()));
        }
    }
    files
}

/// The numbers of a line of `filefrag` or `debugfs`.
fn numbers(line: &str) -> Vec<u32> {
    let words = line.split(|character: char| !character.is_ascii_digit());
    words
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().expect("a number of 32 bits"))
        .collect()
}

/// Each file's extents on the device, by FIEMAP.
fn fiemap(root: &Path, paths: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<Range<u32>>> {
    let input: Vec<u8> = paths.flat_map(|path| [b".", &path[..], b"\0"].concat()).collect();
    let mut command = Command::new("xargs");
    command.args(["-0", "filefrag", "-e", "-b4096"]).current_dir(root);
    let text = output(&mut command, &input);
    let mut all: Vec<Vec<Range<u32>>> = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        if line.starts_with("File size of ") {
            all.push(Vec::new());
        } else if line.contains("..") && line.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            // Extent, first and last block of the file, first and last block of the device.
            let numbers = numbers(line);
            all.last_mut()
                .expect("a file before its extents")
                .push(numbers[3]..numbers[4] + 1);
        }
    }
    all
}

/// The extents in each inode's tree, by debugfs.
fn debugfs(image: &Path, inodes: impl Iterator<Item = u64>) -> Vec<Vec<Range<u32>>> {
    let input: String = inodes.map(|inode| format!("dump_extents -l <{inode}>\n")).collect();
    let text = output(
        Command::new("debugfs").args(["-f", "/dev/stdin"]).arg(image),
        input.as_bytes(),
    );
    let mut all: Vec<Vec<Range<u32>>> = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        if line.starts_with("debugfs: ") {
            all.push(Vec::new());
        } else if line.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            // Level of levels, entry of entries, first and last block of the file, then of the device.
            let numbers = numbers(line);
            all.last_mut()
                .expect("an inode before its extents")
                .push(numbers[6]..numbers[7] + 1);
        }
    }
    all
}

/// Extents that meet as one: FIEMAP joins those that meet in the file as well.
fn joined(extents: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut joined: Vec<Range<u32>> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.end == extent.start => last.end = extent.end,
            _ => joined.push(extent.clone()),
        }
    }
    joined
}

fn check_against_others(image: &Image) {
    let exported = export(image);
    let mounted = Mounted::new(exported.path());
    let listed = listed(mounted.0.path());
    let by_debugfs = debugfs(exported.path(), listed.values().map(|(inode, _)| *inode));
    let by_kernel = fiemap(mounted.0.path(), listed.keys().cloned());
    assert_eq!((by_debugfs.len(), by_kernel.len()), (listed.len(), listed.len()));
    let found = places(&image.map());
    assert_eq!(found.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
    let others = listed.values().zip(by_debugfs.iter().zip(&by_kernel));
    for ((path, (bytes, extents)), ((_, size), (debugfs, kernel))) in found.iter().zip(others) {
        assert_eq!((bytes, extents), (size, debugfs), "{}", path.escape_ascii());
        assert_eq!(joined(extents), joined(kernel), "{}", path.escape_ascii());
    }
}

#[test]
fn paths_sizes_and_extents_are_those_of_kernel_and_debugfs() {
    check_against_others(&many_shapes());
}

#[test]
fn a_large_directory_is_that_of_kernel_and_debugfs() {
    let mut image = Builder::new();
    for number in 0..100_000 {
        image.file(format!("large/file-number-{number:06}"), number % 100 / 90 * number);
    }
    check_against_others(&image.finish());
}

#[test]
fn file_systems_of_others_are_refused_by_the_name_of_a_feature() {
    let refused = |options: &[&str]| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(16 << 20).expect("size the image");
        output(Command::new("mke2fs").arg("-qF").args(options).arg(file.path()), b"");
        let mut read = |offset: u64, buffer: &mut [u8]| {
            std::os::unix::fs::FileExt::read_exact_at(&File::open(file.path())?, buffer, offset)
        };
        FileMap::read(1 << 20, &mut read)
            .expect_err("not an image of ours")
            .to_string()
    };
    for (options, feature) in [
        (&["-t", "ext4"][..], "has the feature has_journal (compat 0x4)"),
        (&["-t", "ext2"], "has the feature resize_inode (compat 0x10)"),
        (
            &["-t", "ext4", "-O", "^has_journal,^resize_inode,sparse_super2"],
            "has the feature 64bit (incompat 0x80)",
        ),
    ] {
        let error = refused(options);
        assert!(error.contains(feature), "{options:?}: {error}");
    }
}
