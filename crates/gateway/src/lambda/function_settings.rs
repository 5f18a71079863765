//! Settings of accounts and small settings of functions.

use super::{ApiError, Call};
use crate::Gateway;
use control::{QualifiedName, RuntimeManagement};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of all code of an account: 75 GiB, Lambda's default quota. Answered, not enforced: the disk is the operator's.
const CODE_BYTES_MAX: u64 = 80_530_636_800;
/// Bytes of one function's code and layers, unzipped: Lambda's limit, which `packages` enforces.
const UNZIPPED_BYTES_MAX: u64 = 262_144_000;
/// Bytes of a zip in a request: 50 MiB, Lambda's limit.
const ZIP_BYTES_MAX: u64 = 52_428_800;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SettingInput {
    update_runtime_on: Option<String>,
    runtime_version_arn: Option<String>,
    recursive_loop: Option<String>,
}

pub(super) async fn get_account_settings(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let account_max = u64::from(gateway.settings.account_concurrency_max);
    let usage = gateway.control.account_usage(&call.account).await?;
    let unreserved = gateway
        .control
        .unreserved_concurrency(&call.account, account_max)
        .await?;
    Ok(json!({
        "AccountLimit": {
            "TotalCodeSize": CODE_BYTES_MAX,
            "CodeSizeUnzipped": UNZIPPED_BYTES_MAX,
            "CodeSizeZipped": ZIP_BYTES_MAX,
            "ConcurrentExecutions": account_max,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": {"TotalCodeSize": usage.code_bytes, "FunctionCount": usage.functions},
    }))
}

pub(super) async fn get_runtime_management_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let setting = gateway.control.runtime_management(&target).await?;
    Ok(runtime_management(
        gateway,
        &target,
        function.qualifier.as_deref(),
        &setting,
    ))
}

pub(super) async fn put_runtime_management_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let input: SettingInput = call.read()?;
    let setting = RuntimeManagement {
        update_on: input.update_runtime_on.unwrap_or_else(|| "Auto".to_owned()),
        runtime_version_arn: input.runtime_version_arn,
    };
    gateway.control.put_runtime_management(&target, &setting).await?;
    Ok(runtime_management(
        gateway,
        &target,
        function.qualifier.as_deref(),
        &setting,
    ))
}

pub(super) async fn get_function_recursion_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let setting = gateway.control.recursive_loop(&call.account, &function.name).await?;
    Ok(json!({"RecursiveLoop": setting}))
}

pub(super) async fn put_function_recursion_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let input: SettingInput = call.read()?;
    let setting = input.recursive_loop.unwrap_or_else(|| "Terminate".to_owned());
    gateway
        .control
        .put_recursive_loop(&call.account, &function.name, &setting)
        .await?;
    Ok(json!({"RecursiveLoop": setting}))
}

/// No function has a code signing configuration. Terraform asks for each zip function's and takes an error for a failed
/// plan, so this is Lambda's answer for a function without one.
pub(super) async fn get_function_code_signing_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = existing_function(gateway, &call).await?;
    Ok(json!({"CodeSigningConfigArn": "", "FunctionName": name}))
}

/// There are no code signing configurations, so whichever the request names does not exist.
pub(super) async fn put_function_code_signing_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    existing_function(gateway, &call).await?;
    let arn = call
        .input
        .get("CodeSigningConfigArn")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let message =
        format!("The code signing configuration cannot be found: {arn}. Lambent does not implement code signing.");
    Err(ApiError::new("CodeSigningConfigNotFoundException", message))
}

/// There is never one to delete, which Lambda does not call an error.
pub(super) async fn delete_function_code_signing_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    existing_function(gateway, &call).await?;
    Ok(json!({}))
}

async fn existing_function(gateway: &Gateway, call: &Call) -> Result<String, ApiError> {
    let function = call.function(gateway)?;
    gateway.control.function(&call.account, &function.name, None).await?;
    Ok(function.name)
}

fn runtime_management(
    gateway: &Gateway,
    target: &QualifiedName<'_>,
    asked: Option<&str>,
    setting: &RuntimeManagement,
) -> Value {
    let mut answer = json!({
        "UpdateRuntimeOn": setting.update_on,
        "FunctionArn": gateway.control.qualified_arn(target.account, target.name, asked),
    });
    if let Some(arn) = &setting.runtime_version_arn {
        answer["RuntimeVersionArn"] = arn.as_str().into();
    }
    answer
}
