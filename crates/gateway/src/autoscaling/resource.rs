//! What a request is about: the service, the resource and the dimension that it names.

use super::{invalid, refuse};
use crate::json_error::JsonError;
use chunk::Account;
use control::ScalableResource;
use serde_json::{Map, Value};

pub(super) const NAMESPACE: &str = "lambda";
pub(super) const DIMENSION: &str = "lambda:function:ProvisionedConcurrency";

const UNSUPPORTED: &str = "Unsupported service namespace, resource type or scalable dimension";

/// The resource that a request names by `ResourceId`.
pub(super) fn resource(account: &Account, input: &Map<String, Value>) -> Result<ScalableResource, JsonError> {
    check_namespace(input)?;
    let id = text(input, "ResourceId")?.ok_or_else(|| missing("resourceId"))?;
    match text(input, "ScalableDimension")? {
        Some(DIMENSION) => parse(account, id),
        Some(_) => Err(invalid(UNSUPPORTED)),
        None => Err(missing("scalableDimension")),
    }
}

/// Checks what lists are narrowed by, and gives the resources' ids: all, if there are none.
pub(super) fn filter(account: &Account, input: &Map<String, Value>) -> Result<Option<ScalableResource>, JsonError> {
    check_namespace(input)?;
    if text(input, "ScalableDimension")?.is_some_and(|dimension| dimension != DIMENSION) {
        return Err(invalid(UNSUPPORTED));
    }
    let id = text(input, "ResourceId")?;
    id.map(|id| parse(account, id)).transpose()
}

fn check_namespace(input: &Map<String, Value>) -> Result<(), JsonError> {
    match text(input, "ServiceNamespace")? {
        Some(NAMESPACE) => Ok(()),
        Some(_) => Err(invalid(UNSUPPORTED)),
        None => Err(missing("serviceNamespace")),
    }
}

/// `function:NAME:QUALIFIER`.
pub(super) fn parse(account: &Account, id: &str) -> Result<ScalableResource, JsonError> {
    let parts: Vec<&str> = id.split(':').collect();
    let is_part = |part: &str| {
        (1..=128).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match parts[..] {
        ["function", name, qualifier] if is_part(name) && is_part(qualifier) => Ok(ScalableResource {
            account: account.clone(),
            name: name.to_owned(),
            qualifier: qualifier.to_owned(),
        }),
        _ => Err(invalid(UNSUPPORTED)),
    }
}

/// A member that is text, if it is there.
pub(super) fn text<'a>(input: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, JsonError> {
    match input.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=1600).contains(&text.len()) => Ok(Some(text)),
        Some(Value::String(_)) => Err(invalid(format!("{member} has from 1 to 1600 characters."))),
        Some(_) => Err(wrong(member, "a string")),
    }
}

/// A list of names, if it is there.
pub(super) fn texts(input: &Map<String, Value>, member: &str) -> Result<Option<Vec<String>>, JsonError> {
    let Some(value) = input.get(member).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(value.clone())
        .map(Some)
        .map_err(|_| wrong(member, "a list of strings"))
}

/// Milliseconds since 1970 from the seconds of JSON 1.1.
pub(super) fn time(input: &Map<String, Value>, member: &str) -> Result<Option<u64>, JsonError> {
    let Some(value) = input.get(member).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its range was checked"
    )]
    let ms = seconds.map(|seconds| (seconds * 1000.0).round() as u64);
    ms.map(Some)
        .ok_or_else(|| wrong(member, "a time in seconds since 1970"))
}

/// A number of environments or seconds, if it is there.
pub(super) fn number(input: &Map<String, Value>, member: &str) -> Result<Option<u32>, JsonError> {
    let Some(value) = input.get(member).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    // As Lambda's, a capacity is an int.
    let number = number.filter(|number| i32::try_from(*number).is_ok());
    number.map(Some).ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must be an integer greater \
             than or equal to 0",
            lower_first(member)
        ))
    })
}

pub(super) fn missing(member: &str) -> JsonError {
    invalid(format!(
        "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
        lower_first(member)
    ))
}

fn wrong(member: &str, kind: &str) -> JsonError {
    refuse("SerializationException", format!("{member} is to be {kind}"))
}

fn lower_first(member: &str) -> String {
    let mut characters = member.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
