//! Events to HTTP endpoints that the operator has named.
//!
//! Whoever owns a function names a destination, and never a URL: so nobody can make this server speak to an address that
//! the operator did not choose, its own loopback included. Redirects are not followed, for the same reason.

use super::{Messaging, SendError};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use std::time::Duration;

/// Longest wait for an endpoint's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is posted.
pub(crate) struct HttpMessage<'a> {
    /// The destination's name.
    pub(crate) name: &'a str,
    /// JSON.
    pub(crate) body: &'a str,
    /// Of the event; the same with each try, so that an endpoint can tell a repetition.
    pub(crate) request_id: &'a str,
    /// Value of `X-Amzn-Trace-Id`.
    pub(crate) trace_id: &'a str,
}

pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .connect_timeout(super::CONNECT_TIMEOUT)
        .user_agent("lambent")
        .build()
}

impl Messaging {
    /// Posts a message; an endpoint takes it by a status of 2xx.
    pub(crate) async fn post(&self, message: &HttpMessage<'_>) -> Result<(), SendError> {
        let action = format!("post to the HTTP destination {}", message.name);
        let Some(url) = self.0.http_destinations.get(message.name) else {
            let reason = "the operator has named no such destination (lambent up --http-destination NAME=URL)";
            return Err(SendError::new(action, reason));
        };
        let sent = self
            .0
            .http
            .post(url.clone())
            .header("content-type", "application/json")
            .header("x-amzn-requestid", message.request_id)
            .header("x-amzn-trace-id", message.trace_id)
            .body(message.body.to_owned())
            .send()
            .await;
        match sent {
            Ok(response) => judge(action, response.status()),
            // Its own text has the URL, which may hold a secret.
            Err(error) => Err(SendError::new(action, reason(&error.without_url()))),
        }
    }
}

/// The outermost words and the innermost: "error sending request" alone helps nobody.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    format!("{error}: {cause}")
}

/// A refusal of the message itself is final; an endpoint that is busy, slow, moved or broken is asked again.
fn judge(action: String, status: StatusCode) -> Result<(), SendError> {
    if status.is_success() {
        return Ok(());
    }
    let error = SendError::new(action, format!("it answered {status}"));
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Err(error.for_ever())
        }
        _ => Err(error),
    }
}
