//! What a failed call to the object store means.

use crate::ErrorKind;
use object_store::client::HttpError;
use object_store::path::Path;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a call failed, as far as it decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection, a broken one, or no answer in time.
    Unreachable,
    /// The disk or a quota is full.
    Full,
    /// No permission, or no valid credentials.
    Denied,
    /// The bucket or the directory is not there.
    NoStore,
    /// The server cannot do what we need, such as a conditional put.
    Unsupported,
    /// We asked for something that makes no sense.
    Ours,
    /// The server calls the request wrong; often the region is.
    Rejected,
    /// The store failed for reasons of its own.
    Failed,
}

impl Fault {
    pub(crate) fn of(error: &object_store::Error) -> Self {
        use object_store::Error::{
            InvalidPath, JoinError, NotFound, NotImplemented, NotModified, NotSupported, PermissionDenied,
            Precondition, Unauthenticated, UnknownConfigurationKey,
        };
        match error {
            PermissionDenied { .. } | Unauthenticated { .. } => Self::Denied,
            NotFound { .. } => Self::NoStore,
            NotImplemented { .. } | NotSupported { .. } => Self::Unsupported,
            InvalidPath { .. }
            | JoinError { .. }
            | NotModified { .. }
            | Precondition { .. }
            | UnknownConfigurationKey { .. } => Self::Ours,
            _ => causes(error).find_map(Self::of_cause).unwrap_or(Self::Failed),
        }
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        // Of every kind: object_store calls some broken connections "unknown" and then does not try again.
        if cause.is::<HttpError>() {
            return Some(Self::Unreachable);
        }
        let Some(system) = cause.downcast_ref::<io::Error>() else {
            return Self::of_status(&cause.to_string());
        };
        match system.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Some(Self::Full),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Self::Denied),
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof => Some(Self::Unreachable),
            _ => None,
        }
    }

    /// The type that holds an answer's status is private to object_store 0.14, and its listings hide even the errors
    /// that other calls tell apart. So the status is read from the message; tests over HTTP notice when that changes.
    fn of_status(message: &str) -> Option<Self> {
        let status = message
            .strip_prefix("Server returned non-2xx status code: ")?
            .get(..3)?;
        Some(match status.parse::<u16>().ok()? {
            401 | 403 => Self::Denied,
            404 => Self::NoStore,
            429 => Self::Failed,
            400..=499 => Self::Rejected,
            _ => Self::Failed,
        })
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Unreachable => "; check the endpoint and the network, then run it again",
            Self::Full => "; free some space, then run it again: what was stored is not sent twice",
            Self::Denied => "; check the permissions, or the AWS credentials",
            Self::NoStore => "; create the bucket or the directory first",
            Self::Unsupported => "; lambent needs a store with conditional puts (If-None-Match)",
            Self::Ours => "; this is a bug of lambent",
            Self::Rejected => "; check the endpoint, the bucket and the region",
            Self::Failed => "",
        }
    }

    pub(crate) const fn kind(self) -> ErrorKind {
        match self {
            Self::Unreachable | Self::Failed => ErrorKind::Retry,
            Self::Full | Self::Denied | Self::NoStore | Self::Unsupported | Self::Rejected => ErrorKind::FixRequest,
            Self::Ours => ErrorKind::Bug,
        }
    }
}

/// One call that did not succeed, after all attempts.
///
/// The message already ends with the innermost cause; the source keeps the chain for a log.
#[derive(Debug)]
pub struct CallFailed {
    /// What was tried, as in "write".
    action: &'static str,
    key: Path,
    place: String,
    fault: Fault,
    source: Box<object_store::Error>,
}

impl CallFailed {
    pub(crate) fn new(action: &'static str, key: &Path, place: &str, source: object_store::Error) -> Self {
        Self {
            action,
            key: key.clone(),
            place: place.to_owned(),
            fault: Fault::of(&source),
            source: Box::new(source),
        }
    }

    /// What the failure means.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }
}

impl fmt::Display for CallFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, key, place, .. } = self;
        let reason = reason(&self.source);
        write!(
            formatter,
            "cannot {action} `{key}` in {place}: {reason}{}",
            self.fault.hint()
        )
    }
}

impl Error for CallFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Characters of a server's answer that a message repeats: enough for its code and sentence, not for its whole XML.
const REASON_CHARS_MAX: usize = 300;

/// The innermost cause on one line: object_store's own messages repeat each cause at every level.
fn reason(error: &object_store::Error) -> String {
    let innermost = causes(error).last().map_or_else(String::new, ToString::to_string);
    let line = innermost.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(REASON_CHARS_MAX).collect()
}

fn causes<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error as &'a (dyn Error + 'static)), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_decide_what_to_do() {
        let cases = [
            (io::Error::from_raw_os_error(28), Fault::Full, ErrorKind::FixRequest),
            (io::Error::from_raw_os_error(122), Fault::Full, ErrorKind::FixRequest),
            (io::Error::from_raw_os_error(13), Fault::Denied, ErrorKind::FixRequest),
            (io::Error::from_raw_os_error(30), Fault::Denied, ErrorKind::FixRequest),
            (io::Error::from_raw_os_error(111), Fault::Unreachable, ErrorKind::Retry),
            (io::Error::from_raw_os_error(5), Fault::Failed, ErrorKind::Retry),
        ];
        for (cause, fault, kind) in cases {
            let text = cause.to_string();
            let source = object_store::Error::Generic {
                store: "test",
                source: Box::new(cause),
            };
            let failed = CallFailed::new("write", &Path::from("a/b"), "/data/store", source);
            assert_eq!((failed.fault(), failed.fault().kind()), (fault, kind), "{failed}");
            assert!(
                failed
                    .to_string()
                    .starts_with(&format!("cannot write `a/b` in /data/store: {text}")),
                "{failed}"
            );
        }
    }
}
