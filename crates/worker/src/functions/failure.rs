//! Why an invocation has no answer of the function's own, in Lambda's words.

use super::records::Outcome;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;

/// Characters of a runtime's own message that a status shows.
const REASON_MAX: usize = 500;

/// The platform's verdict on an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The runtime reported an error while it initialised; its own JSON.
    InitError { error_type: String, body: Bytes },
    /// The runtime's process ended.
    Exited(HowEnded),
    /// The environment's memory limit was met, and the kernel killed the runtime.
    OutOfMemory,
    /// It took longer than the function's timeout.
    TimedOut { timeout: Duration },
    /// The answer was too large.
    TooLarge,
    /// The connection broke within the answer.
    Truncated,
    /// The runtime asked for a response mode that there is not.
    InvalidResponseMode,
    /// An extension exited, or reported an error.
    Extension { error_type: String, name: String },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HowEnded {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Failure {
    /// An extension's process ended.
    pub(crate) fn extension_crash(name: String) -> Self {
        Self::Extension {
            error_type: "Extension.Crash".to_owned(),
            name,
        }
    }

    /// Lambda's `errorType`.
    pub(crate) fn error_type(&self) -> &str {
        match self {
            Self::InitError { error_type, .. } | Self::Extension { error_type, .. } => error_type,
            Self::Exited(_) => "Runtime.ExitError",
            Self::OutOfMemory => "Runtime.OutOfMemory",
            Self::TimedOut { .. } => "Sandbox.Timedout",
            Self::TooLarge => "Function.ResponseSizeTooLarge",
            Self::Truncated => "Runtime.TruncatedResponse",
            Self::InvalidResponseMode => "Runtime.InvalidResponseModeHeader",
        }
    }

    /// Lambda's `errorMessage`.
    pub(crate) fn message(&self, request_id: &str) -> String {
        match self {
            Self::TooLarge => {
                let max = crate::runtime_api::RESPONSE_BYTES_MAX;
                format!("Response payload size exceeded maximum allowed payload size ({max} bytes).")
            }
            _ => format!("RequestId: {request_id} Error: {}", self.reason()),
        }
    }

    /// What to say of an environment that nobody waits for: the error's type, and the runtime's own words if it has any.
    pub(crate) fn init_reason(&self) -> String {
        format!("{}: {}", self.error_type(), self.init_message())
    }

    /// The second half of [`Self::init_reason`].
    pub(crate) fn init_message(&self) -> String {
        let said = match self {
            Self::InitError { body, .. } => serde_json::from_slice::<serde_json::Value>(body).ok(),
            _ => None,
        };
        let message = said.as_ref().and_then(|said| said["errorMessage"].as_str());
        message.map_or_else(|| self.reason(), |message| message.chars().take(REASON_MAX).collect())
    }

    /// What the caller gets.
    pub(crate) fn payload(&self, request_id: &str) -> Bytes {
        match self {
            Self::InitError { body, .. } => body.clone(),
            _ => {
                let body = json!({"errorType": self.error_type(), "errorMessage": self.message(request_id)});
                Bytes::from(body.to_string())
            }
        }
    }

    /// What the log says before END; `None` where the runtime has said it itself.
    pub(crate) fn log_line(&self, request_id: &str, timestamp: &str) -> Option<String> {
        match self {
            Self::InitError { .. } | Self::TooLarge => None,
            Self::TimedOut { .. } => Some(format!("{timestamp} {request_id} {}", self.reason())),
            _ => Some(format!("{}\n{}", self.message(request_id), self.error_type())),
        }
    }

    /// What telemetry and REPORT say.
    pub(crate) fn outcome(&self) -> Outcome {
        let error_type = self.error_type().to_owned();
        match self {
            Self::TimedOut { .. } => Outcome::Timeout,
            Self::TooLarge | Self::InitError { .. } => Outcome::Error { error_type },
            _ => Outcome::Failure { error_type },
        }
    }

    fn reason(&self) -> String {
        match self {
            // As Lambda's own init code says it.
            Self::Exited(HowEnded::Code(0)) => "Runtime exited without providing a reason".to_owned(),
            Self::Exited(HowEnded::Code(code)) => format!("Runtime exited with error: exit status {code}"),
            Self::Exited(HowEnded::Signal(signal)) => {
                format!("Runtime exited with error: signal: {}", signal_name(*signal))
            }
            Self::OutOfMemory => "Runtime exited with error: signal: killed".to_owned(),
            Self::TimedOut { timeout } => format!("Task timed out after {:.2} seconds", timeout.as_secs_f64()),
            Self::Truncated => "Runtime truncated the response".to_owned(),
            Self::InvalidResponseMode => "Runtime sent an unknown response mode".to_owned(),
            Self::Extension { name, error_type } if error_type == "Extension.Crash" => {
                format!("extension {name} exited")
            }
            Self::Extension { name, .. } => format!("extension {name} failed"),
            Self::InitError { error_type, .. } => error_type.clone(),
            Self::TooLarge => "response too large".to_owned(),
        }
    }
}

/// Go's words for signals, which Lambda's messages use.
fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        4 => "illegal instruction".to_owned(),
        5 => "trace/breakpoint trap".to_owned(),
        6 => "aborted".to_owned(),
        7 => "bus error".to_owned(),
        8 => "floating point exception".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        14 => "alarm clock".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, HowEnded};
    use std::time::Duration;

    fn check(failure: &Failure, error_type: &str, message: &str) {
        let payload: serde_json::Value = serde_json::from_slice(&failure.payload("id")).unwrap();
        assert_eq!(payload["errorType"], error_type);
        assert_eq!(payload["errorMessage"], message);
    }

    #[test]
    fn payloads_are_lambdas() {
        check(
            &Failure::TimedOut {
                timeout: Duration::from_secs(1),
            },
            "Sandbox.Timedout",
            "RequestId: id Error: Task timed out after 1.00 seconds",
        );
        check(
            &Failure::Exited(HowEnded::Code(0)),
            "Runtime.ExitError",
            "RequestId: id Error: Runtime exited without providing a reason",
        );
        check(
            &Failure::Exited(HowEnded::Code(127)),
            "Runtime.ExitError",
            "RequestId: id Error: Runtime exited with error: exit status 127",
        );
        check(
            &Failure::Exited(HowEnded::Signal(11)),
            "Runtime.ExitError",
            "RequestId: id Error: Runtime exited with error: signal: segmentation fault",
        );
        check(
            &Failure::OutOfMemory,
            "Runtime.OutOfMemory",
            "RequestId: id Error: Runtime exited with error: signal: killed",
        );
        check(
            &Failure::TooLarge,
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        );
    }

    #[test]
    fn an_init_error_is_the_runtimes_own() {
        let body = r#"{"errorMessage":"no module","errorType":"Runtime.ImportModuleError"}"#;
        let failure = Failure::InitError {
            error_type: "Runtime.ImportModuleError".to_owned(),
            body: body.into(),
        };
        assert_eq!(failure.payload("id"), body);
    }
}
