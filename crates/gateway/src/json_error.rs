//! The error of a JSON 1.1 service: CloudWatch Logs, ECR.

/// What the client gets as `{"__type": code, "message": message}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// The shape's name, such as `ResourceNotFoundException`.
    pub(crate) code: String,
    /// What was wrong, and what to do.
    pub(crate) message: String,
    /// The HTTP status.
    pub(crate) status: u16,
}
