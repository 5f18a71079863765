//! Reserved and provisioned concurrency.

use super::date::seconds;
use super::{ApiError, Call};
use crate::Gateway;
use crate::provisioned::{Standing, standing};
use chunk::Account;
use control::ProvisionedConcurrency;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConcurrencyInput {
    reserved_concurrent_executions: Option<u64>,
    provisioned_concurrent_executions: Option<u64>,
}

pub(super) async fn put_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ConcurrencyInput = call.read()?;
    let name = call.unqualified(gateway)?;
    let share = input.reserved_concurrent_executions.unwrap_or_default();
    gateway
        .control
        .put_reserved_concurrency(&call.account, &name, share, account_max(gateway))
        .await?;
    Ok(json!({"ReservedConcurrentExecutions": share}))
}

pub(super) async fn get_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.unqualified(gateway)?;
    gateway.control.function(&call.account, &name, None).await?;
    let share = gateway.control.reserved_concurrency(&call.account, &name).await?;
    Ok(share.map_or_else(|| json!({}), |share| json!({"ReservedConcurrentExecutions": share})))
}

pub(super) async fn delete_function_concurrency(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.unqualified(gateway)?;
    gateway
        .control
        .delete_reserved_concurrency(&call.account, &name)
        .await?;
    Ok(json!({}))
}

pub(super) async fn put_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let input: ConcurrencyInput = call.read()?;
    let requested = input.provisioned_concurrent_executions.unwrap_or_default();
    let record = gateway
        .control
        .put_provisioned_concurrency(&target, requested, account_max(gateway))
        .await?;
    // What Lambda answers, however soon they are there.
    Ok(provisioned(&record, &Standing::default()))
}

pub(super) async fn get_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let record = gateway.control.provisioned_concurrency(&target).await?;
    let standings = standings(gateway, &call.account, &function.name).await?;
    Ok(provisioned(&record, &standing_of(&standings, &record)))
}

pub(super) async fn delete_provisioned_concurrency_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    gateway.control.delete_provisioned_concurrency(&target).await?;
    Ok(json!({}))
}

pub(super) async fn list_provisioned_concurrency_configs(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.unqualified(gateway)?;
    let page = gateway
        .control
        .provisioned_concurrencies(&call.account, &name, &call.page()?)
        .await?;
    let standings = standings(gateway, &call.account, &name).await?;
    let item = |record: &ProvisionedConcurrency| {
        let mut item = provisioned(record, &standing_of(&standings, record));
        item["FunctionArn"] = gateway
            .control
            .qualified_arn(&call.account, &name, Some(&record.qualifier))
            .into();
        item
    };
    let items: Vec<Value> = page.items.iter().map(item).collect();
    Ok(json!({"ProvisionedConcurrencyConfigs": items, "NextMarker": page.next}))
}

fn account_max(gateway: &Gateway) -> u64 {
    u64::from(gateway.settings.account_concurrency_max)
}

/// How far all wishes of a function are, by qualifier.
async fn standings(gateway: &Gateway, account: &Account, name: &str) -> Result<HashMap<String, Standing>, ApiError> {
    let plan = gateway.control.provision_plan(account, name).await?;
    let reports = gateway
        .worker
        .provisioned(Some(&gateway.control.function_arn(account, name)));
    let standings = plan
        .iter()
        .map(|wish| (wish.asked.qualifier.clone(), standing(wish, &reports)));
    Ok(standings.collect())
}

fn standing_of(standings: &HashMap<String, Standing>, record: &ProvisionedConcurrency) -> Standing {
    // A wish that came between the two readings has just begun.
    standings.get(&record.qualifier).cloned().unwrap_or_default()
}

fn provisioned(record: &ProvisionedConcurrency, standing: &Standing) -> Value {
    json!({
        "RequestedProvisionedConcurrentExecutions": record.requested,
        "AvailableProvisionedConcurrentExecutions": standing.available,
        "AllocatedProvisionedConcurrentExecutions": standing.allocated,
        "Status": standing.status,
        "StatusReason": standing.reason,
        "LastModified": seconds(record.modified_ms),
    })
}
