//! Whether an image of a name is stored, and what it is.

use super::{ImageError, Images};
use crate::record::{RecordDetails, RecordSummary};
use store::StoreError;

/// An image that can be mounted: its record and its manifest are there.
#[derive(Clone, Debug)]
pub struct FoundImage {
    /// The record's open fields.
    pub summary: RecordSummary,
    /// The record's sealed fields.
    pub details: RecordDetails,
}

impl Images {
    /// The open fields of an image's record; `None` when the image or its manifest is not in the store. Asks no key.
    pub fn find_summary(&self, name: &str) -> Result<Option<RecordSummary>, ImageError> {
        match self.load(name) {
            Ok(loaded) => Ok(Some(loaded.record.summary)),
            Err(ImageError::Store(StoreError::Missing(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same with the sealed fields: the configuration, most of all.
    pub fn find(&self, name: &str) -> Result<Option<FoundImage>, ImageError> {
        let loaded = match self.load(name) {
            Ok(loaded) => loaded,
            Err(ImageError::Store(StoreError::Missing(_))) => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = self.data_key(&loaded)?;
        let details = loaded.record.open(&key).map_err(|source| ImageError::Record {
            name: name.to_owned(),
            source,
        })?;
        Ok(Some(FoundImage {
            summary: loaded.record.summary,
            details,
        }))
    }
}
