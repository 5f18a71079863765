//! Sandboxes for environments, from a spawner that is started again when it dies.

use super::pool::EnvironmentId;
use api::{Lease, Network};
use sandbox::{Sandbox, SandboxError, SandboxNetwork, SandboxSpec, SharedDirectory, Spawner, SpawnerSettings};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// One MB as Lambda counts them, in bytes.
pub(crate) const MB: u64 = 1024 * 1024;

/// Memory that Lambda gives with one processor, MB. Source: Lambda's developer guide, "Configure memory".
const MEMORY_OF_PROCESSOR_MB: u32 = 1769;

/// Most processors that Lambda gives, in thousandths: six, from 10,240 MB on. Same source.
const PROCESSOR_MILLIS_MAX: u32 = 6000;

/// Processes and threads, and open files, of an environment. Source: Lambda's quotas, 1,024 each.
const PROCESSES_MAX: u32 = 1024;
const FILES_MAX: u64 = 1024;

/// The host name that functions see. It says nothing, so that nobody builds on it.
const HOSTNAME: &str = "lambda";

/// Makes sandboxes.
#[derive(Debug)]
pub(crate) struct Sandboxes {
    settings: SpawnerSettings,
    spawner: Mutex<Arc<Spawner>>,
}

/// The trees that a sandbox shows: the root and what stands in it.
#[derive(Clone, Debug)]
pub(crate) struct Trees {
    pub(crate) root: PathBuf,
    pub(crate) overlays: Vec<(PathBuf, String)>,
    pub(crate) shared: Vec<SharedDirectory>,
}

impl Sandboxes {
    /// Starts the spawner. Blocks.
    pub(crate) fn start(settings: SpawnerSettings) -> Result<Self, SandboxError> {
        let spawner = Mutex::new(Arc::new(Spawner::start(&settings)?));
        Ok(Self { settings, spawner })
    }

    /// Makes a sandbox, if need be with a new spawner. Blocks.
    pub(crate) fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, SandboxError> {
        let spawner = self.current();
        match spawner.create(spec) {
            Err(SandboxError::SpawnerGone { source }) => {
                tracing::error!("the spawner of sandboxes died, and with it all environments: {source}");
                self.replace(&spawner)?.create(spec)
            }
            made => made,
        }
    }

    /// The one that makes sandboxes now.
    pub(crate) fn current(&self) -> Arc<Spawner> {
        Arc::clone(&self.spawner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, dead: &Arc<Spawner>) -> Result<Arc<Spawner>, SandboxError> {
        let mut current = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, dead) {
            *current = Arc::new(Spawner::start(&self.settings)?);
        }
        Ok(Arc::clone(&current))
    }
}

/// The least share of the processors during initialisation. Lambda, too, gives small functions more than their share then
/// (its guide does not say how much): with 72 thousandths of a processor, a function of 128 MB would import for seconds.
const INIT_PROCESSOR_MILLIS: u32 = 2000;

/// What a sandbox for a lease is. `name` has to be new.
pub(crate) fn specification(lease: &Lease, name: String, trees: Trees) -> SandboxSpec {
    SandboxSpec {
        name,
        root: trees.root,
        overlays: trees.overlays,
        shared: trees.shared,
        hostname: HOSTNAME.to_owned(),
        tmp_bytes: u64::from(lease.tmp_mb) * MB,
        // A file in /tmp counts as memory of the group, and Lambda's /tmp is not part of a function's memory.
        memory_bytes: u64::from(lease.memory_mb + lease.tmp_mb) * MB,
        cpu_millis: processor_millis(lease.memory_mb).max(INIT_PROCESSOR_MILLIS),
        processes_max: PROCESSES_MAX,
        files_max: FILES_MAX,
        network: match lease.network {
            Network::Off => SandboxNetwork::Off,
            Network::Outbound => SandboxNetwork::Outbound,
        },
    }
}

/// A name for an environment's sandbox; each try has its own, for the last one's may still be on its way out.
pub(crate) fn sandbox_name(id: EnvironmentId, tries: u32) -> String {
    format!("environment-{}-{tries}", id.0)
}

/// The directory of a mounted image that an overlay shows, if it stays inside the tree: an image is foreign.
pub(crate) fn overlay_source(tree: &Path, source: &str) -> Option<PathBuf> {
    let tree = tree.canonicalize().ok()?;
    let directory = tree.join(source.trim_start_matches('/')).canonicalize().ok()?;
    (directory.starts_with(&tree) && directory.is_dir()).then_some(directory)
}

/// The share of the processors that an environment has once it is initialised, 1,000 for one.
pub(crate) fn processor_millis(memory_mb: u32) -> u32 {
    let millis = u64::from(memory_mb) * 1000 / u64::from(MEMORY_OF_PROCESSOR_MB);
    u32::try_from(millis).unwrap_or(u32::MAX).clamp(1, PROCESSOR_MILLIS_MAX)
}

#[cfg(test)]
mod tests {
    use super::{overlay_source, processor_millis};
    use std::os::unix::fs::symlink;

    #[test]
    fn processors_are_in_proportion_to_memory() {
        for (memory_mb, expected) in [(128, 72), (1769, 1000), (3538, 2000), (10_240, 5788), (32_768, 6000)] {
            assert_eq!(processor_millis(memory_mb), expected);
        }
    }

    #[test]
    fn an_overlay_stays_in_its_image() {
        let (image, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(image.path().join("task")).unwrap();
        symlink(outside.path(), image.path().join("out")).unwrap();
        assert!(overlay_source(image.path(), "task").is_some());
        assert_eq!(overlay_source(image.path(), "out"), None);
        assert_eq!(overlay_source(image.path(), "../"), None);
        assert_eq!(overlay_source(image.path(), "missing"), None);
    }
}
