//! Where a batch reads or writes: a file, `-`, or an object in a bucket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use store::{LocationError, S3Location, StoreLocation};

/// One end of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard input, or standard output.
    Standard,
    File(PathBuf),
    Object(Box<S3Location>),
}

/// A text that names no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(
        "`{0}` is Parquet, which is not read or written here: make JSON lines of it, as duckdb does with \
         COPY (FROM 'in.parquet') TO 'in.jsonl' (FORMAT json)"
    )]
    Parquet(String),
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        let place = match text.parse()? {
            StoreLocation::Directory(path) => Self::File(path),
            StoreLocation::S3(s3) => Self::Object(Box::new(s3)),
        };
        let path = match &place {
            Self::File(path) => path,
            Self::Object(s3) => Path::new(&s3.prefix),
            Self::Standard => return Ok(place),
        };
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            return Err(PlaceError::Parquet(text.to_owned()));
        }
        Ok(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => formatter.write_str("-"),
            Self::File(path) => path.display().fmt(formatter),
            Self::Object(s3) => s3.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood() {
        for (text, shown) in [
            ("-", "-"),
            ("lines.jsonl", "lines.jsonl"),
            ("file:///tmp/a%20b", "/tmp/a b"),
            ("s3://bucket/in/lines.jsonl?region=r", "s3://bucket/in/lines.jsonl"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), shown);
        }
        for (text, part) in [
            ("in.parquet", "`in.parquet` is Parquet"),
            ("s3://bucket/in.PARQUET", "duckdb"),
            ("gs://bucket/x", "`gs://`"),
            ("", "empty"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
