//! How an image comes onto this machine: through the mount daemon, or, in tests, as a directory that is there.

use crate::{Client, ClientError, MountRequest, MountedImage, Selector};
use api::{ImageAddress, TierBytes};
use std::fmt;
use std::path::{Path, PathBuf};

/// How often an operation is asked again when the daemon dies meanwhile. Its successor serves what it served.
const ASKS_MAX: u32 = 3;

/// Where images come from. All calls block.
pub trait ImageMounts: fmt::Debug + Send + Sync {
    /// Makes an image's tree visible, on `target` (an empty directory that exists) or elsewhere.
    fn mount(&self, image: &ImageAddress, target: &Path) -> Result<MountedTree, MountError>;

    /// Takes back what [`Self::mount`] gave.
    fn unmount(&self, tree: &Path) -> Result<(), MountError>;

    /// What has been read of the image at a tree since it was attached, by tier.
    fn read_bytes(&self, tree: &Path) -> Result<Vec<TierBytes>, MountError>;

    /// The program that was started from a tree is ready: what it touched is learnt for the next start.
    fn ready(&self, tree: &Path) -> Result<(), MountError>;

    /// Takes away what a process that is dead left mounted under a directory.
    fn clear(&self, directory: &Path) -> Result<(), MountError>;
}

/// An image's tree, where processes can be started from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedTree {
    /// Where it is.
    pub tree: PathBuf,
    /// Whether others had read from the image before.
    pub is_shared: bool,
}

/// An image that is not there.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The daemon refused, or could not be started.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] block::kernel::KernelError),
    /// A directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Directory {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Makes a connection to the mount daemon, which it starts when none runs.
pub type Connect = Box<dyn Fn() -> Result<Client, ClientError> + Send + Sync>;

/// Images through the mount daemon. Each operation has a connection of its own: it is a local socket, and operations
/// of different images do not wait for each other.
pub struct DaemonMounts {
    connect: Connect,
}

impl DaemonMounts {
    /// Uses what `connect` gives.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect }
    }

    fn ask<T>(&self, question: impl Fn(&mut Client) -> Result<T, ClientError>) -> Result<T, MountError> {
        let mut asks = 0;
        loop {
            asks += 1;
            match (self.connect)().and_then(|mut client| question(&mut client)) {
                Err(error) if error.is_lost() && asks < ASKS_MAX => tracing::warn!("asking again: {error}"),
                answer => return Ok(answer?),
            }
        }
    }
}

impl fmt::Debug for DaemonMounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DaemonMounts").finish_non_exhaustive()
    }
}

impl ImageMounts for DaemonMounts {
    fn mount(&self, image: &ImageAddress, target: &Path) -> Result<MountedTree, MountError> {
        let request = MountRequest {
            image: MountedImage::Found(image.clone()),
            target: target.to_owned(),
        };
        let mounted = self.ask(|client| client.mount(request.clone()))?;
        Ok(MountedTree {
            tree: request.target,
            is_shared: mounted.shared,
        })
    }

    fn unmount(&self, tree: &Path) -> Result<(), MountError> {
        let selector = Selector::Directory(tree.to_owned());
        self.ask(|client| client.unmount(selector.clone()))?;
        remove_directory(tree)
    }

    fn read_bytes(&self, tree: &Path) -> Result<Vec<TierBytes>, MountError> {
        let selector = Selector::Directory(tree.to_owned());
        let stats = self.ask(|client| client.stats(selector.clone()))?;
        let tiers = [
            ("memory", stats.memory),
            ("disk", stats.disk),
            ("zone", stats.zone),
            ("origin", stats.origin),
        ];
        Ok(tiers
            .into_iter()
            .map(|(tier, read)| TierBytes {
                tier: tier.to_owned(),
                chunks: read.chunks,
                bytes: read.bytes,
            })
            .collect())
    }

    fn ready(&self, tree: &Path) -> Result<(), MountError> {
        let selector = Selector::Directory(tree.to_owned());
        self.ask(|client| client.ready(selector.clone()))?;
        Ok(())
    }

    fn clear(&self, directory: &Path) -> Result<(), MountError> {
        // The kernel knows what is mounted, whether or not a daemon still serves it; a device goes with its last mount.
        let left = block::kernel::mounts()?.into_iter().map(|mount| mount.target);
        for target in left.filter(|target| target.starts_with(directory) && target != directory) {
            // What cannot be taken away harms nobody: each mount has a directory of its own.
            if let Err(error) = block::kernel::unmount(&target) {
                tracing::warn!("{} stays mounted: {error}", target.display());
            }
        }
        let entries = std::fs::read_dir(directory).map_err(failed("read", directory))?;
        for entry in entries.flatten() {
            if let Err(error) = remove_directory(&entry.path()) {
                tracing::warn!("{error}");
            }
        }
        Ok(())
    }
}

/// Only an empty one: a tree that is still mounted is never deleted file by file.
fn remove_directory(path: &Path) -> Result<(), MountError> {
    std::fs::remove_dir(path).map_err(failed("remove", path))
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MountError {
    let path = path.to_owned();
    move |source| MountError::Directory { action, path, source }
}
