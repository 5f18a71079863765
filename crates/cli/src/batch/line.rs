//! A result's line: as it stands in the journal and, where the output is JSON lines, there.
//!
//! ```text
//! {"line":N,"response":ANSWER}
//! {"line":N,"error":{"kind":"function","type":"ValueError","message":"no name"}}
//! ```

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A result that is read again.
#[derive(Debug)]
pub(super) struct ResultLine<'a> {
    /// Of the input, from 1.
    pub(super) line: u64,
    pub(super) outcome: Outcome<'a>,
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// The function's answer: JSON.
    Response(&'a str),
    Error(RecordError<'a>),
}

/// Why a record has no answer.
#[derive(Debug, Deserialize)]
pub(super) struct RecordError<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    pub(super) error_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Members<'a> {
    line: u64,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<RecordError<'a>>,
}

impl<'a> ResultLine<'a> {
    /// Reads what [`response`] or [`error`] wrote.
    pub(super) fn read(text: &'a [u8]) -> Result<Self> {
        let members: Members<'a> = serde_json::from_slice(text).context("a result in the journal cannot be read")?;
        let outcome = match (members.response, members.error) {
            (Some(response), None) => Outcome::Response(response.get()),
            // An answer of null.
            (None, None) => Outcome::Response("null"),
            (None, Some(error)) => Outcome::Error(error),
            (Some(_), Some(_)) => bail!("a result in the journal is both an answer and an error"),
        };
        let line = members.line;
        Ok(Self { line, outcome })
    }
}

/// The line of an answer: its bytes as the function wrote them, but on one line. What is not JSON is a string.
pub(super) fn response(line: u64, body: &[u8]) -> Vec<u8> {
    let mut result = format!("{{\"line\":{line},\"response\":").into_bytes();
    if body.is_empty() {
        result.extend_from_slice(b"null");
    } else if serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        // Within JSON a newline is white space: in strings it is escaped.
        let flat = body
            .iter()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
        result.extend(flat);
    } else {
        result.extend_from_slice(json!(String::from_utf8_lossy(body)).to_string().as_bytes());
    }
    result.push(b'}');
    result
}

/// The line of a record that has no answer.
pub(super) fn error(line: u64, kind: &str, error_type: &str, message: &str) -> Vec<u8> {
    let error = json!({"kind": kind, "type": error_type, "message": message});
    format!("{{\"line\":{line},\"error\":{error}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for (body, expected) in [
            ("{\"n\": 12345678901234567890123}", "{\"n\": 12345678901234567890123}"),
            ("[1,\n 2]", "[1,  2]"),
            ("null", "null"),
            ("", "null"),
            ("no json\n", "\"no json\\n\""),
        ] {
            let text = response(7, body.as_bytes());
            let read = ResultLine::read(&text).unwrap();
            assert_eq!(read.line, 7);
            assert!(
                matches!(read.outcome, Outcome::Response(found) if found == expected),
                "{read:?}"
            );
        }
    }

    #[test]
    fn an_error_is_read_as_it_was_written() {
        let text = error(9, "function", "ValueError", "no \"name\"\n");
        let read = ResultLine::read(&text).unwrap();
        let Outcome::Error(found) = read.outcome else {
            panic!("{read:?}");
        };
        assert_eq!(
            (read.line, &*found.kind, &*found.error_type),
            (9, "function", "ValueError")
        );
        assert_eq!(found.message, "no \"name\"\n");
        for broken in [
            "",
            "{}",
            "[1]",
            r#"{"line":1,"response":1,"error":{"kind":"","type":"","message":""}}"#,
        ] {
            assert!(ResultLine::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
