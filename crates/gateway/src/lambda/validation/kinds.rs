//! The kinds of values: what an input's JSON must be before anything else is looked at.

use super::super::ApiError;
use super::super::model::{Kind, Model, Shape};
use serde_json::{Map, Value};

/// Whether the members of a structure have the right kinds.
pub(super) fn check_kinds_of_members(
    model: &Model,
    shape: &Shape,
    members: &Map<String, Value>,
) -> Result<(), ApiError> {
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
