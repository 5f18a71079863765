//! ReportBatchItemFailures: which messages of a batch an answer says have failed.
//!
//! Rules: AWS Lambda Developer Guide, "Success and failure conditions" of batch item failures.

use serde_json::Value;

/// What an answer says of its batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// These, by message id; none is complete success.
    These(Vec<String>),
    /// All: the answer cannot be read, or names what was not in the batch.
    All,
}

/// Reads an answer to a batch with these message ids.
pub(super) fn failed(answer: &[u8], ids: &[&str]) -> Failed {
    let answer = if answer.is_empty() { b"null" } else { answer };
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return Failed::All;
    };
    let items = match &answer {
        Value::Null => return Failed::These(Vec::new()),
        Value::String(text) if text.is_empty() => return Failed::These(Vec::new()),
        Value::Object(members) => match members.get("batchItemFailures") {
            None | Some(Value::Null) => return Failed::These(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Failed::All,
        },
        _ => return Failed::All,
    };
    let id = |item: &Value| {
        let id = item.get("itemIdentifier")?.as_str()?;
        ids.contains(&id).then(|| id.to_owned())
    };
    items
        .iter()
        .map(id)
        .collect::<Option<_>>()
        .map_or(Failed::All, Failed::These)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Option<&[&str]>) {
        let expected = expected.map_or(Failed::All, |ids| {
            Failed::These(ids.iter().map(|id| (*id).to_owned()).collect())
        });
        assert_eq!(failed(answer.as_bytes(), &["a", "b"]), expected, "{answer}");
    }

    #[test]
    fn complete_success() {
        for answer in [
            "",
            "null",
            "{}",
            "\"\"",
            r#"{"batchItemFailures": []}"#,
            r#"{"batchItemFailures": null}"#,
            r#"{"other": 1}"#,
        ] {
            check(answer, Some(&[]));
        }
    }

    #[test]
    fn some_failed() {
        check(r#"{"batchItemFailures": [{"itemIdentifier": "b"}]}"#, Some(&["b"]));
        check(
            r#"{"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "a"}]}"#,
            Some(&["b", "a"]),
        );
    }

    #[test]
    fn complete_failure() {
        for answer in [
            "{no json",
            "7",
            "\"text\"",
            "[]",
            r#"{"batchItemFailures": "a"}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": 1}]}"#,
            r#"{"batchItemFailures": [{"badKey": "a"}]}"#,
            r#"{"batchItemFailures": ["a"]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]}"#,
        ] {
            check(answer, None);
        }
    }
}
