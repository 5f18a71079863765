//! What a user may tune.

use chunk::CHUNK_BYTES;
use std::time::Duration;

/// Limits and times of a store. [`Settings::default`] suits a laptop's disk and a bucket across the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of chunks that a writer holds while they are on their way. Default 32 MiB: 64 whole chunks, a quarter of
    /// the 128 MiB that a push may use.
    pub in_flight_bytes: usize,
    /// Chunks on their way at once, however small. Default 64: at 50 ms a request this is 1,280 chunks a second.
    pub in_flight_requests: usize,
    /// After this long no further attempt is made. Default 10 s: longer than a server's restart or a lost route, short
    /// enough for a person who mistyped the endpoint.
    pub retry_budget: Duration,
    /// How long a connection may take to open. Default 4 s: one lost SYN costs 1 s and two cost 3 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take in all, but for a push's first contact, which ends with `retry_budget`. Default
    /// 60 s: `in_flight_bytes` at 5 Mbit/s, since every request in flight shares the line.
    pub request_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_bytes: 32 * 1024 * 1024,
            in_flight_requests: 64,
            retry_budget: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// A setting with which nothing could ever be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No chunk would fit.
    #[error("in_flight_bytes is {bytes}: at least one chunk of {CHUNK_BYTES} bytes must fit")]
    InFlightBytes {
        /// The setting's value.
        bytes: usize,
    },
    /// No request would be allowed.
    #[error("in_flight_requests is 0: at least one request must be allowed")]
    InFlightRequests,
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.in_flight_bytes < CHUNK_BYTES {
            Err(SettingsError::InFlightBytes {
                bytes: self.in_flight_bytes,
            })
        } else if self.in_flight_requests == 0 {
            Err(SettingsError::InFlightRequests)
        } else {
            Ok(())
        }
    }
}
