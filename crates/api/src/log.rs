//! Lines on their way to the record.

use chunk::Account;

/// Some lines of one environment, oldest first.
#[derive(Clone, Debug)]
pub struct LogBatch {
    /// Whose.
    pub account: Account,
    /// `/aws/lambda/NAME`, or what the function names.
    pub group: String,
    /// `YYYY/MM/DD/[VERSION]32-hex-digits`; one for each environment.
    pub stream: String,
    /// The lines.
    pub events: Vec<LogEvent>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Without the newline; at most 256 KiB.
    pub message: String,
}
