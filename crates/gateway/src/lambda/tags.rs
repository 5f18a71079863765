//! ListTags, TagResource, UntagResource.

use super::{ApiError, Call, function_name::parse_function};
use crate::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagsInput {
    resource: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

pub(super) async fn list_tags(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: TagsInput = call.read()?;
    if let Some(id) = mapping_id(&input.resource) {
        let source = gateway.control.event_source(&call.account, id).await?;
        return Ok(json!({"Tags": source.settings.tags}));
    }
    let name = tagged_function(gateway, &call, &input.resource).await?;
    let tags = gateway.control.function_tags(&call.account, &name).await?;
    Ok(json!({"Tags": tags}))
}

pub(super) async fn tag_resource(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: TagsInput = call.read()?;
    if input.tags.is_empty() {
        let message = "An error occurred and the request cannot be processed.";
        return Err(ApiError::new("InvalidParameterValueException", message));
    }
    if let Some(id) = mapping_id(&input.resource) {
        return retag_mapping(gateway, &call, id, |tags| tags.extend(input.tags)).await;
    }
    let name = tagged_function(gateway, &call, &input.resource).await?;
    gateway.control.tag_function(&call.account, &name, &input.tags).await?;
    Ok(json!({}))
}

pub(super) async fn untag_resource(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: TagsInput = call.read()?;
    if let Some(id) = mapping_id(&input.resource) {
        let change = |tags: &mut BTreeMap<String, String>| tags.retain(|key, _| !input.tag_keys.contains(key));
        return retag_mapping(gateway, &call, id, change).await;
    }
    let name = tagged_function(gateway, &call, &input.resource).await?;
    gateway
        .control
        .untag_function(&call.account, &name, &input.tag_keys)
        .await?;
    Ok(json!({}))
}

/// The event source mapping that an ARN names, if it names one.
fn mapping_id(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts[..] {
        ["arn", _, "lambda", _, _, "event-source-mapping", id] => Some(id),
        _ => None,
    }
}

/// Changes the tags of a mapping; it may have as many as a function.
async fn retag_mapping(
    gateway: &Gateway,
    call: &Call,
    id: &str,
    change: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<Value, ApiError> {
    gateway.control.tag_event_source(&call.account, id, change).await?;
    Ok(json!({}))
}

/// The function that an ARN names, if it exists. Lambent has none of the other resources that Lambda can tag.
async fn tagged_function(gateway: &Gateway, call: &Call, arn: &str) -> Result<String, ApiError> {
    if let Some(kind) = other_kind(arn) {
        return Err(ApiError::new(
            "ResourceNotFoundException",
            format!("{kind} not found: {arn}"),
        ));
    }
    let function = parse_function(gateway, &call.account, arn, None)?;
    if function.qualifier.is_some() {
        let message = "Tags on function aliases and versions are not supported. Please specify a function ARN.";
        return Err(ApiError::new("InvalidParameterValueException", message));
    }
    gateway.control.function(&call.account, &function.name, None).await?;
    Ok(function.name)
}

/// What an ARN names, if that is not a function.
fn other_kind(arn: &str) -> Option<&'static str> {
    match arn.split(':').nth(5)? {
        "code-signing-config" => Some("Code signing config"),
        "capacity-provider" => Some("Capacity provider"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_that_are_not_functions_are_told_apart() {
        let check = |rest: &str, expected| {
            assert_eq!(
                other_kind(&format!("arn:aws:lambda:us-east-1:123456789012:{rest}")),
                expected,
                "{rest}"
            );
        };
        check("function:f", None);
        check("function:f:prod", None);
        check("capacity-provider:p", Some("Capacity provider"));
        check("code-signing-config:csc-0123456789abcdef0", Some("Code signing config"));
    }
}
