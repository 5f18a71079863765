//! Gathers the members of an input from path, query, headers and body.

use super::ApiError;
use super::model::{Kind, Location, Member, Model, Shape};
use super::route::Found;
use crate::query;
use axum::http::request::Parts;
use serde_json::{Map, Value};

/// The input's members by their names in the model. Unknown members of the body are dropped, as Lambda does.
pub(super) fn gather(
    model: &Model,
    found: &Found<'_, '_>,
    parts: &Parts,
    body: &[u8],
) -> Result<Map<String, Value>, ApiError> {
    let mut input = Map::new();
    let Some(shape) = found.operation.input.and_then(|input| model.shape(input)) else {
        return Ok(input);
    };
    if shape.payload.is_none() {
        take_body(shape, body, &mut input)?;
    }
    for (name, member) in &shape.members {
        let kind = model.shape(member.shape).map_or(Kind::String, |shape| shape.kind);
        let outer = member.name.unwrap_or(name);
        let value = match member.location {
            Location::Uri => label(found, outer, kind)?,
            Location::Query => from_query(parts.uri.query(), outer, kind)?,
            Location::Header => from_header(parts, outer, kind)?,
            Location::Body | Location::StatusCode => None,
        };
        if let Some(value) = value {
            input.insert((*name).to_owned(), value);
        }
    }
    Ok(input)
}

fn take_body(shape: &Shape, body: &[u8], input: &mut Map<String, Value>) -> Result<(), ApiError> {
    if body.is_empty() {
        return Ok(());
    }
    let in_body = |member: &&Member| member.location == Location::Body;
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::new("SerializationException", format!("The body is not JSON: {error}")))?;
    let Value::Object(members) = document else {
        return Err(ApiError::new("SerializationException", "The body is not a JSON object"));
    };
    let known = members
        .into_iter()
        .filter(|(name, value)| !value.is_null() && shape.members.get(name.as_str()).as_ref().is_some_and(in_body));
    input.extend(known);
    Ok(())
}

fn label(found: &Found<'_, '_>, name: &str, kind: Kind) -> Result<Option<Value>, ApiError> {
    let found = found.labels.iter().find(|(label, _)| *label == name);
    found.map(|(_, text)| read_text(text, name, kind)).transpose()
}

fn from_query(query: Option<&str>, name: &str, kind: Kind) -> Result<Option<Value>, ApiError> {
    let mut values = query::pairs(query.unwrap_or_default())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value);
    if kind == Kind::List {
        let values: Vec<Value> = values.map(|value| Value::String(value.into_owned())).collect();
        return Ok((!values.is_empty()).then_some(Value::Array(values)));
    }
    values
        .next()
        .filter(|value| !value.is_empty())
        .map(|value| read_text(&value, name, kind))
        .transpose()
}

fn from_header(parts: &Parts, name: &str, kind: Kind) -> Result<Option<Value>, ApiError> {
    let text = parts.headers.get(name).and_then(|value| value.to_str().ok());
    text.map(|text| read_text(text, name, kind)).transpose()
}

fn read_text(text: &str, name: &str, kind: Kind) -> Result<Value, ApiError> {
    let wrong = |wanted: &str| ApiError::new("SerializationException", format!("'{name}' is not {wanted}"));
    match kind {
        Kind::Integer | Kind::Long => text.parse::<i64>().map(Value::from).map_err(|_| wrong("an integer")),
        Kind::Double => text.parse::<f64>().map(Value::from).map_err(|_| wrong("a number")),
        Kind::Boolean => text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| wrong("true or false")),
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    fn check(method: &str, uri: &str, body: &str, expected: &Result<Value, &str>) {
        let model = Model::embedded().unwrap();
        let (parts, ()) = Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        let found = model
            .router()
            .find(method, parts.uri.path(), parts.uri.query())
            .unwrap();
        let input = gather(&model, &found, &parts, body.as_bytes());
        let input = input.map(Value::Object).map_err(|error| error.code);
        assert_eq!(&input, expected, "{uri}");
    }

    #[test]
    fn members_come_from_all_places() {
        check(
            "GET",
            "/2018-10-31/layers/numbers/versions/7",
            "",
            &Ok(json!({"LayerName": "numbers", "VersionNumber": 7})),
        );
        check(
            "GET",
            "/2015-03-31/functions/hello/versions?Marker=m%2F1&MaxItems=7",
            "",
            &Ok(json!({"FunctionName": "hello", "Marker": "m/1", "MaxItems": 7})),
        );
        check(
            "DELETE",
            "/2017-03-31/tags/arn%3Ax?tagKeys=a&tagKeys=b",
            "",
            &Ok(json!({"Resource": "arn:x", "TagKeys": ["a", "b"]})),
        );
        check(
            "PUT",
            "/2015-03-31/functions/hello/code",
            r#"{"FunctionName": "other", "DryRun": true, "Unknown": 1, "ZipFile": null}"#,
            &Ok(json!({"FunctionName": "hello", "DryRun": true})),
        );
    }

    #[test]
    fn broken_input_is_named() {
        let path = "/2015-03-31/functions/hello/code";
        for body in ["{", "[]", "7", "\u{0}", "{\"a\":1}}"] {
            check("PUT", path, body, &Err("SerializationException"));
        }
        check("PUT", path, &"[".repeat(100_000), &Err("SerializationException"));
        check(
            "GET",
            "/2015-03-31/functions?MaxItems=many",
            "",
            &Err("SerializationException"),
        );
    }
}
