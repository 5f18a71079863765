//! Where results go, in order. A file and an object appear when they are whole.

use super::Place;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::{UserObject, UserObjectWriter};

/// An open output.
pub(crate) enum Sink {
    Standard(Stdout),
    File(FileSink),
    Object(Box<UserObjectWriter>),
}

/// A file under a name of its own, until it is whole.
pub(crate) struct FileSink {
    writer: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl Sink {
    pub(crate) async fn open(place: &Place, object: impl FnOnce() -> Result<UserObject>) -> Result<Self> {
        Ok(match place {
            Place::Standard => Self::Standard(std::io::stdout()),
            Place::File(path) => Self::File(FileSink::create(path)?),
            Place::Object(_) => Self::Object(Box::new(object()?.write().await?)),
        })
    }

    /// Writes a result and a newline.
    pub(crate) async fn write(&mut self, result: &[u8]) -> Result<()> {
        let parts = [result, b"\n"];
        match self {
            Self::Standard(standard) => {
                let written = parts.iter().try_for_each(|part| standard.write_all(part));
                written.context("cannot write to standard output")
            }
            Self::File(file) => {
                let written = parts.iter().try_for_each(|part| file.writer.write_all(part));
                written.with_context(|| format!("cannot write {}", file.partial.display()))
            }
            Self::Object(object) => {
                for part in parts {
                    object.write(part).await?;
                }
                Ok(())
            }
        }
    }

    /// Makes the output appear.
    pub(crate) async fn finish(self) -> Result<()> {
        match self {
            Self::Standard(mut standard) => standard.flush().context("cannot write to standard output"),
            Self::File(file) => file.finish(),
            Self::Object(object) => Ok(object.finish().await?),
        }
    }

    /// Gives up what was written.
    pub(crate) async fn abandon(self) {
        match self {
            Self::Standard(_) => {}
            // The next run writes it anew.
            Self::File(file) => drop(std::fs::remove_file(&file.partial)),
            Self::Object(object) => object.abort().await,
        }
    }
}

impl FileSink {
    fn create(path: &Path) -> Result<Self> {
        let partial = beside(path, "partial");
        let mut options = File::options();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o666)
            .open(&partial);
        let file = file.with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(Self {
            writer: BufWriter::new(file),
            partial,
            path: path.to_owned(),
        })
    }

    /// Durable before it has its name: the journal goes afterwards.
    fn finish(self) -> Result<()> {
        let file = self.writer.into_inner().map_err(std::io::IntoInnerError::into_error);
        let written = file
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&self.partial, &self.path))
            .and_then(|()| File::open(directory(&self.path))?.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A file's name with an ending more.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
