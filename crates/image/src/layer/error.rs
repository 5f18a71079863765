//! What can be wrong with a tar stream.

use std::io;

/// A layer that is not a readable tar stream, and where.
#[derive(Debug, thiserror::Error)]
#[error("tar entry at byte {position}: {fault}")]
pub struct LayerError {
    /// Offset of the entry's header in the plain stream.
    pub position: u64,
    /// What is wrong with it.
    pub fault: LayerFault,
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum LayerFault {
    /// The stream could not be read.
    #[error("cannot read the layer: {0}")]
    Read(#[from] io::Error),
    /// The stream ends inside a header.
    #[error("the archive is truncated: it ends inside a header")]
    HeaderCutShort,
    /// The stream ends inside a file's content.
    #[error("the archive is truncated: the entry announces {bytes} bytes and the archive ends before them")]
    ContentCutShort {
        /// What the header announces.
        bytes: u64,
    },
    /// The header's sum does not match: not a tar header.
    #[error("not a tar header: its checksum is wrong")]
    BadChecksum,
    /// A field is not a number, or a number out of range.
    #[error("field `{field}` is not a valid number: {value:?}")]
    BadNumber {
        /// The field's or the PAX record's name.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A PAX record that cannot be cut out.
    #[error("malformed PAX record at byte {offset} of the extended header")]
    BadPaxRecord {
        /// Offset in the extended header.
        offset: usize,
    },
    /// A long name or extended header beyond every reason.
    #[error("an extended header of {bytes} bytes; at most {bytes_max} are read")]
    ExtensionTooLong {
        /// What the header announces.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// The archive ends after a header that describes the next entry.
    #[error("the archive ends after an extended header: the entry that it describes is missing")]
    ExtensionWithoutEntry,
    /// A sparse map that does not describe a file.
    #[error("malformed sparse map: {reason}")]
    BadSparseMap {
        /// What does not fit.
        reason: &'static str,
    },
    /// An access control list that cannot be understood.
    #[error("access control list in {record}: cannot understand {entry:?}; users and groups must be given by number")]
    BadAcl {
        /// The PAX record or attribute.
        record: &'static str,
        /// The part that was not understood.
        entry: String,
    },
}
