//! Results as Parquet: one row for each record, in the input's order.
//!
//! | column | type | |
//! |---|---|---|
//! | `line` | int64 | the record's line, or its row, from 1 |
//! | `response` | string or null | what the function answered: JSON |
//! | `error_kind` | string or null | `function` or `service` |
//! | `error_type` | string or null | |
//! | `error_message` | string or null | |
//!
//! A response is text, since one column cannot have the types of all answers that a function may give.

use super::super::line::{Outcome, ResultLine};
use anyhow::{Context, Result};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

const SCHEMA: &str = "message results {
    required int64 line;
    optional binary response (STRING);
    optional binary error_kind (STRING);
    optional binary error_type (STRING);
    optional binary error_message (STRING);
}";

/// Text of a row group, after which it is written: what is held in memory. A file has at most 32,767 groups, so 512 GiB.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Rows of a group. As many as pyarrow writes.
const GROUP_ROWS: usize = 1024 * 1024;

/// Makes a file of results. Its bytes are taken as they come to be.
pub(in super::super) struct Results {
    writer: SerializedFileWriter<Vec<u8>>,
    lines: Vec<i64>,
    response: Texts,
    error_kind: Texts,
    error_type: Texts,
    error_message: Texts,
}

/// A column of a row group.
#[derive(Default)]
struct Texts {
    /// 1 where there is a text.
    levels: Vec<i16>,
    texts: Vec<ByteArray>,
    bytes: usize,
}

impl Results {
    pub(in super::super) fn new() -> Result<Self> {
        let schema = parse_message_type(SCHEMA).context("the schema of results")?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("lambent ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties));
        Ok(Self {
            writer: writer.context("cannot begin a Parquet file")?,
            lines: Vec::new(),
            response: Texts::default(),
            error_kind: Texts::default(),
            error_type: Texts::default(),
            error_message: Texts::default(),
        })
    }

    /// Adds a result, as it stands in the journal. Gives the bytes of the file that follow from it, often none.
    pub(in super::super) fn add(&mut self, result: &[u8]) -> Result<Vec<u8>> {
        let ResultLine { line, outcome } = ResultLine::read(result)?;
        self.lines
            .push(i64::try_from(line).context("a line's number is too large")?);
        let (response, error) = match &outcome {
            Outcome::Response(json) => (Some(*json), None),
            Outcome::Error(error) => (None, Some(error)),
        };
        self.response.add(response);
        self.error_kind.add(error.map(|error| &*error.kind));
        self.error_type.add(error.map(|error| &*error.error_type));
        self.error_message.add(error.map(|error| &*error.message));
        let texts = [&self.response, &self.error_kind, &self.error_type, &self.error_message];
        let bytes: usize = texts.map(|column| column.bytes).iter().sum();
        if bytes < GROUP_BYTES && self.lines.len() < GROUP_ROWS {
            return Ok(Vec::new());
        }
        self.write_group()?;
        self.take()
    }

    /// The bytes of the file that are left.
    pub(in super::super) fn finish(mut self) -> Result<Vec<u8>> {
        if !self.lines.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner().context("cannot end a Parquet file")
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        let lines = std::mem::take(&mut self.lines);
        let mut column = group.next_column()?.context("the schema has a first column")?;
        column.typed::<Int64Type>().write_batch(&lines, None, None)?;
        column.close()?;
        let texts = [
            &mut self.response,
            &mut self.error_kind,
            &mut self.error_type,
            &mut self.error_message,
        ];
        for column in texts {
            std::mem::take(column).write(&mut group)?;
        }
        group.close().context("cannot end a row group")?;
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>> {
        self.writer.flush().context("cannot write Parquet")?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }
}

impl Texts {
    fn add(&mut self, text: Option<&str>) {
        self.levels.push(i16::from(text.is_some()));
        if let Some(text) = text {
            self.bytes += text.len();
            self.texts.push(ByteArray::from(text.as_bytes().to_vec()));
        }
    }

    fn write(self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<()> {
        let mut column = group
            .next_column()?
            .context("the schema has as many columns as a result")?;
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&self.texts, Some(&self.levels), None)?;
        column.close().context("cannot end a column")
    }
}
