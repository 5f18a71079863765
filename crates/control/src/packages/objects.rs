//! Code in S3.

use super::error::PackageError;
use super::push::chain;
use super::zip_entries::UNZIPPED_BYTES_MAX;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, RetryConfig};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Tries after the first one, and how long they may go on: whoever creates a function waits, and boto3 for a minute.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// How objects are fetched.
#[derive(Clone)]
pub struct S3Access {
    /// The server's URL; `None` is AWS. Plain HTTP is spoken when the URL says so.
    pub endpoint: Option<String>,
    /// The buckets' region.
    pub region: String,
    /// Key and secret; `None` is what the machine has: instance or container credentials.
    pub credentials: Option<S3Credentials>,
}

/// A key of the operator.
#[derive(Clone)]
pub struct S3Credentials {
    /// The key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Zeroizing<String>,
    /// For temporary ones.
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for S3Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Access")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Fetches a zip, at most [`UNZIPPED_BYTES_MAX`] of it.
pub(super) async fn fetch(
    access: Option<&S3Access>,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Bytes, PackageError> {
    let access = access.ok_or_else(|| {
        PackageError::request(
            "Code in S3 cannot be fetched: this server has no access to S3. Upload the zip as ZipFile, or ask the \
             operator to set an S3 endpoint and credentials.",
        )
    })?;
    let store = open(access, bucket).map_err(|error| of_store(&error, bucket, key))?;
    // `parse` leaves out slashes at both ends, which would be another object.
    let path = Path::parse(key).ok().filter(|path| path.as_ref() == key);
    let path = path.ok_or_else(|| {
        PackageError::request(format!(
            "The S3 key {} cannot be fetched: it begins or ends with a slash, or has an empty part, `.` or `..` between \
             slashes. Copy the object to another key.",
            key.escape_debug()
        ))
    })?;
    let options = GetOptions {
        version: version.map(str::to_owned),
        ..GetOptions::default()
    };
    let found = store.get_opts(&path, options).await;
    let found = found.map_err(|error| of_store(&error, bucket, key))?;
    if found.meta.size > UNZIPPED_BYTES_MAX {
        return Err(PackageError::request(format!(
            "Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes"
        )));
    }
    found.bytes().await.map_err(|error| of_store(&error, bucket, key))
}

fn open(access: &S3Access, bucket: &str) -> Result<AmazonS3, object_store::Error> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&access.region)
        .with_retry(RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        });
    if let Some(endpoint) = &access.endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(credentials) = &access.credentials {
        builder = builder
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(credentials.secret_access_key.as_str());
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token.as_str());
        }
    }
    builder.build()
}

/// Lambda's sentence about S3's answer. S3 says what is wrong in its error document; without one, the kind decides.
fn of_store(error: &object_store::Error, bucket: &str, key: &str) -> PackageError {
    let text = chain(error);
    let (code, message) = match (element(&text, "Code"), element(&text, "Message"), error) {
        (Some(code), message, _) => (code, message.unwrap_or_default()),
        (None, _, object_store::Error::NotFound { .. }) => ("NoSuchKey", "The specified key does not exist."),
        (None, _, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
            ("AccessDenied", "Access Denied")
        }
        (None, _, _) => {
            return PackageError::request(format!("Error occurred while GetObject of {bucket}/{key}: {text}"));
        }
    };
    let is_denied = matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    );
    let what = if is_denied {
        format!(
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject \
             for {bucket}/{key}."
        )
    } else {
        "Error occurred while GetObject.".to_owned()
    };
    PackageError::request(format!("{what} S3 Error Code: {code}. S3 Error Message: {message}"))
}

/// The text of an element of S3's error document, which is flat, as it stands in an error's text.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner).filter(|inner| !inner.is_empty())
}
