//! Code in S3.

use super::error::PackageError;
use super::zip_entries::UNZIPPED_BYTES_MAX;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use std::fmt;
use zeroize::Zeroizing;

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
    let path = Path::parse(key).map_err(|_| no_such_key())?;
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
        .with_region(&access.region);
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

fn of_store(error: &object_store::Error, bucket: &str, key: &str) -> PackageError {
    match error {
        object_store::Error::NotFound { .. } => no_such_key(),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            PackageError::request(format!(
                "Your access has been denied by S3, please make sure your request credentials have permission to \
                 GetObject for {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
            ))
        }
        _ => PackageError::request(format!("Error occurred while GetObject of {bucket}/{key}: {error}")),
    }
}

fn no_such_key() -> PackageError {
    PackageError::request(
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
    )
}
