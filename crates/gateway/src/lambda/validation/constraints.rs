//! The constraints of a single value: lengths, ranges, patterns and enumerations.

use super::super::model::{Kind, Shape};
use serde_json::Value;

/// The constraints of a shape that a value breaks, not looking inside.
pub(super) fn constraints(shape: &Shape, value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if shape.kind == Kind::String => text_constraints(shape, text),
        Value::Number(number) => range_constraints(shape, number.as_f64().unwrap_or_default(), "have value").collect(),
        Value::Array(values) => range_constraints(shape, length(values.len()), "have length").collect(),
        Value::Object(members) if shape.kind == Kind::Map => {
            range_constraints(shape, length(members.len()), "have length").collect()
        }
        _ => Vec::new(),
    }
}

/// The same of a text, which may also be the key of a map.
pub(super) fn text_constraints(shape: &Shape, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !shape.values.is_empty() && !shape.values.contains(&text) {
        broken.push(format!(
            "Member must satisfy enum value set: [{}]",
            shape.values.join(", ")
        ));
    }
    broken.extend(range_constraints(shape, length(text.chars().count()), "have length"));
    // A text that is far too long is not given to the pattern.
    let within = shape.max.is_none_or(|max| length(text.len()) <= 4.0 * max);
    if shape.pattern.is_some() && within && !shape.matches(text) {
        broken.push(format!(
            "Member must satisfy regular expression pattern: {}",
            shape.pattern_text()
        ));
    }
    broken
}

fn range_constraints(shape: &Shape, measure: f64, what: &str) -> impl Iterator<Item = String> {
    let above = shape.max.filter(|max| measure > *max);
    let below = shape.min.filter(|min| measure < *min);
    let above = above.map(|max| format!("Member must {what} less than or equal to {max}"));
    let below = below.map(|min| format!("Member must {what} greater than or equal to {min}"));
    above.into_iter().chain(below)
}

#[expect(clippy::cast_precision_loss, reason = "a length beyond 2^52 does not fit in memory")]
fn length(count: usize) -> f64 {
    count as f64
}
