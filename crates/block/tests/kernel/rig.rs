//! What the tests stand on: devices in memory, a session in a directory of its own, and the certainty that all of it
//! is gone afterwards.

use block::kernel::{
    Device, DeviceNumber, DeviceTable, LoopDevice, ReadFailed, Session, Start, clean_left_over, loops_over, mounts,
};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// The longest that a test waits for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A device in memory that counts what is asked of it.
pub(crate) struct Memory {
    pub(crate) content: Bytes,
    pub(crate) reads: AtomicUsize,
    pub(crate) failing: AtomicBool,
    /// A read waits until this many are in it at once.
    gather: usize,
    inside: Mutex<usize>,
    gathered: Condvar,
}

impl Memory {
    pub(crate) fn new(content: impl Into<Bytes>) -> Arc<Memory> {
        Memory::gathering(content, 0)
    }

    pub(crate) fn gathering(content: impl Into<Bytes>, gather: usize) -> Arc<Memory> {
        Arc::new(Memory {
            content: content.into(),
            reads: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            gather,
            inside: Mutex::new(0),
            gathered: Condvar::new(),
        })
    }

    /// Waits for the others; true when they came.
    fn gather(&self) -> bool {
        let mut inside = self.inside.lock().unwrap();
        *inside += 1;
        self.gathered.notify_all();
        let waited = self
            .gathered
            .wait_timeout_while(inside, PATIENCE, |inside| *inside < self.gather)
            .unwrap();
        !waited.1.timed_out()
    }
}

impl Device for Memory {
    fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.failing.load(Ordering::SeqCst) || !self.gather() {
            return Err(ReadFailed);
        }
        // In two pieces, as at the border of two chunks.
        let (start, middle) = (offset as usize, offset as usize + bytes / 2);
        pieces.push(self.content.slice(start..middle));
        pieces.push(self.content.slice(middle..start + bytes));
        Ok(())
    }
}

/// Bytes that differ everywhere and are the same each time.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut content);
    content
}

/// A tree of files in an ext4 image, as `mke2fs` makes it.
pub(crate) fn ext4_image(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let tree = directory.path().join("tree");
    for (name, content) in files {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let image = directory.path().join("image");
    let megabytes = 16 + files.iter().map(|(_, content)| content.len()).sum::<usize>() * 5 / 4 / (1 << 20);
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "4096", "-d"])
        .args([&tree, &image])
        .arg(format!("{megabytes}M"))
        .status()
        .expect("mke2fs, of e2fsprogs, is installed");
    assert!(made.success());
    std::fs::read(image).unwrap()
}

/// A directory to mount sessions and images in, which takes down whatever was mounted there.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = TempDir::with_prefix("lambent-kernel-").unwrap();
        let place = Place { directory };
        std::fs::create_dir(place.session()).unwrap();
        place
    }

    /// Where the session is mounted.
    pub(crate) fn session(&self) -> PathBuf {
        self.directory.path().join("session")
    }

    /// A directory to mount something at.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        let target = self.directory.path().join(name);
        std::fs::create_dir(&target).unwrap();
        target
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    #[track_caller]
    pub(crate) fn assert_no_loops(&self) {
        assert_eq!(loops_over(&self.session()).unwrap(), []);
    }

    #[track_caller]
    pub(crate) fn assert_nothing_mounted(&self) {
        let left: Vec<_> = mounts()
            .unwrap()
            .into_iter()
            .filter(|it| it.target.starts_with(self.path()))
            .collect();
        assert_eq!(left, []);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = clean_left_over(&self.session()) {
            eprintln!("could not clean up {}: {error}", self.session().display());
        }
    }
}

/// A served session. Fields drop in order: the place aborts the session, and then its workers end.
pub(crate) struct Rig {
    pub(crate) place: Place,
    pub(crate) table: DeviceTable,
    pub(crate) session: Option<Session>,
    next: AtomicU64,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let place = Place::new();
        let table = DeviceTable::new();
        let descriptor = Session::mount(&place.session()).unwrap();
        let session = Session::serve(descriptor, table.clone(), 40, Start::Fresh).unwrap();
        Rig {
            place,
            table,
            session: Some(session),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn serve(&self, device: Arc<dyn Device>) -> (DeviceNumber, PathBuf) {
        let number = DeviceNumber(self.next.fetch_add(1, Ordering::SeqCst));
        self.table.insert(number, device);
        (number, self.place.session().join(number.to_string()))
    }

    pub(crate) fn attach(&self, device: Arc<dyn Device>) -> LoopDevice {
        LoopDevice::attach(&self.serve(device).1, 128).unwrap()
    }
}
