//! Where a store is, as a user writes it.
//!
//! ```text
//! /var/lib/lambent/store            a directory
//! file:///var/lib/lambent/store     the same
//! s3://BUCKET/PREFIX                a bucket of AWS, and the prefix of every key in it
//! s3://BUCKET?endpoint=http://127.0.0.1:9000&region=eu-central-1&allow_http=true
//! ```
//! Credentials never stand in a location: locations are printed, logged and kept in shell histories.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// A directory or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// A directory of this machine, made when it does not exist.
    Directory(PathBuf),
    /// A bucket of S3 or of a server that speaks its protocol.
    S3(S3Location),
}

/// A bucket and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket's name.
    pub bucket: String,
    /// What every key begins with; empty, or without slashes at its ends.
    pub prefix: String,
    /// The server's URL; `None` is AWS.
    pub endpoint: Option<Url>,
    /// AWS's region.
    pub region: Option<String>,
    /// Whether the endpoint may be plain HTTP.
    pub allow_http: bool,
}

/// A text that is not a location.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing was given.
    #[error("the store's location is empty: expected a directory, or s3://BUCKET/PREFIX")]
    Empty,
    /// Another scheme than `file` and `s3`.
    #[error(
        "`{scheme}://` is not a store that lambent knows: expected a directory, file:///PATH or s3://BUCKET/PREFIX"
    )]
    UnknownScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// Not a URL, or a file URL without an absolute path.
    #[error("`{url}` is not a store's URL: {reason}")]
    BadUrl {
        /// What was given, without a user or a password.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A user or a password in a URL.
    #[error("credentials do not belong in the store's URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")]
    Credentials,
    /// A query key that we do not know, or one given twice.
    #[error("`{key}` in the store's URL is unknown or given twice: expected endpoint, region, allow_http")]
    BadKey {
        /// The key.
        key: String,
    },
    /// A query key with a value that it cannot have.
    #[error("`{key}={value}` in the store's URL: expected {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, _)) = text.split_once("://") else {
            return if text.is_empty() {
                Err(LocationError::Empty)
            } else {
                Ok(Self::Directory(text.into()))
            };
        };
        match scheme {
            "file" => directory(text),
            "s3" => bucket(text).map(Self::S3),
            _ => Err(LocationError::UnknownScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

fn directory(text: &str) -> Result<StoreLocation, LocationError> {
    let url = parse(text)?;
    match url.to_file_path() {
        Ok(path) if url.query().is_none() && url.fragment().is_none() => Ok(StoreLocation::Directory(path)),
        _ => Err(bad_url(&url, "expected file:///PATH on this machine")),
    }
}

fn bucket(text: &str) -> Result<S3Location, LocationError> {
    let url = parse(text)?;
    if url.port().is_some() || url.fragment().is_some() {
        return Err(bad_url(&url, "a server's address goes into ?endpoint=http://HOST:PORT"));
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if bucket.is_empty() {
        return Err(bad_url(&url, "the bucket's name is missing"));
    }
    let prefix = url.path().trim_matches('/').to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if !prefix.bytes().all(plain) || prefix.split('/').skip(1).any(str::is_empty) {
        return Err(bad_url(&url, "a prefix has letters, digits, - _ . and single slashes"));
    }
    let mut query = query(&url)?;
    let location = S3Location {
        bucket,
        prefix,
        endpoint: query.remove("endpoint").map(endpoint).transpose()?,
        region: query.remove("region"),
        allow_http: query.remove("allow_http").map(flag).transpose()?.unwrap_or(false),
    };
    match query.into_keys().next() {
        Some(key) => Err(LocationError::BadKey { key }),
        None => Ok(location),
    }
}

fn parse(text: &str) -> Result<Url, LocationError> {
    let url = Url::parse(text).map_err(|_| LocationError::BadUrl {
        url: "(unreadable)".to_owned(),
        reason: "it does not parse as a URL",
    })?;
    if url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(LocationError::Credentials)
    }
}

fn bad_url(url: &Url, reason: &'static str) -> LocationError {
    LocationError::BadUrl {
        url: url.to_string(),
        reason,
    }
}

fn query(url: &Url) -> Result<BTreeMap<String, String>, LocationError> {
    let mut pairs = BTreeMap::new();
    for (key, value) in url.query_pairs() {
        if pairs.insert(key.clone().into_owned(), value.into_owned()).is_some() {
            return Err(LocationError::BadKey { key: key.into_owned() });
        }
    }
    Ok(pairs)
}

fn endpoint(value: String) -> Result<Url, LocationError> {
    match parse(&value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Err(LocationError::Credentials) => Err(LocationError::Credentials),
        _ => Err(LocationError::BadValue {
            key: "endpoint",
            value,
            expected: "http://HOST:PORT or https://HOST",
        }),
    }
}

fn flag(value: String) -> Result<bool, LocationError> {
    value.parse().map_err(|_| LocationError::BadValue {
        key: "allow_http",
        value,
        expected: "true or false",
    })
}

impl StoreLocation {
    /// The text that parses as this location, for another process's command line. It has no credentials.
    #[must_use]
    pub fn to_argument(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::S3(s3) => s3.to_url(),
        }
    }
}

impl S3Location {
    fn to_url(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(endpoint) = &self.endpoint {
            query.append_pair("endpoint", endpoint.as_str());
        }
        if let Some(region) = &self.region {
            query.append_pair("region", region);
        }
        if self.allow_http {
            query.append_pair("allow_http", "true");
        }
        let prefix = if self.prefix.is_empty() {
            String::new()
        } else {
            format!("/{}", self.prefix)
        };
        format!("s3://{}{prefix}?{}", self.bucket, query.finish())
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::S3(s3) => write!(formatter, "{s3}"),
        }
    }
}

/// For people: the bucket, and the server where it is not AWS.
impl fmt::Display for S3Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(formatter, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(formatter, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_understood() {
        let cases = [
            ("/var/store", "/var/store"),
            ("data/store", "data/store"),
            ("file:///var/my%20store", "/var/my store"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            (
                "s3://bucket/a?endpoint=http://127.0.0.1:9000&region=eu-central-1&allow_http=true",
                "s3://bucket/a at http://127.0.0.1:9000/",
            ),
        ];
        for (text, expected) in cases {
            let location: StoreLocation = text.parse().unwrap();
            assert_eq!(location.to_string(), expected);
            assert_eq!(location.to_argument().parse(), Ok(location));
        }
    }

    #[test]
    fn options_of_a_bucket_are_read() {
        let text = "s3://bucket/a?endpoint=https://s3.example&region=r&allow_http=true";
        let expected = S3Location {
            bucket: "bucket".to_owned(),
            prefix: "a".to_owned(),
            endpoint: Some("https://s3.example".parse().unwrap()),
            region: Some("r".to_owned()),
            allow_http: true,
        };
        assert_eq!(text.parse(), Ok(StoreLocation::S3(expected)));
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        let cases = [
            ("", "is empty"),
            ("gs://bucket", "`gs://` is not a store"),
            ("file://host/path", "expected file:///PATH"),
            ("file:///path?a=b", "expected file:///PATH"),
            ("s3://", "the bucket's name is missing"),
            ("s3://host:9000/bucket", "?endpoint=http://HOST:PORT"),
            ("s3://bucket/a//b", "single slashes"),
            ("s3://bucket/a%20b", "single slashes"),
            ("s3://bucket?endpont=http://x", "`endpont`"),
            (
                "s3://bucket?region=a&region=b",
                "`region` in the store's URL is unknown or given twice",
            ),
            ("s3://bucket?endpoint=ftp://x", "`endpoint=ftp://x`"),
            ("s3://bucket?allow_http=yes", "expected true or false"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<StoreLocation>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for text in [
            "s3://key:hunter2@bucket",
            "s3://bucket?endpoint=http://key:hunter2@host",
        ] {
            let error = text.parse::<StoreLocation>().unwrap_err();
            assert_eq!(error, LocationError::Credentials);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
