//! Checks an input against the model: kinds first, then required members, lengths, ranges, patterns and enumerations,
//! with Lambda's texts.

mod constraints;
mod kinds;
#[cfg(test)]
mod tests;
mod violations;

use super::ApiError;
use super::model::{Kind, Location, Model, Shape};
use constraints::{constraints, text_constraints};
use kinds::check_kinds_of_members;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use violations::{Violations, shown, shown_list, shown_map};

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

fn check_structure(model: &Model, shape: &Shape, place: &str, members: &Map<String, Value>, out: &mut Violations) {
    for name in &shape.required {
        let is_payload = shape.payload == Some(name);
        if !is_payload && members.get(*name).is_none_or(Value::is_null) {
            out.add_missing(&join(place, name));
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
    let whole = || shown_map(members);
    for (key, value) in members {
        if let Some(key_shape) = key_shape {
            let broken = text_constraints(key_shape, key);
            out.add_nested(shape, place, "Map keys must satisfy constraint", &broken, whole);
        }
        match value_shape {
            Some(inner) if is_nested(inner) => {
                let place = format!("{place}.{key}.member");
                check_value(model, shape.value.unwrap_or_default(), &place, value, out);
            }
            Some(inner) => {
                let broken = constraints(inner, value);
                out.add_nested(shape, place, "Map value must satisfy constraint", &broken, whole);
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
        if is_nested(inner) {
            let place = format!("{place}.{}.member", index + 1);
            check_value(model, shape.member.unwrap_or_default(), &place, value, out);
        } else {
            let broken = constraints(inner, value);
            let whole = || shown_list(values);
            out.add_nested(shape, place, "Member must satisfy constraint", &broken, whole);
        }
    }
}

/// Whether values of a shape have values of their own to check.
fn is_nested(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::Structure | Kind::List | Kind::Map)
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
