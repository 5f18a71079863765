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

impl FromStr for Place {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        Ok(match text.parse()? {
            StoreLocation::Directory(path) => Self::File(path),
            StoreLocation::S3(s3) => Self::Object(Box::new(s3)),
        })
    }
}

impl Place {
    /// Whether its name says that it is Parquet; all else is JSON lines.
    pub(crate) fn is_parquet(&self) -> bool {
        let path = match self {
            Self::Standard => return false,
            Self::File(path) => path,
            Self::Object(s3) => Path::new(&s3.prefix),
        };
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
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
        for (text, part) in [("gs://bucket/x", "`gs://`"), ("", "empty")] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_name_says_what_is_parquet() {
        for (text, expected) in [
            ("in.parquet", true),
            ("s3://bucket/in.PARQUET?region=r", true),
            ("-", false),
            ("parquet", false),
            ("in.parquet.jsonl", false),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().is_parquet(), expected, "{text}");
        }
    }
}
