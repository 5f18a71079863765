//! Where results go, in order. A file and an object appear when they are whole.

use super::Place;
use super::parquet::Results;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::{UserObject, UserObjectWriter};

/// An open output.
pub(crate) struct Sink {
    target: Target,
    /// None for JSON lines.
    parquet: Option<Results>,
}

/// Where its bytes go.
enum Target {
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
    /// Opens it; its name says whether it is Parquet.
    pub(crate) async fn open(place: &Place, object: impl FnOnce() -> Result<UserObject>) -> Result<Self> {
        let parquet = place.is_parquet().then(Results::new).transpose()?;
        let target = match place {
            Place::Standard => Target::Standard(std::io::stdout()),
            Place::File(path) => Target::File(FileSink::create(path)?),
            Place::Object(_) => Target::Object(Box::new(object()?.write().await?)),
        };
        Ok(Self { target, parquet })
    }

    /// Writes a result.
    pub(crate) async fn write(&mut self, result: &[u8]) -> Result<()> {
        match &mut self.parquet {
            Some(results) => self.target.write(&results.add(result)?).await,
            None => {
                self.target.write(result).await?;
                self.target.write(b"\n").await
            }
        }
    }

    /// Makes the output appear.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if let Some(results) = self.parquet.take() {
            self.target.write(&results.finish()?).await?;
        }
        match self.target {
            Target::Standard(mut standard) => standard.flush().context("cannot write to standard output"),
            Target::File(file) => file.finish(),
            Target::Object(object) => Ok(object.finish().await?),
        }
    }

    /// Gives up what was written.
    pub(crate) async fn abandon(self) {
        match self.target {
            Target::Standard(_) => {}
            // The next run writes it anew.
            Target::File(file) => drop(std::fs::remove_file(&file.partial)),
            Target::Object(object) => object.abort().await,
        }
    }
}

impl Target {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Standard(standard) => standard.write_all(bytes).context("cannot write to standard output"),
            Self::File(file) => {
                let written = file.writer.write_all(bytes);
                written.with_context(|| format!("cannot write {}", file.partial.display()))
            }
            Self::Object(object) => Ok(object.write(bytes).await?),
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
