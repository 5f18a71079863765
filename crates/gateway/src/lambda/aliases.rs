//! Aliases of functions.

use super::functions::page_answer;
use super::{ApiError, Call};
use crate::Gateway;
use control::{AliasChange, AliasRecord};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AliasInput {
    name: String,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<RoutingInput>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoutingInput {
    additional_version_weights: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    function_version: Option<String>,
}

pub(super) async fn create_alias(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (name, input) = read(gateway, &call)?;
    let alias = input.name.clone();
    let record = gateway
        .control
        .create_alias(&call.account, &name, &alias, input.change())
        .await?;
    Ok(answer(&record))
}

pub(super) async fn get_alias(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (name, input) = read(gateway, &call)?;
    let record = gateway.control.alias(&call.account, &name, &input.name).await?;
    Ok(answer(&record))
}

pub(super) async fn update_alias(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (name, input) = read(gateway, &call)?;
    let alias = input.name.clone();
    let record = gateway
        .control
        .update_alias(&call.account, &name, &alias, input.change())
        .await?;
    Ok(answer(&record))
}

pub(super) async fn delete_alias(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (name, input) = read(gateway, &call)?;
    gateway.control.delete_alias(&call.account, &name, &input.name).await?;
    Ok(Value::Null)
}

pub(super) async fn list_aliases(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ListInput = call.read()?;
    let name = call.unqualified(gateway)?;
    let version = input.function_version.as_deref();
    let page = gateway
        .control
        .aliases(&call.account, &name, version, &call.page()?)
        .await?;
    Ok(page_answer(
        "Aliases",
        page.items.iter().map(answer).collect(),
        page.next,
    ))
}

impl AliasInput {
    fn change(self) -> AliasChange {
        AliasChange {
            version: self.function_version,
            description: self.description,
            routing: self
                .routing_config
                .map(|routing| routing.additional_version_weights.unwrap_or_default()),
            revision_id: self.revision_id.filter(|revision| !revision.is_empty()),
        }
    }
}

fn read(gateway: &Gateway, call: &Call) -> Result<(String, AliasInput), ApiError> {
    Ok((call.unqualified(gateway)?, call.read()?))
}

/// AliasConfiguration.
fn answer(record: &AliasRecord) -> Value {
    let mut answer = json!({
        "AliasArn": record.arn,
        "Name": record.name,
        "FunctionVersion": record.version,
        "Description": record.description,
        "RevisionId": record.revision_id,
    });
    if let Some((version, weight)) = &record.routing {
        answer["RoutingConfig"] = json!({ "AdditionalVersionWeights": { version.as_str(): weight } });
    }
    answer
}
