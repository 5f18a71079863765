//! `lambent batch rows`: the rows of the Parquet file on standard input, as JSON lines on standard output.
//!
//! Everything in the file is hostile. The decoder may panic, or ask for any memory: both end this process alone.

use super::super::section::Section;
use super::value::{Shape, write_row};
use anyhow::{Context, Result};
use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Memory of the process, without what is mapped of files. Of each column a page and its dictionary are held, usually
/// 2 MiB together, and up to 100 MiB as DuckDB writes them: 1 GiB are five hundred columns of the first kind, and ten of the
/// second.
pub(super) const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Values of a column that are decoded at once: they are held besides the pages. So many rows cost little time each.
const ROWS_AT_ONCE: usize = 64;

/// Limits this process's memory, and prints.
pub(crate) fn print_rows() -> Result<()> {
    let limit = Rlimit {
        current: Some(MEMORY_BYTES_MAX),
        maximum: Some(MEMORY_BYTES_MAX),
    };
    setrlimit(Resource::Data, limit).context("cannot limit the memory of the process that reads Parquet")?;
    let file = std::io::stdin().as_fd().try_clone_to_owned();
    let file = File::from(file.context("cannot open standard input")?);
    let mut output = BufWriter::new(std::io::stdout().lock());
    match write_rows(file, &mut output) {
        // Nobody wants the rest.
        Err(error) if error.downcast_ref().is_some_and(is_broken_pipe) => Ok(()),
        done => done,
    }
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// Writes each row as an object on a line.
pub(super) fn write_rows(file: File, output: &mut impl Write) -> Result<()> {
    let reader = SerializedFileReader::new(Pieces::of(file)?)?;
    let shape = Shape::of(reader.metadata().file_metadata().schema());
    let rows = reader.get_row_iter(None)?.with_batch_size(ROWS_AT_ONCE);
    let mut line = Vec::new();
    for (number, row) in rows.enumerate() {
        line.clear();
        let written = row
            .map_err(Into::into)
            .and_then(|row| write_row(&row, &shape, &mut line));
        written.with_context(|| format!("row {}", number + 1))?;
        line.push(b'\n');
        output.write_all(&line)?;
    }
    Ok(output.flush()?)
}

/// The file, read at offsets, never beyond its end.
struct Pieces {
    file: Arc<File>,
    bytes: u64,
}

impl Pieces {
    fn of(file: File) -> Result<Self> {
        let bytes = file.metadata().context("cannot read the file")?.len();
        let file = Arc::new(file);
        Ok(Self { file, bytes })
    }

    fn section(&self, start: u64, end: u64) -> Section {
        Section {
            file: Arc::clone(&self.file),
            position: start,
            end,
        }
    }
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pieces {
    type T = BufReader<Section>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(self.section(start, self.bytes)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length as u64);
        if end > self.bytes {
            let message = format!("{length} bytes at {start} are beyond the file's end");
            return Err(ParquetError::EOF(message));
        }
        let mut bytes = vec![0; length];
        self.section(start, end).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
