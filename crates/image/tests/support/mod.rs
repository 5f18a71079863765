//! What the tests of file systems share: flattening, checking, mounting and comparing. All of it needs root.

pub(crate) mod tree_facts;

use image::device::{Device, FlattenSettings, flatten};
use image::placement::PlacementSizes;
use image::read_at::FileRange;
use image::tree::TreeLimits;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Limits far above what tests make.
pub(crate) const SETTINGS: FlattenSettings = FlattenSettings {
    limits: TreeLimits {
        unpacked_bytes_max: 64 << 30,
        entries_max: 1 << 20,
    },
    sizes: PlacementSizes {
        large_bytes_min: image::placement::LARGE_BYTES_MIN,
        group_bytes_mean: image::placement::GROUP_BYTES_MEAN,
        group_bytes_max: image::placement::GROUP_BYTES_MAX,
    },
};

/// A tar file as a plain layer.
pub(crate) fn layer(path: &Path) -> FileRange {
    let file = File::open(path).expect("the layer exists");
    let bytes = file.metadata().expect("the layer has a size").len();
    FileRange::whole(Arc::new(file), 0, bytes)
}

/// Flattens plain tar files.
pub(crate) fn device(layers: &[&Path]) -> Device {
    let scratch = tempfile::tempfile().expect("a scratch file");
    flatten(layers.iter().map(|path| layer(path)).collect(), &SETTINGS, scratch).expect("layers flatten")
}

/// Writes the device to a file, leaving zero chunks as holes.
pub(crate) fn write_image(device: &Device, path: &Path) {
    let mut file = File::create(path).expect("create the image");
    file.set_len(device.bytes()).expect("size the image");
    let mut buffer = Vec::new();
    for chunk in 0..device.chunks() {
        device.read_chunk(chunk, &mut buffer).expect("read a chunk");
        if buffer.iter().any(|byte| *byte != 0) {
            use std::io::{Seek, SeekFrom};
            file.seek(SeekFrom::Start(u64::from(chunk) * buffer.len() as u64))
                .expect("seek");
            file.write_all(&buffer).expect("write a chunk");
        }
    }
}

/// Fails unless e2fsck finds nothing at all to say.
pub(crate) fn fsck(image: &Path) {
    let output = Command::new("e2fsck")
        .args(["-fn"])
        .arg(image)
        .output()
        .expect("e2fsck runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "e2fsck -fn failed:\n{text}");
    // Five passes and the summary; any further line would be a complaint.
    let unusual: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("Pass ") && !line.contains(" files ("))
        .collect();
    assert!(unusual.is_empty(), "e2fsck -fn complained:\n{text}");
}

/// Runs a shell script in `directory`; the test fails when it does.
pub(crate) fn shell(directory: &Path, script: &str) {
    let status = Command::new("bash")
        .args(["-euc", script])
        .current_dir(directory)
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("bash runs").success(), "script failed: {script}");
}

/// A mounted image; unmounted when dropped, also when the test fails.
pub(crate) struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    pub(crate) fn new(image: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a mount point");
        let status = Command::new("mount")
            .args(["-t", "ext4", "-o", "loop,ro,noload"])
            .arg(image)
            .arg(directory.path())
            .status();
        assert!(status.expect("mount runs").success(), "the kernel refused the image");
        Self { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
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
