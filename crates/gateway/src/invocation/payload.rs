//! What goes into an invocation and what comes out, as bytes.

use crate::lambda::ApiError;
use api::Body;
use bytes::{Bytes, BytesMut};

/// Largest answer that is collected: 6 MiB and what Lambda allows around it. Source: the text of
/// Function.ResponseSizeTooLarge, "(6291556 bytes)".
const COLLECTED_BYTES_MAX: usize = 6_291_556;

/// All of an answer's bytes, of at most [`COLLECTED_BYTES_MAX`]. The worker collects buffered answers itself; this is
/// for one that streams all the same.
pub(crate) async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let mut stream = match body {
        Body::Whole(bytes) => return Ok(bytes),
        Body::Stream(stream) => stream,
    };
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.recv().await {
        if whole.len() + piece.len() > COLLECTED_BYTES_MAX {
            let message =
                format!("Response payload size exceeded maximum allowed payload size ({COLLECTED_BYTES_MAX} bytes).");
            return Err(ApiError::new("ServiceException", message));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Checks that a payload is JSON, without building it. An empty one stands for `{}`.
pub(crate) fn check_payload(payload: Bytes) -> Result<Bytes, ApiError> {
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let refuse = |error: &dyn std::fmt::Display| {
        let message = format!("Could not parse request body into json: {error}");
        ApiError::new("InvalidRequestContentException", message)
    };
    let text = std::str::from_utf8(&payload).map_err(|error| refuse(&error))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| refuse(&error))?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json() {
        let check = |payload: &'static [u8], expected: Option<&'static [u8]>| {
            assert_eq!(
                check_payload(Bytes::from_static(payload)).ok().as_deref(),
                expected,
                "{payload:?}"
            );
        };
        check(b"", Some(b"{}"));
        check(b"{\"a\": [1, null]}", Some(b"{\"a\": [1, null]}"));
        check(b"\"text\"", Some(b"\"text\""));
        check(b" 7 ", Some(b" 7 "));
        for bad in [&b"{"[..], b"nul", b"{} {}", b"\xff", b"\"\xff\"", b"'a'", b"NaN", b"\0"] {
            check(bad, None);
        }
    }

    #[test]
    fn deep_payloads_do_not_overflow_the_stack() {
        let deep = Bytes::from("[".repeat(3_000_000) + &"]".repeat(3_000_000));
        assert!(check_payload(deep).is_ok());
    }
}
