//! Reserved and provisioned concurrency.

use super::date::seconds;
use super::{ApiError, Call, function_name::parse_function};
use crate::Gateway;
use control::{PageRequest, ProvisionedConcurrency, QualifiedName};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConcurrencyInput {
    function_name: String,
    qualifier: Option<String>,
    reserved_concurrent_executions: Option<u64>,
    provisioned_concurrent_executions: Option<u64>,
    marker: Option<String>,
    max_items: Option<u32>,
}

pub(super) async fn put_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let name = unqualified(gateway, &call, &input)?;
    let share = input.reserved_concurrent_executions.unwrap_or_default();
    gateway
        .control
        .put_reserved_concurrency(&call.account, &name, share, account_max(gateway))
        .await?;
    Ok(json!({"ReservedConcurrentExecutions": share}))
}

pub(super) async fn get_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let name = unqualified(gateway, &call, &input)?;
    gateway.control.function(&call.account, &name, None).await?;
    let share = gateway.control.reserved_concurrency(&call.account, &name).await?;
    Ok(share.map_or_else(|| json!({}), |share| json!({"ReservedConcurrentExecutions": share})))
}

pub(super) async fn delete_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let name = unqualified(gateway, &call, &input)?;
    gateway
        .control
        .delete_reserved_concurrency(&call.account, &name)
        .await?;
    Ok(json!({}))
}

pub(super) async fn put_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let function = parse_function(gateway, &call.account, &input.function_name, input.qualifier.as_deref())?;
    let target = named(&call, &function.name, function.qualifier.as_deref());
    let requested = input.provisioned_concurrent_executions.unwrap_or_default();
    let record = gateway
        .control
        .put_provisioned_concurrency(&target, requested, account_max(gateway))
        .await?;
    Ok(provisioned(&record))
}

pub(super) async fn get_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let function = parse_function(gateway, &call.account, &input.function_name, input.qualifier.as_deref())?;
    let target = named(&call, &function.name, function.qualifier.as_deref());
    Ok(provisioned(&gateway.control.provisioned_concurrency(&target).await?))
}

pub(super) async fn delete_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let function = parse_function(gateway, &call.account, &input.function_name, input.qualifier.as_deref())?;
    let target = named(&call, &function.name, function.qualifier.as_deref());
    gateway.control.delete_provisioned_concurrency(&target).await?;
    Ok(json!({}))
}

pub(super) async fn list_provisioned_concurrency_configs(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let name = unqualified(gateway, &call, &input)?;
    let request = PageRequest {
        marker: input.marker,
        items_max: input.max_items,
    };
    let page = gateway
        .control
        .provisioned_concurrencies(&call.account, &name, &request)
        .await?;
    let item = |record: &ProvisionedConcurrency| {
        let mut item = provisioned(record);
        item["FunctionArn"] = gateway
            .control
            .qualified_arn(&call.account, &name, Some(&record.qualifier))
            .into();
        item
    };
    let items: Vec<Value> = page.items.iter().map(item).collect();
    Ok(json!({"ProvisionedConcurrencyConfigs": items, "NextMarker": page.next}))
}

/// The function's name, for operations that versions and aliases do not have.
fn unqualified(gateway: &Gateway, call: &Call, input: &ConcurrencyInput) -> Result<String, ApiError> {
    let function = parse_function(gateway, &call.account, &input.function_name, None)?;
    if function.qualifier.is_some() {
        return Err(ApiError::new(
            "InvalidParameterValueException",
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN.",
        ));
    }
    Ok(function.name)
}

fn named<'a>(call: &'a Call, name: &'a str, qualifier: Option<&'a str>) -> QualifiedName<'a> {
    QualifiedName {
        account: &call.account,
        name,
        qualifier: qualifier.unwrap_or("$LATEST"),
    }
}

fn account_max(gateway: &Gateway) -> u64 {
    u64::from(gateway.settings.account_concurrency_max)
}

fn provisioned(record: &ProvisionedConcurrency) -> Value {
    json!({
        "RequestedProvisionedConcurrentExecutions": record.requested,
        "AvailableProvisionedConcurrentExecutions": record.allocated,
        "AllocatedProvisionedConcurrentExecutions": record.allocated,
        "Status": record.status,
        "StatusReason": record.status_reason,
        "LastModified": seconds(record.modified_ms),
    })
}
