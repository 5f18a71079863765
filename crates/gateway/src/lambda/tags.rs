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
    let name = tagged_function(gateway, &call, &input.resource).await?;
    gateway.control.tag_function(&call.account, &name, &input.tags).await?;
    Ok(json!({}))
}

pub(super) async fn untag_resource(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: TagsInput = call.read()?;
    let name = tagged_function(gateway, &call, &input.resource).await?;
    gateway
        .control
        .untag_function(&call.account, &name, &input.tag_keys)
        .await?;
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
        "event-source-mapping" => Some("Event source mapping"),
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
        check(
            "event-source-mapping:e3d0a1c2-0000-0000-0000-000000000000",
            Some("Event source mapping"),
        );
        check("capacity-provider:p", Some("Capacity provider"));
        check("code-signing-config:csc-0123456789abcdef0", Some("Code signing config"));
    }
}
