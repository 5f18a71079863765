//! AddPermission, GetPolicy, RemovePermission.

use super::function_name::FunctionName;
use super::{ApiError, Call};
use crate::Gateway;
use control::{NewPermission, PolicyTarget};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddPermission {
    revision_id: Option<String>,
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RemovePermission {
    revision_id: Option<String>,
    #[serde(default)]
    statement_id: String,
}

pub(super) async fn add_permission(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: AddPermission = call.read()?;
    let function = call.function(gateway)?;
    let target = target(&call, &function, input.revision_id.as_deref());
    let permission = NewPermission {
        statement_id: input.statement_id,
        action: input.action,
        principal: input.principal,
        source_arn: input.source_arn,
        source_account: input.source_account,
        event_source_token: input.event_source_token,
        principal_org_id: input.principal_org_id,
        function_url_auth_type: input.function_url_auth_type,
        invoked_via_function_url: input.invoked_via_function_url,
    };
    let statement = gateway.control.add_permission(&target, &permission).await?;
    Ok(json!({"Statement": text_of(&statement)}))
}

pub(super) async fn get_policy(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = target(&call, &function, None);
    let policy = gateway.control.function_policy(&target).await?;
    Ok(json!({"Policy": policy.document(), "RevisionId": policy.revision_id}))
}

pub(super) async fn remove_permission(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: RemovePermission = call.read()?;
    let function = call.function(gateway)?;
    let target = target(&call, &function, input.revision_id.as_deref());
    gateway.control.remove_permission(&target, &input.statement_id).await?;
    Ok(json!({}))
}

fn target<'a>(call: &'a Call, function: &'a FunctionName, revision_id: Option<&'a str>) -> PolicyTarget<'a> {
    PolicyTarget {
        account: &call.account,
        name: &function.name,
        qualifier: function.qualifier.as_deref(),
        revision_id,
    }
}

/// A statement as the text that Lambda answers.
pub(super) fn text_of(statement: &control::Statement) -> String {
    serde_json::to_string(statement).expect("strings and maps of strings are always JSON")
}
