//! Settings of function URLs.
//!
//! The URL that is answered is `http://GATEWAY/_url/ID/`, where GATEWAY is the host and port that the request was sent
//! to: every client that reached the gateway can reach it. Lambda puts the id into the host name; the gateway serves
//! such names too (`ID.lambda-url.REGION.…`), but no resolver knows them unless the operator tells it to.

use super::date::zulu;
use super::{ApiError, Call, function_name::parse_function};
use crate::Gateway;
use control::{Cors, FunctionUrl, FunctionUrlChange, PageRequest, QualifiedName};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UrlInput {
    function_name: String,
    qualifier: Option<String>,
    auth_type: Option<String>,
    invoke_mode: Option<String>,
    cors: Option<Cors>,
    marker: Option<String>,
    max_items: Option<u32>,
}

pub(super) async fn create_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: UrlInput = call.read()?;
    let (name, qualifier) = target(gateway, &call, &input)?;
    let target = QualifiedName {
        account: &call.account,
        name: &name,
        qualifier: &qualifier,
    };
    let url = gateway.control.create_function_url(&target, change(input)).await?;
    Ok(answer(&call, &url))
}

pub(super) async fn get_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: UrlInput = call.read()?;
    let (name, qualifier) = target(gateway, &call, &input)?;
    let target = QualifiedName {
        account: &call.account,
        name: &name,
        qualifier: &qualifier,
    };
    Ok(answer(&call, &gateway.control.function_url(&target).await?))
}

pub(super) async fn update_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: UrlInput = call.read()?;
    let (name, qualifier) = target(gateway, &call, &input)?;
    let target = QualifiedName {
        account: &call.account,
        name: &name,
        qualifier: &qualifier,
    };
    let url = gateway.control.update_function_url(&target, change(input)).await?;
    Ok(answer(&call, &url))
}

pub(super) async fn delete_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: UrlInput = call.read()?;
    let (name, qualifier) = target(gateway, &call, &input)?;
    let target = QualifiedName {
        account: &call.account,
        name: &name,
        qualifier: &qualifier,
    };
    gateway.control.delete_function_url(&target).await?;
    Ok(json!({}))
}

pub(super) async fn list_function_url_configs(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: UrlInput = call.read()?;
    let (name, _) = target(gateway, &call, &input)?;
    let request = PageRequest {
        marker: input.marker,
        items_max: input.max_items,
    };
    let page = gateway.control.function_urls(&call.account, &name, &request).await?;
    let items: Vec<Value> = page.items.iter().map(|url| answer(&call, url)).collect();
    Ok(json!({"FunctionUrlConfigs": items, "NextMarker": page.next}))
}

fn target(gateway: &Gateway, call: &Call, input: &UrlInput) -> Result<(String, String), ApiError> {
    let function = parse_function(gateway, &call.account, &input.function_name, input.qualifier.as_deref())?;
    Ok((
        function.name,
        function.qualifier.unwrap_or_else(|| "$LATEST".to_owned()),
    ))
}

fn change(input: UrlInput) -> FunctionUrlChange {
    FunctionUrlChange {
        auth_type: input.auth_type,
        invoke_mode: input.invoke_mode,
        cors: input.cors,
    }
}

fn answer(call: &Call, url: &FunctionUrl) -> Value {
    let mut answer = json!({
        "FunctionUrl": address(&call.host, &url.id),
        "FunctionArn": url.function_arn,
        "AuthType": url.auth_type,
        "CreationTime": zulu(url.created_ms),
        "LastModifiedTime": zulu(url.modified_ms),
        "InvokeMode": url.invoke_mode,
    });
    if let Some(cors) = &url.cors {
        answer["Cors"] = serde_json::to_value(cors).expect("lists of strings and numbers are always JSON");
    }
    answer
}

fn address(host: &str, id: &str) -> String {
    format!("http://{host}/_url/{id}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_length_that_the_model_allows() {
        let id = "a".repeat(32);
        for host in ["127.0.0.1:9000", "lambda.example.org", "[::1]:9000"] {
            assert!((40..=100).contains(&address(host, &id).len()), "{host}");
        }
    }
}
