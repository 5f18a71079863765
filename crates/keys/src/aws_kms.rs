//! Data keys from AWS KMS.
//!
//! One KMS key wraps the data keys of all accounts; the encryption context `lambent:account` binds each to its own, and
//! shows in CloudTrail who asked. One of the configured keys is named in every Decrypt, so that wrapped bytes which
//! somebody made with a KMS key of their own do not open. The first wraps; previous ones unwrap what was wrapped before
//! the operator chose another. KMS's own rotation makes new versions inside one key, needs no re-wrapping, and is not
//! seen here.

use crate::silence::Silence;
use crate::wrapped::{self, ProviderCode};
use crate::{ErrorKind, ForeignKey, KeyError, WrappedDataKey, WrappedError};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use chunk::{Account, DataKey, KEY_BYTES};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

const CONTEXT_KEY: &str = "lambent:account";
/// One lost SYN costs 1 s and two cost 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// With the SDK's two retries. KMS answers in some 10 ms; who waits longer wants to be told.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// A key in AWS KMS, or in a server that speaks its protocol. Cheap to clone.
#[derive(Clone)]
pub struct AwsKms {
    client: Client,
    key_id: String,
    /// Ids or ARNs of keys that unwrap only.
    previous: Vec<String>,
    place: String,
    silence: Arc<Silence>,
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AwsKms({} in {})", self.key_id, self.place)
    }
}

/// Why a call to KMS failed, as far as it decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsFault {
    /// No connection, or no answer in time.
    Unreachable,
    /// No credentials, wrong ones, or expired ones: KMS does not know who asks.
    NoCredentials,
    /// No permission for this key, or for this account with it.
    AccessDenied,
    /// No such key in this region and account.
    UnknownKey,
    /// The key exists and cannot be used: disabled, pending deletion, of another sort.
    UnusableKey,
    /// KMS is overloaded or broken.
    Unavailable,
    /// KMS refuses for another reason.
    Refused,
}

impl KmsFault {
    pub(crate) const fn kind(self) -> ErrorKind {
        match self {
            Self::Unreachable | Self::Unavailable => ErrorKind::Retry,
            Self::NoCredentials | Self::AccessDenied | Self::UnknownKey | Self::UnusableKey | Self::Refused => {
                ErrorKind::FixRequest
            }
        }
    }

    /// See [`crate::KeyError::is_refusal`].
    pub(crate) const fn is_refusal(self) -> bool {
        match self {
            Self::AccessDenied | Self::UnknownKey | Self::UnusableKey => true,
            Self::Unreachable | Self::NoCredentials | Self::Unavailable | Self::Refused => false,
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Unreachable => "AWS KMS does not answer; check the endpoint, the region and the network",
            Self::NoCredentials => "access denied; check the AWS credentials, and this machine's clock",
            Self::AccessDenied => "access denied; check the key's policy, and the permissions of the AWS credentials",
            Self::UnknownKey => "there is no such key; check --kms-key and the region",
            Self::UnusableKey => "the key cannot be used; enable it, or choose a symmetric encryption key",
            Self::Unavailable => "AWS KMS is overloaded or failing; try again later",
            Self::Refused => "AWS KMS refuses",
        }
    }
}

/// A call to KMS that did not succeed, after the SDK's retries.
#[derive(Debug)]
pub struct KmsError {
    action: &'static str,
    key_id: String,
    place: String,
    fault: KmsFault,
    source: Box<dyn Error + Send + Sync>,
}

impl KmsError {
    /// What the failure means.
    #[must_use]
    pub const fn fault(&self) -> KmsFault {
        self.fault
    }
}

impl fmt::Display for KmsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action, key_id, place, ..
        } = self;
        let reason = innermost(&*self.source);
        write!(
            formatter,
            "cannot {action} with AWS KMS key {key_id} in {place}: {} ({reason})",
            self.fault.hint()
        )
    }
}

impl Error for KmsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// KMS's own words, or the system's: the SDK's outer errors say "service error" and "dispatch failure".
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |cause| (*cause).source())
        .last()
        .unwrap_or(error)
}

impl AwsKms {
    /// Uses the key `key_id` (an id, an ARN or an alias). Credentials and, without `region`, the region come by AWS's
    /// ordinary chain. `endpoint_url` is for servers other than AWS. Nothing is sent to KMS yet.
    pub async fn connect(key_id: &str, region: Option<&str>, endpoint_url: Option<&str>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts());
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let region = config.region().map_or("no region", Region::as_ref);
        let place = endpoint_url.map_or_else(|| region.to_owned(), |endpoint| format!("{region} at {endpoint}"));
        Self::over(Client::new(&config), key_id, &place)
    }

    pub(crate) fn over(client: Client, key_id: &str, place: &str) -> Self {
        Self {
            client,
            key_id: key_id.to_owned(),
            previous: Vec::new(),
            place: place.to_owned(),
            silence: Arc::default(),
        }
    }

    /// Adds keys that unwrap what they wrapped, by id or ARN.
    #[must_use]
    pub fn with_previous(mut self, keys: &[String]) -> Self {
        self.previous = keys.to_vec();
        self
    }

    /// The previous key that a wrapped key's head names, or else the one that wraps now. The head is not authenticated;
    /// it chooses among keys that the operator trusts, and KMS checks the rest.
    fn key_for(&self, name: &str) -> &str {
        let named =
            |key: &&String| *key == name || name.strip_suffix(key.as_str()).is_some_and(|arn| arn.ends_with('/'));
        self.previous.iter().find(named).unwrap_or(&self.key_id)
    }

    /// KMS's Encrypt: it needs `kms:Encrypt`, which pushing alone does not.
    pub(crate) async fn wrap(&self, account: &Account, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        const ACTION: &str = "wrap a data key";
        let answer = self
            .client
            .encrypt()
            .key_id(&self.key_id)
            .plaintext(Blob::new(key.expose()))
            .encryption_context(CONTEXT_KEY, account.as_str())
            .send()
            .await
            .map_err(|error| self.failed(ACTION, error))?;
        let mut wrapped = wrapped::encode_head(ProviderCode::AwsKms, answer.key_id.as_deref().unwrap_or(&self.key_id));
        let ciphertext = answer.ciphertext_blob.ok_or_else(|| self.incomplete(ACTION))?;
        wrapped.extend(ciphertext.into_inner());
        Ok(wrapped)
    }

    pub(crate) async fn generate(&self, account: &Account) -> Result<WrappedDataKey, KeyError> {
        let answer = self
            .client
            .generate_data_key()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(CONTEXT_KEY, account.as_str())
            .send()
            .await
            .map_err(|error| self.failed("make a data key", error))?;
        let key_name = answer.key_id.as_deref().unwrap_or(&self.key_id);
        let mut wrapped = wrapped::encode_head(ProviderCode::AwsKms, key_name);
        let ciphertext = answer
            .ciphertext_blob
            .ok_or_else(|| self.incomplete("make a data key"))?;
        wrapped.extend(ciphertext.into_inner());
        let key = data_key(answer.plaintext).ok_or_else(|| self.incomplete("make a data key"))?;
        Ok(WrappedDataKey { key, wrapped })
    }

    pub(crate) async fn unwrap(&self, account: &Account, bytes: &[u8]) -> Result<DataKey, KeyError> {
        const OPEN: &str = "open a data key";
        let wrapped = wrapped::decode(bytes)?;
        let foreign = || ForeignKey {
            provider: wrapped.provider,
            key_name: wrapped.key_name.to_owned(),
            ours: format!("AWS KMS key {}", self.key_id),
        };
        if wrapped.provider != ProviderCode::AwsKms {
            return Err(foreign().into());
        }
        if let Some(reason) = self.silence.recent() {
            return Err(self.error(OPEN, KmsFault::Unreachable, reason.into()).into());
        }
        let began = Instant::now();
        let answer = self
            .client
            .decrypt()
            .key_id(self.key_for(wrapped.key_name))
            .ciphertext_blob(Blob::new(wrapped.ciphertext))
            .encryption_context(CONTEXT_KEY, account.as_str())
            .send()
            .await;
        match answer {
            Ok(answer) => data_key(answer.plaintext).ok_or_else(|| self.incomplete(OPEN).into()),
            Err(error) => Err(match error.code() {
                Some("InvalidCiphertextException") => WrappedError::Refused {
                    key_name: format!("AWS KMS key {}", wrapped.key_name),
                    account: account.to_string(),
                }
                .into(),
                Some("IncorrectKeyException") => foreign().into(),
                _ => {
                    let failed = self.failed(OPEN, error);
                    if failed.fault == KmsFault::Unreachable {
                        self.silence.note(began, &innermost(&*failed.source).to_string());
                    }
                    failed.into()
                }
            }),
        }
    }

    fn failed<E>(&self, action: &'static str, error: SdkError<E>) -> KmsError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.error(action, fault_of(&error), error.into())
    }

    fn incomplete(&self, action: &'static str) -> KmsError {
        self.error(action, KmsFault::Refused, "its answer has no key of 32 bytes".into())
    }

    fn error(&self, action: &'static str, fault: KmsFault, source: Box<dyn Error + Send + Sync>) -> KmsError {
        KmsError {
            action,
            key_id: self.key_id.clone(),
            place: self.place.clone(),
            fault,
            source,
        }
    }
}

/// What a question may take, with its retries.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// Codes: <https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html> and the pages of both operations.
fn fault_of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> KmsFault {
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => return KmsFault::Unreachable,
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => return KmsFault::Unreachable,
        // No credentials were found, or their source does not answer.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => return KmsFault::NoCredentials,
        _ => {}
    }
    match error.code() {
        Some("AccessDeniedException" | "AccessDenied" | "NotAuthorized") => KmsFault::AccessDenied,
        Some(
            "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException",
        ) => KmsFault::NoCredentials,
        Some("NotFoundException") => KmsFault::UnknownKey,
        Some("DisabledException" | "KMSInvalidStateException" | "InvalidKeyUsageException") => KmsFault::UnusableKey,
        Some(
            "DependencyTimeoutException"
            | "InternalFailure"
            | "KMSInternalException"
            | "KeyUnavailableException"
            | "RequestLimitExceeded"
            | "ServiceUnavailable"
            | "ThrottlingException",
        ) => KmsFault::Unavailable,
        _ => KmsFault::Refused,
    }
}

fn data_key(plaintext: Option<Blob>) -> Option<DataKey> {
    let bytes = Zeroizing::new(plaintext?.into_inner());
    let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok()?);
    Some(DataKey::from_bytes(*bytes))
}
