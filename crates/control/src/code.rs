//! A function's code: where it comes from, what is kept of it, and what it has been made into.

use crate::{Control, ControlError, PackageError, PackageType, PreparedImage, RuntimeBase, ZipCode};
use api::ImageAddress;
use bytes::Bytes;
use chunk::Account;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where code is to come from.
pub enum CodeSource {
    /// A zip as it came with the request.
    Zip(Bytes),
    /// A zip in S3.
    S3 {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
        /// Version of the object; the current one if none.
        version: Option<String>,
    },
    /// A container image, such as `localhost:9000/hello:latest`.
    Image(String),
}

/// What is recorded of a version's code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeRecord {
    /// A stored zip.
    Zip(ZipCode),
    /// An image.
    Image {
        /// As it was named.
        uri: String,
        /// `sha256:...` of its manifest: what the name meant when the code was set.
        digest: String,
    },
}

/// Code that an environment can be made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PreparedCode {
    Zip {
        /// The runtime's image.
        root: ImageAddress,
        /// The runtime's program; the handler follows where the runtime takes it as an argument.
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        /// Holds `task` and `opt`.
        code: ImageAddress,
    },
    Image {
        root: ImageAddress,
        entrypoint: Vec<String>,
        command: Vec<String>,
        working_directory: String,
        user: String,
        environment: Vec<(String, String)>,
    },
}

impl fmt::Debug for CodeSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zip(bytes) => write!(formatter, "Zip({} bytes)", bytes.len()),
            Self::S3 { bucket, key, version } => write!(formatter, "S3({bucket}/{key}, {version:?})"),
            Self::Image(uri) => write!(formatter, "Image({uri})"),
        }
    }
}

impl CodeRecord {
    /// `CodeSha256`: base64 for zips, hexadecimal for images.
    #[must_use]
    pub fn sha256(&self) -> &str {
        match self {
            Self::Zip(zip) => &zip.sha256_base64,
            Self::Image { digest, .. } => digest.strip_prefix("sha256:").unwrap_or(digest),
        }
    }

    /// `CodeSize`: Lambda says 0 for images.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Zip(zip) => zip.bytes,
            Self::Image { .. } => 0,
        }
    }

    /// The image by its digest.
    #[must_use]
    pub fn resolved_uri(&self) -> Option<String> {
        match self {
            Self::Zip(_) => None,
            Self::Image { uri, digest } => Some(by_digest(uri, digest)),
        }
    }
}

impl PreparedCode {
    pub(crate) fn of_zip(runtime: RuntimeBase, code: ImageAddress) -> Self {
        let RuntimeBase {
            address: root,
            arguments,
            environment,
            ..
        } = runtime;
        Self::Zip {
            root,
            arguments,
            environment,
            code,
        }
    }

    pub(crate) fn of_image(image: PreparedImage) -> Self {
        let PreparedImage {
            address: root,
            entrypoint,
            command,
            working_directory,
            user,
            environment,
            ..
        } = image;
        Self::Image {
            root,
            entrypoint,
            command,
            working_directory,
            user,
            environment,
        }
    }
}

impl Control {
    /// Stores code, or finds the image, before anything is recorded: what is wrong with it is the request's error.
    pub(crate) async fn store_code(
        &self,
        account: &Account,
        source: CodeSource,
        architecture: &str,
    ) -> Result<CodeRecord, ControlError> {
        let stored = match source {
            CodeSource::Zip(bytes) => self.packages().put_zip(account, bytes).await.map(CodeRecord::Zip),
            CodeSource::S3 { bucket, key, version } => {
                let stored = self
                    .packages()
                    .put_zip_from_s3(account, &bucket, &key, version.as_deref())
                    .await;
                stored.map(CodeRecord::Zip)
            }
            CodeSource::Image(uri) => self.find_image(account, uri, architecture).await,
        };
        Ok(stored?)
    }

    async fn find_image(&self, account: &Account, uri: String, architecture: &str) -> Result<CodeRecord, PackageError> {
        let digest = self.packages().resolve_image(account, &uri, architecture).await?;
        Ok(CodeRecord::Image { uri, digest })
    }

    /// The bytes of a version's zip. `NotFound` for images, whose code is in their registry.
    pub async fn function_code(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<Bytes, ControlError> {
        let record = self.function(account, name, qualifier).await?;
        match &record.code {
            CodeRecord::Zip(zip) => Ok(self.packages().zip_bytes(account, zip).await?),
            CodeRecord::Image { uri, .. } => Err(ControlError::not_found(format!(
                "The code of {} is the image {uri}; pull it from its registry.",
                record.arn
            ))),
        }
    }
}

/// Checks that a source is of the kind that the package type asks for.
pub(crate) fn check_source(package_type: PackageType, source: &CodeSource) -> Result<(), ControlError> {
    match (package_type, source) {
        (PackageType::Zip, CodeSource::Image(_)) => Err(ControlError::invalid(
            "Please don't provide ImageUri when the intended function PackageType is Zip.",
        )),
        (PackageType::Image, CodeSource::Zip(_) | CodeSource::S3 { .. }) => Err(ControlError::invalid(
            "Please don't provide ZipFile or S3 parameters when the intended function PackageType is Image.",
        )),
        (PackageType::Image, CodeSource::Image(uri)) if uri.is_empty() || uri.contains(char::is_whitespace) => {
            Err(ControlError::invalid(format!(
                "Source image {uri} is not valid. Provide a valid source image."
            )))
        }
        _ => Ok(()),
    }
}

/// `HOST/NAME@DIGEST` of `HOST/NAME:TAG`, `HOST/NAME` or `HOST/NAME@OTHER`.
fn by_digest(uri: &str, digest: &str) -> String {
    let base = uri.split('@').next().unwrap_or(uri);
    let name_from = base.rfind('/').map_or(0, |slash| slash + 1);
    let end = base[name_from..]
        .find(':')
        .map_or(base.len(), |colon| name_from + colon);
    format!("{}@{digest}", &base[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_by_digest() {
        let check = |uri: &str, expected: &str| assert_eq!(by_digest(uri, "sha256:ab"), expected, "{uri}");
        check("localhost:9000/hello", "localhost:9000/hello@sha256:ab");
        check("localhost:9000/a/hello:latest", "localhost:9000/a/hello@sha256:ab");
        check("localhost:9000/hello@sha256:cd", "localhost:9000/hello@sha256:ab");
        check("hello:v1@sha256:cd", "hello@sha256:ab");
        check("hello", "hello@sha256:ab");
    }
}
