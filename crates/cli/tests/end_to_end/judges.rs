//! Tools that are not ours and know the truth.

use crate::lambent::Lambent;
use crate::tree_facts;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Runs a tool; the test fails when it does, and says how to get it when it is missing.
pub(crate) fn tool(command: &mut Command) -> String {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {program:?} ({error}): run `cargo xtask setup`"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a script of bash in a directory.
pub(crate) fn shell(directory: &Path, script: &str) {
    tool(
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(directory),
    );
}

/// Exports an image, and compares it with what umoci unpacks from the same layout.
pub(crate) fn assert_equals_umoci(lambent: &Lambent, name: &str, layout: &str) {
    let image = lambent.export(name);
    fsck(&image);
    let bundle = lambent.path(&format!("{name}-bundle"));
    tool(
        Command::new("umoci")
            .args(["unpack", "--image", &format!("{layout}:latest")])
            .arg(&bundle),
    );
    let expected = bundle.join("rootfs");
    let mounted = Mounted::image(&image);
    // A layer seldom says when its root was modified; umoci then takes the clock, which no second run could repeat.
    tool(
        Command::new("touch")
            .arg("--reference")
            .arg(mounted.path())
            .arg(&expected),
    );
    tree_facts::assert_equal(mounted.path(), &expected);
    std::fs::remove_dir_all(bundle).unwrap();
}

/// Fails unless e2fsck finds nothing at all to say.
pub(crate) fn fsck(image: &Path) {
    let text = tool(Command::new("e2fsck").arg("-fn").arg(image));
    let unusual = text
        .lines()
        .filter(|line| !line.starts_with("Pass ") && !line.contains(" files ("));
    assert_eq!(unusual.count(), 0, "e2fsck -fn complained:\n{text}");
}

/// Something mounted; unmounted when dropped, also when the test fails.
pub(crate) struct Mounted {
    directory: TempDir,
}

impl Mounted {
    pub(crate) fn image(image: &Path) -> Self {
        Self::new(&["-t", "ext4", "-o", "loop,ro,noload", image.to_str().unwrap()])
    }

    /// A file system in memory that is soon full.
    pub(crate) fn small(bytes: u64) -> Self {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        tool(Command::new("mount").args(arguments).arg(directory.path()));
        Self { directory }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.directory.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "umount failed"
        );
    }
}

/// The BLAKE3 hash of a file.
pub(crate) fn hash(file: &PathBuf) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(file).unwrap(), &mut hasher).unwrap();
    hasher.finalize()
}
