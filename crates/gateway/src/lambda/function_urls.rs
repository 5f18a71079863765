//! Settings of function URLs.
//!
//! The URL that is answered is `http://GATEWAY/_url/ID/`, where GATEWAY is the host and port that the request was sent
//! to: every client that reached the gateway can reach it. Lambda puts the id into the host name; the gateway serves
//! such names too (`ID.lambda-url.REGION.…`), but no resolver knows them unless the operator tells it to.

use super::date::zulu;
use super::{ApiError, Call};
use crate::Gateway;
use control::{Cors, FunctionUrl, FunctionUrlChange};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UrlInput {
    auth_type: Option<String>,
    invoke_mode: Option<String>,
    cors: Option<Cors>,
}

pub(super) async fn create_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let url = gateway.control.create_function_url(&target, change(&call)?).await?;
    Ok(answer(&call, &url))
}

pub(super) async fn get_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let url = gateway.control.function_url(&function.of(&call.account)).await?;
    Ok(answer(&call, &url))
}

pub(super) async fn update_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    let target = function.of(&call.account);
    let url = gateway.control.update_function_url(&target, change(&call)?).await?;
    Ok(answer(&call, &url))
}

pub(super) async fn delete_function_url_config(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let function = call.function(gateway)?;
    gateway.control.delete_function_url(&function.of(&call.account)).await?;
    Ok(json!({}))
}

pub(super) async fn list_function_url_configs(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let name = call.function(gateway)?.name;
    let page = gateway
        .control
        .function_urls(&call.account, &name, &call.page()?)
        .await?;
    let items: Vec<Value> = page.items.iter().map(|url| answer(&call, url)).collect();
    Ok(json!({"FunctionUrlConfigs": items, "NextMarker": page.next}))
}

fn change(call: &Call) -> Result<FunctionUrlChange, ApiError> {
    let input: UrlInput = call.read()?;
    Ok(FunctionUrlChange {
        auth_type: input.auth_type,
        invoke_mode: input.invoke_mode,
        cors: input.cors,
    })
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
