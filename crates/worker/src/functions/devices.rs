//! The images that are mounted for environments: one mount for each image, shared by all environments that need it.
//!
//! A mount lives as long as somebody holds its [`Device`], and a while longer, so that a function that is invoked now
//! and then finds it. Each mount has a directory of its own name, so that a new mount of an image never waits for, nor
//! meets, the unmounting of its predecessor.

use super::mounts::{ImageMounts, MountError, MountedTree, failed};
use api::{ImageAddress, TierBytes};
use chunk::Account;
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

/// Which image: its name does not matter, and another account may not share even equal bytes.
type ImageKey = (Account, u32, chunk::ChunkId);

/// Why an image could not be mounted, for all who waited for it in turn.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount image {name}: {source}")]
pub(crate) struct DeviceError {
    pub(crate) name: String,
    pub(crate) source: MountError,
}

/// A mounted image. Whoever holds it keeps it mounted.
#[derive(Debug)]
pub(crate) struct Device {
    mounts: Arc<dyn ImageMounts>,
    mounted: OnceCell<MountedTree>,
    /// Whether the record of what starts touch has been ended.
    is_recorded: AtomicBool,
    figures: Mutex<Figures>,
    last_use: Mutex<Instant>,
}

/// What the daemon last said of an image's reads, and when it was asked.
#[derive(Debug, Default)]
struct Figures {
    asked: Option<Instant>,
    read: Vec<TierBytes>,
}

/// All mounted images.
#[derive(Debug)]
pub(crate) struct Devices {
    mounts: Arc<dyn ImageMounts>,
    directory: PathBuf,
    devices: Mutex<HashMap<ImageKey, Arc<Device>>>,
    next: AtomicU64,
}

impl Devices {
    /// Uses a directory, which only its owner may enter (snapshots are mounted in it, with all that processes knew), and
    /// takes away what a dead process left mounted there. Blocks.
    pub(crate) fn open(mounts: Arc<dyn ImageMounts>, directory: PathBuf) -> Result<Self, MountError> {
        std::fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        std::fs::set_permissions(&directory, Permissions::from_mode(0o700)).map_err(failed("protect", &directory))?;
        mounts.clear(&directory)?;
        Ok(Self {
            mounts,
            directory,
            devices: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    /// Mounts an image, or shares its mount. Of many at once one mounts and the others wait for it; when it fails, the
    /// next one tries for itself. The mark says whether nobody has read from the image before.
    pub(crate) async fn get(&self, image: &ImageAddress) -> Result<(Arc<Device>, bool), DeviceError> {
        let key = (image.account.clone(), image.generation, image.manifest);
        let device = Arc::clone(lock(&self.devices).entry(key).or_insert_with(|| {
            Arc::new(Device {
                mounts: Arc::clone(&self.mounts),
                mounted: OnceCell::new(),
                is_recorded: AtomicBool::new(false),
                figures: Mutex::default(),
                last_use: Mutex::new(Instant::now()),
            })
        }));
        let mut is_mine = false;
        let mount = async || {
            is_mine = true;
            self.mount(image).await
        };
        let mounted = device.mounted.get_or_try_init(mount).await;
        let is_shared = mounted.map(|mounted| mounted.is_shared).map_err(|source| DeviceError {
            name: image.name.clone(),
            source,
        })?;
        device.touch();
        Ok((device, is_mine && !is_shared))
    }

    /// Unmounts what nobody has used for a time.
    pub(crate) async fn sweep(&self, idle: Duration) {
        let unused: Vec<Arc<Device>> = {
            let mut devices = lock(&self.devices);
            // What only the map holds nobody can get meanwhile: the map is locked.
            let keys: Vec<ImageKey> = devices
                .iter()
                .filter(|(_, device)| Arc::strong_count(device) == 1 && device.age() >= idle)
                .map(|(key, _)| key.clone())
                .collect();
            keys.iter().filter_map(|key| devices.remove(key)).collect()
        };
        self.unmount(unused).await;
    }

    /// Unmounts everything. Nobody may use any of it.
    pub(crate) async fn close(&self) {
        let all = lock(&self.devices).drain().map(|(_, device)| device).collect();
        self.unmount(all).await;
    }

    async fn unmount(&self, devices: Vec<Arc<Device>>) {
        for device in devices {
            let Some(MountedTree { tree, .. }) = device.mounted.get().cloned() else {
                continue;
            };
            let mounts = Arc::clone(&self.mounts);
            let name = tree.display().to_string();
            match spawn_blocking(move || mounts.unmount(&tree)).await {
                Ok(Ok(())) => {}
                // The next process that opens the directory takes it away.
                Ok(Err(error)) => tracing::warn!("{name} stays mounted: {error}"),
                Err(error) => tracing::warn!("{name} stays mounted: {error}"),
            }
        }
    }

    async fn mount(&self, image: &ImageAddress) -> Result<MountedTree, MountError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // With the process, so that what a dead one left is not met.
        let name = format!("{}-{}-{number}", image.manifest, std::process::id());
        let target = self.directory.join(name);
        let (mounts, image) = (Arc::clone(&self.mounts), image.clone());
        let mount = move || {
            std::fs::create_dir_all(&target).map_err(failed("create", &target))?;
            mounts.mount(&image, &target).inspect_err(|_| {
                // Best effort: an empty directory harms nobody.
                let _ = std::fs::remove_dir(&target);
            })
        };
        spawn_blocking(mount).await.expect("mounting does not panic")
    }
}

impl Device {
    /// The mounted tree.
    pub(crate) fn tree(&self) -> &Path {
        let mounted = self.mounted.get();
        &mounted.expect("a device is given away when it is mounted").tree
    }

    /// What has been read of it by tier; nothing when that cannot be said. Blocks.
    ///
    /// Many starts at once ask at once, and the daemon has a thread for each question: who has to wait for an earlier
    /// question takes the answer of the next one, which was asked after his own, and so was his.
    pub(crate) fn read_bytes(&self) -> Vec<TierBytes> {
        let asked = Instant::now();
        let mut last = lock(&self.figures);
        if last.asked.is_none_or(|last| last < asked) {
            last.asked = Some(Instant::now());
            last.read = self.mounts.read_bytes(self.tree()).unwrap_or_else(|error| {
                tracing::warn!("what a start read of {} is not known: {error}", self.tree().display());
                Vec::new()
            });
        }
        last.read.clone()
    }

    /// Ends the record of what a start touches. There is one for each time that an image is attached, so later starts
    /// need not ask the daemon again. Blocks.
    pub(crate) fn ready(&self) {
        if self.is_recorded.load(Ordering::Relaxed) {
            return;
        }
        match self.mounts.ready(self.tree()) {
            Ok(()) => self.is_recorded.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!("a start from {} is not recorded: {error}", self.tree().display()),
        }
    }

    /// Says that it is used, or was until now.
    pub(crate) fn touch(&self) {
        *lock(&self.last_use) = Instant::now();
    }

    fn age(&self) -> Duration {
        lock(&self.last_use).elapsed()
    }
}

/// Nothing that holds these locks can fail halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Devices, ImageMounts, MountError, MountedTree};
    use api::{ImageAddress, TierBytes};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Counted {
        mounted: AtomicUsize,
        unmounted: AtomicUsize,
        failures: AtomicUsize,
    }

    impl ImageMounts for Counted {
        fn mount(&self, _: &ImageAddress, target: &Path) -> Result<MountedTree, MountError> {
            if self.failures.load(Ordering::Relaxed) > 0 {
                self.failures.fetch_sub(1, Ordering::Relaxed);
                return Err(super::failed("mount", target)(std::io::ErrorKind::Other.into()));
            }
            self.mounted.fetch_add(1, Ordering::Relaxed);
            Ok(MountedTree {
                tree: target.to_owned(),
                is_shared: false,
            })
        }

        fn unmount(&self, tree: &Path) -> Result<(), MountError> {
            self.unmounted.fetch_add(1, Ordering::Relaxed);
            std::fs::remove_dir(tree).map_err(super::failed("remove", tree))
        }

        fn read_bytes(&self, _: &Path) -> Result<Vec<TierBytes>, MountError> {
            Ok(Vec::new())
        }

        fn ready(&self, _: &Path) -> Result<(), MountError> {
            Ok(())
        }

        fn clear(&self, _: &Path) -> Result<(), MountError> {
            Ok(())
        }
    }

    fn image(byte: u8) -> ImageAddress {
        ImageAddress {
            name: format!("image-{byte}"),
            account: "123456789012".parse().unwrap(),
            generation: 1,
            manifest: format!("{byte:02x}").repeat(32).parse().unwrap(),
        }
    }

    fn devices(failures: usize) -> (Arc<Counted>, Arc<Devices>, tempfile::TempDir) {
        let counted = Arc::new(Counted::default());
        counted.failures.store(failures, Ordering::Relaxed);
        let directory = tempfile::tempdir().unwrap();
        let mounts: Arc<dyn ImageMounts> = Arc::clone(&counted) as _;
        let devices = Devices::open(mounts, directory.path().join("mounts")).unwrap();
        (counted, Arc::new(devices), directory)
    }

    #[tokio::test]
    async fn many_at_once_mount_once() {
        let (counted, devices, _directory) = devices(0);
        let gets: Vec<_> = (0..20)
            .map(|number| {
                let devices = Arc::clone(&devices);
                tokio::spawn(async move { devices.get(&image(number % 2)).await.unwrap() })
            })
            .collect();
        for get in gets {
            assert!(get.await.unwrap().0.tree().is_dir());
        }
        assert_eq!(counted.mounted.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_shared() {
        let (counted, devices, _directory) = devices(1);
        devices.get(&image(1)).await.unwrap_err();
        devices.get(&image(1)).await.unwrap();
        assert_eq!(counted.mounted.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn only_what_nobody_uses_is_unmounted() {
        let (counted, devices, directory) = devices(0);
        let (held, _) = devices.get(&image(1)).await.unwrap();
        drop(devices.get(&image(2)).await.unwrap());
        devices.sweep(Duration::from_secs(3600)).await;
        assert_eq!(counted.unmounted.load(Ordering::Relaxed), 0);
        devices.sweep(Duration::ZERO).await;
        assert_eq!(counted.unmounted.load(Ordering::Relaxed), 1);
        assert!(held.tree().is_dir());
        drop(held);
        devices.sweep(Duration::ZERO).await;
        assert_eq!(std::fs::read_dir(directory.path().join("mounts")).unwrap().count(), 0);
    }
}
