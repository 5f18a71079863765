//! What an input breaks, in Lambda's texts.

use super::super::ApiError;
use super::super::model::Shape;
use serde_json::{Map, Value};

/// Characters of a value that a message repeats. Lambda repeats all; a message of ours has a limit.
pub(super) const SHOWN_MAX: usize = 1024;

/// Violations that are collected; with that many the message says enough.
const VIOLATIONS_MAX: usize = 16;

/// What an input breaks.
#[derive(Default)]
pub(super) struct Violations {
    lines: Vec<String>,
}

impl Violations {
    /// What a value breaks.
    pub(super) fn add(&mut self, shape: &Shape, place: &str, value: &str, constraint: &str) {
        if self.lines.len() < VIOLATIONS_MAX {
            let value = if shape.sensitive {
                String::new()
            } else {
                format!(" '{}'", cut(value))
            };
            self.lines.push(format!(
                "Value{value} at '{place}' failed to satisfy constraint: {constraint}"
            ));
        }
    }

    /// A member that has to be there and is not.
    pub(super) fn add_missing(&mut self, place: &str) {
        if self.lines.len() < VIOLATIONS_MAX {
            self.lines.push(format!(
                "Value null at '{place}' failed to satisfy constraint: Member must not be null"
            ));
        }
    }

    /// What an inner value breaks, if anything. The message shows the `whole` list or map; it is written down only for
    /// a message, because a caller may send as many inner values as a body holds.
    pub(super) fn add_nested(
        &mut self,
        shape: &Shape,
        place: &str,
        what: &str,
        broken: &[String],
        whole: impl Fn() -> String,
    ) {
        if !broken.is_empty() && self.lines.len() < VIOLATIONS_MAX {
            self.add(shape, place, &whole(), &format!("{what}: [{}]", broken.join(", ")));
        }
    }

    /// One error of all, if there are any.
    pub(super) fn into_result(self) -> Result<(), ApiError> {
        let count = self.lines.len();
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let message = format!("{count} validation {errors} detected: {}", self.lines.join("; "));
        Err(ApiError::new("ValidationException", message))
    }
}

/// A value as Java prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => shown_list(values),
        Value::Object(members) => shown_map(members),
        other => other.to_string(),
    }
}

pub(super) fn shown_list(values: &[Value]) -> String {
    format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
}

pub(super) fn shown_map(members: &Map<String, Value>) -> String {
    let pairs: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end])
}
