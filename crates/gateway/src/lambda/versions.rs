//! Versions of functions.

use super::functions::{listed, own_configuration, page_answer};
use super::{ApiError, Call};
use crate::Gateway;
use control::PublishRequest;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishInput {
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
    publish_to: Option<String>,
}

pub(super) async fn publish_version(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: PublishInput = call.read()?;
    if input.publish_to.is_some() {
        let message = "Lambent does not implement PublishTo. Remove it from the request.";
        return Err(ApiError::new("InvalidParameterValueException", message));
    }
    let name = call.unqualified(gateway)?;
    let request = PublishRequest {
        description: input.description,
        code_sha256: input.code_sha256.filter(|sha256| !sha256.is_empty()),
        revision_id: input.revision_id.filter(|revision| !revision.is_empty()),
    };
    let record = gateway.control.publish_version(&call.account, &name, request).await?;
    Ok(Value::Object(own_configuration(gateway, &record)))
}

pub(super) async fn list_versions_by_function(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.unqualified(gateway)?;
    let page = gateway.control.versions(&call.account, &name, &call.page()?).await?;
    let items = page
        .items
        .iter()
        .map(|record| listed(&gateway.region, record, &record.qualified_arn()))
        .collect();
    Ok(page_answer("Versions", items, page.next))
}
