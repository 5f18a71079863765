//! The folder where tasks keep what is slow to make again.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::work::Work;

/// The project's cache folder. Everything in it may be deleted at any time, and is then downloaded or built again.
///
/// | path              | content                                                      |
/// |-------------------|--------------------------------------------------------------|
/// | `venv/`           | Python environment: moto (AWS servers for tests), boto3, pip |
/// | `criu/`           | CRIU of Debian sid, with the libraries that it needs          |
/// | `debs/`           | Debian packages, as debootstrap caches them                  |
/// | `wheels/HASH/`    | wheels of one list of requirements                           |
/// | `corpus/NAME/`    | one finished OCI image layout                                |
/// | `emulators/`      | Lambda emulators, as the bench of functions installs them    |
/// | `runtime-clients/` | Lambda's runtime clients, as the worker's tests install them   |
/// | `demo/`, `bench/` | what a running task works with; gone when it ends            |
/// | `lock`            | locked while a task writes to the cache                      |
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$LAMBENT_CACHE`, else `$XDG_CACHE_HOME/lambent`, else `~/.cache/lambent`.
    pub(crate) fn from_environment() -> Result<Self> {
        let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = folder("LAMBENT_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("lambent")))
            .or_else(|| folder("HOME").map(|path| path.join(".cache/lambent")))
            .ok_or_else(|| anyhow!("no cache folder: set LAMBENT_CACHE, XDG_CACHE_HOME or HOME"))?;
        Ok(Self {
            root: std::path::absolute(root)?,
        })
    }

    /// The Python environment that `cargo xtask setup` makes.
    pub(crate) fn venv(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// The tree of CRIU that `cargo xtask setup` makes.
    pub(crate) fn criu(&self) -> PathBuf {
        self.root.join("criu")
    }

    /// Where finished images are, unless the user names another folder.
    pub(crate) fn corpus(&self) -> PathBuf {
        self.root.join("corpus")
    }

    /// Debian packages, created when absent because debootstrap wants it to exist.
    pub(crate) fn debs(&self) -> Result<PathBuf> {
        self.folder("debs")
    }

    /// An empty folder for a task, on the disk that holds the cache; see [`Work`].
    pub(crate) fn work(&self, task: &str) -> Result<Work> {
        Work::take(self.root.join(task))
    }

    /// Wheels, one sub-folder for each list of requirements.
    pub(crate) fn wheels(&self) -> Result<PathBuf> {
        self.folder("wheels")
    }

    /// What the bench of functions measures beside us.
    pub(crate) fn emulators(&self) -> Result<PathBuf> {
        self.folder("emulators")
    }

    /// Waits until no other task writes to the cache. The lock ends with the returned file, also when killed.
    pub(crate) fn lock(&self) -> Result<File> {
        create(&self.root)?;
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another task that holds {}", path.display());
            file.lock().with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(file)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        create(&path)?;
        Ok(path)
    }
}

fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}
