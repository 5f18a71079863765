//! The batch's side of reading Parquet: the process that makes lines of rows, and what its end means.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;
use store::UserObject;

/// What is kept of the process's own words. They may quote the file.
const WORDS_BYTES_MAX: u64 = 2048;

/// What Rust's programs say before they abort because memory is refused.
const REFUSED: &str = "memory allocation of ";

/// A process that makes lines of a file's rows. It ends when nobody reads them any more.
pub(in super::super) struct RowsProcess {
    name: String,
    child: Child,
    words: JoinHandle<String>,
}

impl RowsProcess {
    /// Starts it; the name is for messages.
    pub(in super::super) fn start(file: File, name: String) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the program that runs")?;
        let mut child = Command::new(program)
            .args(["batch", "rows"])
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the process that reads Parquet")?;
        let stderr = child.stderr.take().expect("it was asked for");
        // Read beside the lines: a full pipe would hold the process up.
        let words = std::thread::spawn(|| words_of(stderr));
        Ok(Self { name, child, words })
    }

    /// Where the lines come from; there is one.
    pub(in super::super) fn lines(&mut self) -> impl Read + Send + 'static {
        self.child.stdout.take().expect("it is taken once")
    }

    /// Waits for its end, after its lines have ended.
    ///
    /// Errors: it did not come to the file's end.
    pub(in super::super) fn finish(mut self) -> Result<()> {
        let ended = self
            .child
            .wait()
            .context("cannot wait for the process that reads Parquet")?;
        let words = self.words.join().unwrap_or_default();
        if ended.success() {
            return Ok(());
        }
        let name = &self.name;
        if ended.signal().is_some() && words.contains(REFUSED) {
            bail!(
                "cannot read {name}: its pages or rows take more memory than {} GiB, the most that a batch gives: write it \
                 with smaller pages, as pyarrow does",
                super::rows::MEMORY_BYTES_MAX >> 30
            );
        }
        let words = words.trim();
        let words = words.strip_prefix("error: ").unwrap_or(words);
        bail!("cannot read {name}: it is damaged, or not Parquet as this program knows it ({ended}): {words}")
    }
}

fn words_of(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    let _ = (&mut stderr).take(WORDS_BYTES_MAX).read_to_end(&mut words);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&words).into_owned()
}

/// An object's bytes in a file without a name: Parquet is read from its end.
pub(crate) async fn spool(object: UserObject, directory: &Path) -> Result<File> {
    let file = tempfile::tempfile_in(directory);
    let mut file = file.with_context(|| format!("cannot make a file in {}", directory.display()))?;
    let mut reader = object.read().await?;
    while let Some(piece) = reader.next().await? {
        let written = file.write_all(&piece);
        written.with_context(|| format!("cannot copy the input to {}", directory.display()))?;
    }
    Ok(file)
}
