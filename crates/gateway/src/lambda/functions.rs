//! Functions: create, get, list, update, delete.

mod configuration;
mod input;

pub(super) use configuration::listed;

use super::event_invoke::check_destination;
use super::function_name::FunctionName;
use super::{ApiError, Call};
use crate::Gateway;
use configuration::code_location;
use control::{CodeUpdate, FunctionList, FunctionRecord, NewFunction, PackageType};
use input::{CodeInput, SettingsInput, check_supported};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    package_type: Option<String>,
    architectures: Option<Vec<String>>,
    code: CodeInput,
    publish: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
}

/// What an update is made on condition of.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Expected {
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateCodeInput {
    architectures: Option<Vec<String>>,
    publish: Option<bool>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    function_version: Option<String>,
}

pub(super) async fn create_function(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    check_supported(&call.input)?;
    let input: CreateInput = call.read()?;
    let settings: SettingsInput = call.read()?;
    check_dead_letters(gateway, &call)?;
    let new = NewFunction {
        name: call.unqualified(gateway)?,
        package_type: package_type(input.package_type.as_deref()),
        architecture: first(input.architectures),
        settings: settings.settings(),
        code: input.code.source()?,
        tags: input.tags.unwrap_or_default(),
        publish: input.publish.unwrap_or(false),
    };
    let record = gateway.control.create_function(&call.account, new).await?;
    let mut answer = own_configuration(gateway, &record);
    // Also when a version was published with it, the answer names the function.
    answer.insert("FunctionArn".to_owned(), record.arn.clone().into());
    // CreateFunction's answer has the state alone; the last update comes with the first GetFunction.
    for name in [
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode",
    ] {
        answer.remove(name);
    }
    Ok(Value::Object(answer))
}

pub(super) async fn get_function(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (record, arn) = named_record(gateway, &call).await?;
    let control = &gateway.control;
    let link = control
        .code_token(&record)
        .map(|token| format!("http://{}/_lambent/code/{token}", call.host));
    let mut answer = json!({
        "Configuration": configuration::configuration(&gateway.region, &record, &arn),
        "Code": code_location(&record, link.as_deref()),
    });
    let tags = control.function_tags(&call.account, &record.name).await?;
    if !tags.is_empty() {
        answer["Tags"] = json!(tags);
    }
    if let Some(reserved) = control.reserved_concurrency(&call.account, &record.name).await? {
        answer["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
    }
    Ok(answer)
}

pub(super) async fn get_function_configuration(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let (record, arn) = named_record(gateway, &call).await?;
    Ok(Value::Object(configuration::configuration(
        &gateway.region,
        &record,
        &arn,
    )))
}

pub(super) async fn list_functions(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ListInput = call.read()?;
    let list = match input.function_version {
        Some(_) => FunctionList::AllVersions,
        None => FunctionList::Latest,
    };
    let page = gateway.control.functions(&call.account, list, &call.page()?).await?;
    let shown = |record: &FunctionRecord| match list {
        FunctionList::Latest => listed(&gateway.region, record, &record.arn),
        FunctionList::AllVersions => listed(&gateway.region, record, &record.qualified_arn()),
    };
    Ok(page_answer(
        "Functions",
        page.items.iter().map(shown).collect(),
        page.next,
    ))
}

pub(super) async fn update_function_code(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    check_supported(&call.input)?;
    let name = changeable(gateway, &call)?;
    let expected: Expected = call.read()?;
    let input: UpdateCodeInput = call.read()?;
    let code: CodeInput = call.read()?;
    let update = CodeUpdate {
        code: code.source()?,
        architecture: first(input.architectures),
        publish: input.publish.unwrap_or(false),
        dry_run: input.dry_run.unwrap_or(false),
        revision_id: expected.revision_id,
    };
    let record = gateway.control.update_code(&call.account, &name, update).await?;
    Ok(Value::Object(own_configuration(gateway, &record)))
}

pub(super) async fn update_function_configuration(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    check_supported(&call.input)?;
    let name = changeable(gateway, &call)?;
    let expected: Expected = call.read()?;
    let settings: SettingsInput = call.read()?;
    check_dead_letters(gateway, &call)?;
    let revision = expected.revision_id.as_deref();
    let record = gateway
        .control
        .update_configuration(&call.account, &name, settings.settings(), revision)
        .await?;
    Ok(Value::Object(own_configuration(gateway, &record)))
}

/// Refuses a dead-letter queue that would never be told.
fn check_dead_letters(gateway: &Gateway, call: &Call) -> Result<(), ApiError> {
    let config = call.input.get("DeadLetterConfig");
    match config.and_then(|config| config.get("TargetArn")?.as_str()) {
        Some(arn) if !arn.is_empty() => check_destination(gateway, &call.account, arn),
        _ => Ok(()),
    }
}

/// The name of a function that is to be changed: published versions never are.
fn changeable(gateway: &Gateway, call: &Call) -> Result<String, ApiError> {
    let FunctionName { name, qualifier } = call.function(gateway)?;
    match qualifier.as_deref() {
        None | Some("$LATEST") => Ok(name),
        Some(qualifier) => {
            let asked = call.input.get("FunctionName").and_then(Value::as_str).unwrap_or(&name);
            Err(ApiError::new(
                "InvalidParameterValueException",
                format!("Only $LATEST can be changed, and {asked} names {qualifier}. Leave the qualifier out."),
            ))
        }
    }
}

pub(super) async fn delete_function(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.function(gateway)?;
    gateway
        .control
        .delete_function(&call.account, &name.name, name.qualifier.as_deref())
        .await?;
    Ok(json!({ "StatusCode": 204 }))
}

/// A page of a list, under the name that its operation gives it.
pub(super) fn page_answer(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = Map::from_iter([(name.to_owned(), Value::Array(items))]);
    if let Some(next) = next {
        answer.insert("NextMarker".to_owned(), next.into());
    }
    Value::Object(answer)
}

/// The configuration under the record's own ARN: qualified for published versions alone.
pub(super) fn own_configuration(gateway: &Gateway, record: &FunctionRecord) -> Map<String, Value> {
    let arn = if record.version == "$LATEST" {
        record.arn.clone()
    } else {
        record.qualified_arn()
    };
    configuration::configuration(&gateway.region, record, &arn)
}

/// What the call names, and the ARN by which it does.
async fn named_record(gateway: &Gateway, call: &Call) -> Result<(FunctionRecord, String), ApiError> {
    let name = call.function(gateway)?;
    let qualifier = name.qualifier.as_deref();
    let record = gateway.control.function(&call.account, &name.name, qualifier).await?;
    Ok((
        record,
        gateway.control.qualified_arn(&call.account, &name.name, qualifier),
    ))
}

/// The model has checked the text; zips are the default.
fn package_type(text: Option<&str>) -> PackageType {
    if text == Some("Image") {
        PackageType::Image
    } else {
        PackageType::Zip
    }
}

/// The model allows exactly one.
fn first(architectures: Option<Vec<String>>) -> Option<String> {
    architectures.and_then(|list| list.into_iter().next())
}
