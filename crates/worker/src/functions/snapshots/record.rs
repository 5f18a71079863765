//! The worker's own record in a snapshot: `worker.json` beside CRIU's images.
//!
//! | key | what |
//! |---|---|
//! | `format` | 1; another is refused by name |
//! | `processor` | [`sandbox::processor_class`] of the machine that wrote it |
//! | `connections` | the connections to the Runtime API: each with where it is in its streams, and what had come over it |

use crate::runtime_api::KeptConnection;
use sandbox::processor_class;
use serde::Deserialize;
use serde_json::json;
use std::fs;
use std::io;
use std::path::Path;

const FORMAT: u32 = 1;
const FILE: &str = "worker.json";

/// Bytes of a record. Each connection has at most 64 KiB of a head, as numbers; there are hardly ever more than three.
const BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    processor: String,
    connections: Vec<KeptConnection>,
}

/// Why a record cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("its record cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is {bytes} bytes long, with what has come over its connections, and {BYTES_MAX} are possible")]
    TooLong { bytes: u64 },
    #[error("it has format {format}, and this program knows {FORMAT}")]
    Format { format: u32 },
    #[error("it was made on another class of processors ({there}, here {here})")]
    Processor { there: String, here: String },
}

/// Writes it; blocks.
pub(super) fn write(directory: &Path, connections: &[KeptConnection]) -> io::Result<()> {
    let record = json!({"format": FORMAT, "processor": processor_class(), "connections": connections});
    fs::write(directory.join(FILE), serde_json::to_vec(&record)?)
}

/// Reads it, and refuses what cannot be restored here; blocks.
pub(super) fn read(directory: &Path) -> Result<Vec<KeptConnection>, RecordError> {
    let path = directory.join(FILE);
    let bytes = fs::metadata(&path)?.len();
    if bytes > BYTES_MAX {
        return Err(RecordError::TooLong { bytes });
    }
    let record: Record = serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)?;
    if record.format != FORMAT {
        return Err(RecordError::Format { format: record.format });
    }
    let here = processor_class();
    if record.processor != here {
        let there = record.processor;
        return Err(RecordError::Processor { there, here });
    }
    Ok(record.connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_the_rest_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = |text: &str| {
            fs::write(directory.path().join(FILE), text).unwrap();
            read(directory.path()).unwrap_err().to_string()
        };
        assert!(refusal("{").contains("cannot be read"));
        assert!(refusal(r#"{"format":2,"processor":"x","connections":[]}"#).contains("format 2"));
        assert!(refusal(r#"{"format":1,"processor":"m68k","connections":[]}"#).contains("m68k"));
        assert!(refusal(&" ".repeat(5 << 20)).contains("5242880 bytes long"));
        write(directory.path(), &[]).unwrap();
        assert!(read(directory.path()).unwrap().is_empty());
    }
}
