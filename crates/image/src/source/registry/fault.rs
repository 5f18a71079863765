//! What registries answer, turned into one message that says what to do.

use super::login::Login;
use super::{OciDistributionError, OciErrorCode, Reference};
use crate::source::decode::printable;
use crate::source::error::SourceErrorKind;
use std::error::Error;
use std::path::PathBuf;

/// A registry did not give what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{registry}: {fault}", fault = self.message())]
pub struct RegistryError {
    /// The registry's host and port.
    pub registry: String,
    /// The repository with tag or digest.
    pub image: String,
    /// What happened.
    pub fault: RegistryFault,
}

/// The ways to fail that need different advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryFault {
    /// No connection: no such host, nothing listens, no TLS.
    #[error("cannot be reached: {reason}")]
    Unreachable {
        /// The innermost cause.
        reason: String,
    },
    /// The connection broke, or a request went unanswered.
    #[error("the connection broke: {reason}")]
    Interrupted {
        /// The innermost cause.
        reason: String,
    },
    /// Too many requests (429).
    #[error("the registry limits the rate of requests")]
    RateLimited,
    /// The registry has a fault of its own (5xx).
    #[error("the registry failed with HTTP status {status}")]
    Server {
        /// The status.
        status: u16,
    },
    /// Not logged in, a wrong password, or no permission.
    #[error("access is refused")]
    Refused {
        /// Who we were.
        login: LoginState,
    },
    /// No such repository, tag or blob.
    #[error("not found")]
    Unknown,
    /// The login cannot be read.
    #[error("cannot read the login from {path}: {reason}")]
    Credentials {
        /// docker's configuration.
        path: PathBuf,
        /// Why, without any secret.
        reason: String,
    },
    /// No such blob, though the manifest names it.
    #[error("the registry has no blob {digest}: the image was not pushed whole")]
    BlobMissing {
        /// The blob.
        digest: String,
    },
    /// A blob of another length than the manifest says.
    #[error("blob {digest} has {found} bytes, not {expected}")]
    BlobSize {
        /// The blob.
        digest: String,
        /// By the manifest.
        expected: u64,
        /// By the registry.
        found: u64,
    },
    /// A document's bytes do not have its digest.
    #[error("the registry sent other bytes than it names: {reason}")]
    WrongDigest {
        /// The two digests.
        reason: String,
    },
    /// An answer that the protocol does not have.
    #[error("the registry's answer is not understood: {reason}")]
    Protocol {
        /// What it was.
        reason: String,
    },
}

/// With which login we were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// Without one.
    Anonymous,
    /// With user name and password of docker's configuration.
    Password(PathBuf),
    /// With an identity token of docker's configuration.
    IdentityToken(PathBuf),
}

impl RegistryError {
    pub(super) fn new(reference: &Reference, fault: RegistryFault) -> Self {
        let version = match (reference.tag(), reference.digest()) {
            (_, Some(digest)) => format!("@{digest}"),
            (tag, None) => format!(":{}", tag.unwrap_or("latest")),
        };
        Self {
            registry: reference.registry().to_owned(),
            image: format!("{}{version}", reference.repository()),
            fault,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        match &self.fault {
            RegistryFault::Unreachable { .. }
            | RegistryFault::Interrupted { .. }
            | RegistryFault::RateLimited
            | RegistryFault::Server { .. } => SourceErrorKind::Retry,
            RegistryFault::Refused { .. } | RegistryFault::Unknown | RegistryFault::Credentials { .. } => {
                SourceErrorKind::Request
            }
            RegistryFault::BlobMissing { .. }
            | RegistryFault::BlobSize { .. }
            | RegistryFault::WrongDigest { .. }
            | RegistryFault::Protocol { .. } => SourceErrorKind::Data,
        }
    }

    fn message(&self) -> String {
        let Self { registry, image, fault } = self;
        match fault {
            RegistryFault::Unreachable { .. } => {
                format!("{fault}. Check the name and the network; a registry without TLS needs --plain-http {registry}")
            }
            RegistryFault::Interrupted { .. } | RegistryFault::Server { .. } => {
                format!("{fault}, and trying again did not help ({image})")
            }
            RegistryFault::RateLimited => {
                format!("{fault}: wait some minutes, or log in with `docker login {registry}` ({image})")
            }
            RegistryFault::Refused { login } => login.advice(registry, image),
            RegistryFault::Unknown => format!("there is no {image}: check repository and tag"),
            _ => format!("{fault} ({image})"),
        }
    }
}

impl LoginState {
    fn advice(&self, registry: &str, image: &str) -> String {
        let log_in = format!("`docker login {registry}`");
        match self {
            Self::Anonymous => format!("{image} does not exist, or needs a login: {log_in}"),
            Self::Password(path) => format!(
                "user name and password of {} are wrong, or give no access to {image}: log in again with {log_in}",
                path.display()
            ),
            Self::IdentityToken(path) => format!(
                "the identity token of {} is not accepted for {image}: it is sent as it is and not exchanged, so log in \
                 with user name and access token, {log_in}",
                path.display()
            ),
        }
    }
}

impl RegistryFault {
    /// Sorts an error of the client.
    pub(super) fn of(error: &OciDistributionError) -> Self {
        match error {
            OciDistributionError::RequestError(request) if request.is_connect() => Self::Unreachable {
                reason: innermost(error),
            },
            OciDistributionError::RequestError(request) if request.is_builder() || request.is_redirect() => {
                Self::Protocol {
                    reason: innermost(error),
                }
            }
            OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => Self::Interrupted {
                reason: innermost(error),
            },
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                Self::refused()
            }
            OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.first() {
                Some(first) => Self::of_code(&first.code, &first.message),
                None => Self::Protocol {
                    reason: "an empty list of errors".to_owned(),
                },
            },
            OciDistributionError::ServerError { code, .. } => Self::of_status(*code),
            OciDistributionError::ImageManifestNotFoundError(_) => Self::Unknown,
            OciDistributionError::DigestError(_) => Self::WrongDigest {
                reason: printable(&error.to_string()),
            },
            _ => Self::Protocol {
                reason: printable(&error.to_string()),
            },
        }
    }

    /// Sorts an error in the middle of a body.
    pub(super) fn of_stream(error: &std::io::Error) -> Self {
        Self::Interrupted {
            reason: innermost(error),
        }
    }

    fn of_code(code: &OciErrorCode, message: &str) -> Self {
        match code {
            OciErrorCode::Unauthorized | OciErrorCode::Denied => Self::refused(),
            OciErrorCode::Toomanyrequests => Self::RateLimited,
            OciErrorCode::ManifestUnknown
            | OciErrorCode::NameUnknown
            | OciErrorCode::NotFound
            | OciErrorCode::BlobUnknown => Self::Unknown,
            code => Self::Protocol {
                reason: printable(&format!("{code:?} {message}")),
            },
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::refused(),
            404 => Self::Unknown,
            429 => Self::RateLimited,
            408 | 500.. => Self::Server { status },
            _ => Self::Protocol {
                reason: format!("HTTP status {status}"),
            },
        }
    }

    const fn refused() -> Self {
        Self::Refused {
            login: LoginState::Anonymous,
        }
    }

    /// Says with which login it was.
    pub(super) fn with_login(self, login: &Login) -> Self {
        match self {
            Self::Refused { .. } => Self::Refused { login: login.state() },
            fault => fault,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::RateLimited | Self::Server { .. }
        )
    }
}

/// The last cause of a chain. The outer ones only repeat a URL, and that of a redirected blob holds a signature.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    printable(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_by_what_to_do() {
        let cases = [
            (401, false, "needs a login: `docker login registry.example`"),
            (403, false, "needs a login"),
            (404, false, "there is no a/b:1: check repository and tag"),
            (429, true, "wait some minutes, or log in"),
            (500, true, "HTTP status 500, and trying again did not help"),
            (503, true, "HTTP status 503"),
            (416, false, "HTTP status 416"),
        ];
        for (status, is_transient, expected) in cases {
            let fault = RegistryFault::of_status(status);
            assert_eq!(fault.is_transient(), is_transient, "{status}");
            let reference: Reference = "registry.example/a/b:1".parse().unwrap();
            let message = RegistryError::new(&reference, fault).to_string();
            assert!(
                message.starts_with("registry.example: ") && message.contains(expected),
                "{message}"
            );
        }
    }
}
