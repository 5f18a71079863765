//! What is remembered of a finished image, beside its folder: `corpus/NAME.json`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The recipe that made an image, and the figures of its build.
#[derive(Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Name and version of the recipe, and the manifest digest of the parent.
    pub(super) recipe: String,
    /// Layers in the manifest.
    pub(super) layers: usize,
    /// Regular files in the unpacked image, each name counted.
    pub(super) files: u64,
    /// Bytes of all layers as uncompressed tar.
    pub(super) bytes: u64,
    /// Seconds that the build took, with its checks and without its parents.
    pub(super) seconds: u64,
}

impl Stamp {
    /// The stamp of a finished image; `None` when the image is absent or its stamp cannot be read.
    pub(super) fn read(corpus: &Path, name: &str) -> Option<Self> {
        let text = fs::read(path(corpus, name)).ok()?;
        serde_json::from_slice(&text)
            .ok()
            .filter(|_| corpus.join(name).is_dir())
    }

    /// Writes the stamp, in one step.
    pub(super) fn write(&self, corpus: &Path, name: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(corpus)?;
        serde_json::to_writer_pretty(&file, self)?;
        file.persist(path(corpus, name))
            .with_context(|| format!("writing the stamp of {name}"))?;
        Ok(())
    }

    /// Removes the stamp if there is one.
    pub(super) fn remove(corpus: &Path, name: &str) -> Result<()> {
        match fs::remove_file(path(corpus, name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing the stamp of {name}"))
            }
            _ => Ok(()),
        }
    }
}

fn path(corpus: &Path, name: &str) -> PathBuf {
    corpus.join(format!("{name}.json"))
}
