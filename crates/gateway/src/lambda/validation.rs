//! Checks an input against the model: kinds first, then required members, lengths, ranges, patterns and enumerations,
//! with Lambda's texts.

use super::ApiError;
use super::model::{Kind, Location, Model, Shape};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Characters of a value that a message repeats. Lambda repeats all; a message of ours has a limit.
const SHOWN_MAX: usize = 1024;

/// Violations that are collected; with that many the message says enough.
const VIOLATIONS_MAX: usize = 16;

/// Checks a whole input.
pub(super) fn check(model: &Model, shape: &str, input: &Map<String, Value>) -> Result<(), ApiError> {
    let Some(shape) = model.shape(shape) else { return Ok(()) };
    check_kinds_of_members(model, shape, input)?;
    let mut violations = Violations::default();
    check_structure(model, shape, "", input, &mut violations);
    violations.into_result()
}

/// Checks one text, for callers that have no whole input. `place` is the member's name as messages show it.
pub(super) fn check_text(model: &Model, shape: &str, place: &str, text: &str) -> Result<(), ApiError> {
    let Some(shape) = model.shape(shape) else { return Ok(()) };
    let mut violations = Violations::default();
    for constraint in text_constraints(shape, text) {
        violations.add(shape, place, text, &constraint);
    }
    violations.into_result()
}

fn check_kinds_of_members(model: &Model, shape: &Shape, members: &Map<String, Value>) -> Result<(), ApiError> {
    for (name, value) in members {
        if let Some(member) = shape.members.get(name.as_str()) {
            check_kind(model, member.shape, value)?;
        }
    }
    Ok(())
}

/// Whether JSON has the right kinds of values, all the way down.
fn check_kind(model: &Model, shape: &str, value: &Value) -> Result<(), ApiError> {
    let Some(shape) = model.shape(shape) else { return Ok(()) };
    match (shape.kind, value) {
        (_, Value::Null)
        | (Kind::String | Kind::Blob, Value::String(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Double, Value::Number(_))
        | (Kind::Timestamp, Value::Number(_) | Value::String(_)) => Ok(()),
        (Kind::Integer, Value::Number(number)) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
        (Kind::Long, Value::Number(number)) if number.is_i64() => Ok(()),
        (Kind::Structure, Value::Object(members)) => check_kinds_of_members(model, shape, members),
        (Kind::List, Value::Array(values)) => values
            .iter()
            .try_for_each(|value| check_kind(model, shape.member.unwrap_or_default(), value)),
        (Kind::Map, Value::Object(members)) => members
            .values()
            .try_for_each(|value| check_kind(model, shape.value.unwrap_or_default(), value)),
        (kind, value) => Err(ApiError::new("SerializationException", wrong_kind(kind, value))),
    }
}

fn wrong_kind(kind: Kind, value: &Value) -> String {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) | Value::Object(_) => return "Start of structure or map found where not expected.".to_owned(),
    };
    let wanted = match kind {
        Kind::Structure | Kind::Map | Kind::List => return "Unexpected field type".to_owned(),
        Kind::String => "a String",
        Kind::Blob => "a Blob",
        Kind::Boolean => "a Boolean",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Double => "a Double",
        Kind::Timestamp => "a Timestamp",
    };
    format!("{found} can not be converted to {wanted}")
}

fn check_structure(model: &Model, shape: &Shape, place: &str, members: &Map<String, Value>, out: &mut Violations) {
    for name in &shape.required {
        let is_payload = shape.payload == Some(name);
        if !is_payload && members.get(*name).is_none_or(Value::is_null) {
            out.lines.push(format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                join(place, name)
            ));
        }
    }
    for (name, member) in &shape.members {
        if let Some(value) = members.get(*name).filter(|value| !value.is_null())
            && member.location != Location::StatusCode
        {
            check_value(model, member.shape, &join(place, name), value, out);
        }
    }
}

fn check_value(model: &Model, shape: &str, place: &str, value: &Value, out: &mut Violations) {
    let Some(shape) = model.shape(shape) else { return };
    for constraint in constraints(shape, value) {
        out.add(shape, place, &shown(value), &constraint);
    }
    match value {
        Value::Object(members) if shape.kind == Kind::Structure => check_structure(model, shape, place, members, out),
        Value::Object(members) => check_map(model, shape, place, members, out),
        Value::Array(values) => check_list(model, shape, place, values, out),
        _ => {}
    }
}

fn check_map(model: &Model, shape: &Shape, place: &str, members: &Map<String, Value>, out: &mut Violations) {
    let key_shape = shape.key.and_then(|key| model.shape(key));
    let value_shape = shape.value.and_then(|value| model.shape(value));
    for (key, value) in members {
        let broken: Vec<_> = key_shape
            .into_iter()
            .flat_map(|shape| text_constraints(shape, key))
            .collect();
        out.add_nested(
            shape,
            place,
            &shown_map(members),
            "Map keys must satisfy constraint",
            &broken,
        );
        match value_shape {
            Some(inner) if matches!(inner.kind, Kind::Structure | Kind::List | Kind::Map) => {
                check_value(
                    model,
                    shape.value.unwrap_or_default(),
                    &format!("{place}.{key}.member"),
                    value,
                    out,
                );
            }
            Some(inner) => {
                let broken = constraints(inner, value);
                out.add_nested(
                    shape,
                    place,
                    &shown_map(members),
                    "Map value must satisfy constraint",
                    &broken,
                );
            }
            None => {}
        }
    }
}

fn check_list(model: &Model, shape: &Shape, place: &str, values: &[Value], out: &mut Violations) {
    let Some(inner) = shape.member.and_then(|member| model.shape(member)) else {
        return;
    };
    for (index, value) in values.iter().enumerate() {
        if matches!(inner.kind, Kind::Structure | Kind::List | Kind::Map) {
            let place = format!("{place}.{}.member", index + 1);
            check_value(model, shape.member.unwrap_or_default(), &place, value, out);
        } else {
            let broken = constraints(inner, value);
            out.add_nested(
                shape,
                place,
                &shown_list(values),
                "Member must satisfy constraint",
                &broken,
            );
        }
    }
}

/// The constraints of a shape that a value breaks, not looking inside.
fn constraints(shape: &Shape, value: &Value) -> Vec<String> {
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

fn text_constraints(shape: &Shape, text: &str) -> Vec<String> {
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

#[derive(Default)]
struct Violations {
    lines: Vec<String>,
}

impl Violations {
    fn add(&mut self, shape: &Shape, place: &str, value: &str, constraint: &str) {
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

    fn add_nested(&mut self, shape: &Shape, place: &str, value: &str, what: &str, broken: &[String]) {
        if !broken.is_empty() {
            self.add(shape, place, value, &format!("{what}: [{}]", broken.join(", ")));
        }
    }

    fn into_result(self) -> Result<(), ApiError> {
        let count = self.lines.len();
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let message = format!("{count} validation {errors} detected: {}", self.lines.join("; "));
        Err(ApiError::new("ValidationException", message))
    }
}

/// A member's place: `vpcConfig.subnetIds`, with small first letters.
fn join(place: &str, name: &str) -> String {
    let mut out = String::with_capacity(place.len() + name.len() + 1);
    if !place.is_empty() {
        let _ = write!(out, "{place}.");
    }
    let mut chars = name.chars();
    out.extend(chars.next().map(|first| first.to_ascii_lowercase()));
    out.push_str(chars.as_str());
    out
}

/// A value as Java prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => shown_list(values),
        Value::Object(members) => shown_map(members),
        other => other.to_string(),
    }
}

fn shown_list(values: &[Value]) -> String {
    format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
}

fn shown_map(members: &Map<String, Value>) -> String {
    let pairs: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_input(shape: &str, input: Value, expected: Result<(), (&str, &str)>) {
        let model = Model::embedded().unwrap();
        let Value::Object(input) = input else {
            panic!("an object")
        };
        let result = check(&model, shape, &input);
        let result = result.as_ref().copied();
        let result = result.map_err(|error| (error.code, error.message.as_str()));
        match (result, expected) {
            (Err((code, message)), Err((expected_code, part))) => {
                assert_eq!(code, expected_code, "{message}");
                assert!(message.contains(part), "{message}\nlacks\n{part}");
            }
            (result, expected) => assert_eq!(result, expected),
        }
    }

    #[test]
    fn texts_are_lambdas() {
        let message = "1 validation error detected: Value 'a b' at 'functionName' failed to satisfy constraint: \
                       Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?";
        check_input(
            "GetFunctionRequest",
            json!({"FunctionName": "a b"}),
            Err(("ValidationException", message)),
        );
        let message = "Value null at 'functionName' failed to satisfy constraint: Member must not be null";
        check_input("GetFunctionRequest", json!({}), Err(("ValidationException", message)));
        let message = "Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than \
                       or equal to 128";
        let input = json!({"FunctionName": "f", "MemorySize": 64});
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", message)),
        );
        let message =
            "Value 'cobol85' at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [";
        let input = json!({"FunctionName": "f", "Runtime": "cobol85"});
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", message)),
        );
    }

    #[test]
    fn every_violation_is_counted() {
        let input = json!({"FunctionName": "a b", "Timeout": 0});
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", "2 validation errors detected: Value")),
        );
    }

    #[test]
    fn inner_values_are_checked_and_secrets_not_shown() {
        let input = json!({"FunctionName": "f", "Environment": {"Variables": {"1bad": "value"}}});
        let message = "at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [";
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", message)),
        );
        let model = Model::embedded().unwrap();
        let input = json!({"FunctionName": "f", "Environment": {"Variables": {"1bad": "hunter2"}}});
        let error = check(&model, "UpdateFunctionConfigurationRequest", input.as_object().unwrap()).unwrap_err();
        assert!(!error.message.contains("hunter2"), "{}", error.message);
        let input = json!({"FunctionName": "f", "TracingConfig": {"Mode": "Sometimes"}});
        let message =
            "Value 'Sometimes' at 'tracingConfig.mode' failed to satisfy constraint: Member must satisfy enum";
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", message)),
        );
    }

    #[test]
    fn kinds_come_first() {
        let input = json!({"FunctionName": "f", "Timeout": "three"});
        let message = "STRING_VALUE can not be converted to an Integer";
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("SerializationException", message)),
        );
        let input = json!({"FunctionName": "f", "Description": {"a": 1}});
        let message = "Start of structure or map found where not expected.";
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("SerializationException", message)),
        );
        let input = json!({"FunctionName": "f", "Timeout": 3.5});
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("SerializationException", "DECIMAL_VALUE")),
        );
        let input = json!({"FunctionName": "f", "Timeout": 5_000_000_000_u64});
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("SerializationException", "NUMBER_VALUE")),
        );
    }

    #[test]
    fn good_input_passes() {
        let input = json!({
            "FunctionName": "hello", "Role": "arn:aws:iam::123456789012:role/x", "PackageType": "Image",
            "Code": {"ImageUri": "localhost/x:latest"}, "Environment": {"Variables": {"NAME": "b"}}, "Timeout": 900,
            "MemorySize": 10_240, "Architectures": ["x86_64"], "Tags": {"a": "b"}, "Description": null,
        });
        check_input("CreateFunctionRequest", input, Ok(()));
    }

    #[test]
    fn a_hostile_text_is_cut() {
        let model = Model::embedded().unwrap();
        let long = "x".repeat(1 << 20);
        let error = check_text(&model, "FunctionName", "functionName", &long).unwrap_err();
        assert!(error.message.len() < 2 * SHOWN_MAX);
    }
}
