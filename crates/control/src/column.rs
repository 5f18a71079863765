//! Values in columns: numbers, of which the database knows signed ones alone, and documents.

use crate::ControlError;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A number as it is stored. What does not fit (times of 292 million years hence) is the largest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A stored number. A negative one, which this program never writes, is 0.
pub(crate) fn unsigned(row: &AnyRow, column: &str) -> Result<u64, ControlError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

/// A stored number that may be absent.
pub(crate) fn unsigned_or_none(row: &AnyRow, column: &str) -> Result<Option<u64>, ControlError> {
    Ok(row
        .try_get::<Option<i64>, _>(column)?
        .map(|value| u64::try_from(value).unwrap_or(0)))
}

/// A stored document.
pub(crate) fn document<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, ControlError> {
    serde_json::from_str(text).map_err(|source| ControlError::Record {
        what: what.to_owned(),
        source,
    })
}

/// A document as it is stored.
pub(crate) fn document_text<T: serde::Serialize>(value: &T, what: &str) -> Result<String, ControlError> {
    serde_json::to_string(value).map_err(|source| ControlError::Record {
        what: what.to_owned(),
        source,
    })
}

/// A stored document that may be absent.
pub(crate) fn document_or_none<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &str,
    what: &str,
) -> Result<Option<T>, ControlError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| document(&text, what)).transpose()
}

/// A document that may be absent, as it is stored.
pub(crate) fn document_text_or_none<T: serde::Serialize>(
    value: Option<&T>,
    what: &str,
) -> Result<Option<String>, ControlError> {
    value.map(|value| document_text(value, what)).transpose()
}
