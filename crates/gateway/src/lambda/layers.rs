//! Layers and who may use them.

use super::date::milliseconds;
use super::policies::text_of;
use super::{ApiError, Call};
use crate::Gateway;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use control::{ControlError, LayerDescription, LayerFilter, LayerName, LayerVersion, NewPermission, ZipCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishInput {
    layer_name: String,
    #[serde(default)]
    description: String,
    content: Content,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
    license_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    #[serde(rename = "S3Bucket")]
    s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    s3_object_version: Option<String>,
    zip_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionInput {
    layer_name: String,
    version_number: i64,
    revision_id: Option<String>,
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    organization_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArnInput {
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    layer_name: Option<String>,
    compatible_runtime: Option<String>,
    compatible_architecture: Option<String>,
}

pub(super) async fn publish_layer_version(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: PublishInput = call.read()?;
    let layer = own_layer(gateway, &call, &input.layer_name, "PublishLayerVersion")?;
    let code = store(gateway, &call, input.content).await?;
    let description = LayerDescription {
        text: input.description,
        license_info: input.license_info,
        runtimes: input.compatible_runtimes,
        architectures: input.compatible_architectures,
    };
    let version = gateway.control.publish_layer_version(layer, description, code).await?;
    Ok(with_content(gateway, &call, &version))
}

pub(super) async fn get_layer_version(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: VersionInput = call.read()?;
    let number = number(input.version_number)?;
    let layer = gateway.control.layer_name(&call.account, &input.layer_name)?;
    let version = gateway.control.layer_version(&call.account, &layer, number).await?;
    Ok(with_content(gateway, &call, &version))
}

pub(super) async fn get_layer_version_by_arn(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ArnInput = call.read()?;
    let (layer, number) = gateway.control.layer_version_name(&input.arn)?;
    let version = gateway.control.layer_version(&call.account, &layer, number).await?;
    Ok(with_content(gateway, &call, &version))
}

pub(super) async fn list_layer_versions(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ListInput = call.read()?;
    let layer = gateway
        .control
        .layer_name(&call.account, input.layer_name.as_deref().unwrap_or_default())?;
    let page = gateway
        .control
        .layer_versions(&call.account, &layer, &input.filter(), &call.page()?)
        .await?;
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|version| Value::Object(list_item(version)))
        .collect();
    Ok(json!({"LayerVersions": items, "NextMarker": page.next}))
}

pub(super) async fn list_layers(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: ListInput = call.read()?;
    let page = gateway
        .control
        .layers(&call.account, &input.filter(), &call.page()?)
        .await?;
    let item = |version: &LayerVersion| {
        json!({
            "LayerName": version.layer.name,
            "LayerArn": version.layer_arn,
            "LatestMatchingVersion": list_item(version),
        })
    };
    let items: Vec<Value> = page.items.iter().map(item).collect();
    Ok(json!({"Layers": items, "NextMarker": page.next}))
}

pub(super) async fn delete_layer_version(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: VersionInput = call.read()?;
    let number = number(input.version_number)?;
    let layer = own_layer(gateway, &call, &input.layer_name, "DeleteLayerVersion")?;
    gateway.control.delete_layer_version(&layer, number).await?;
    Ok(json!({}))
}

pub(super) async fn add_layer_version_permission(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: VersionInput = call.read()?;
    let number = number(input.version_number)?;
    let layer = own_layer(gateway, &call, &input.layer_name, "AddLayerVersionPermission")?;
    let permission = NewPermission {
        statement_id: input.statement_id.unwrap_or_default(),
        action: input.action.unwrap_or_default(),
        principal: input.principal.unwrap_or_default(),
        principal_org_id: input.organization_id,
        ..NewPermission::default()
    };
    let revision_id = input.revision_id.as_deref();
    let (statement, revision) = gateway
        .control
        .add_layer_permission(&layer, number, &permission, revision_id)
        .await?;
    Ok(json!({"Statement": text_of(&statement), "RevisionId": revision}))
}

pub(super) async fn remove_layer_version_permission(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: VersionInput = call.read()?;
    let number = number(input.version_number)?;
    let layer = own_layer(gateway, &call, &input.layer_name, "RemoveLayerVersionPermission")?;
    let statement_id = input.statement_id.unwrap_or_default();
    let revision_id = input.revision_id.as_deref();
    gateway
        .control
        .remove_layer_permission(&layer, number, &statement_id, revision_id)
        .await?;
    Ok(json!({}))
}

pub(super) async fn get_layer_version_policy(gateway: &Gateway, call: Call) -> Result<Value, ApiError> {
    let input: VersionInput = call.read()?;
    let number = number(input.version_number)?;
    let layer = own_layer(gateway, &call, &input.layer_name, "GetLayerVersionPolicy")?;
    let policy = gateway.control.layer_policy(&layer, number).await?;
    Ok(json!({"Policy": policy.document(), "RevisionId": policy.revision_id}))
}

impl ListInput {
    fn filter(self) -> LayerFilter {
        LayerFilter {
            runtime: self.compatible_runtime,
            architecture: self.compatible_architecture,
        }
    }
}

/// Stores the zip of a request.
async fn store(gateway: &Gateway, call: &Call, content: Content) -> Result<ZipCode, ApiError> {
    let invalid = |message: &str| ApiError::new("InvalidParameterValueException", message);
    let packages = gateway.control.packages();
    let stored = match (content.zip_file, content.s3_bucket, content.s3_key) {
        (Some(text), None, None) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| invalid("Could not unzip uploaded file: ZipFile is not base64."))?;
            packages.put_zip(&call.account, Bytes::from(bytes)).await
        }
        (None, Some(bucket), Some(key)) => {
            packages
                .put_zip_from_s3(&call.account, &bucket, &key, content.s3_object_version.as_deref())
                .await
        }
        _ => {
            return Err(invalid(
                "Please provide either ZipFile or S3Bucket with S3Key as the layer's content.",
            ));
        }
    };
    stored.map_err(|error| ControlError::from(error).into())
}

/// A layer of the caller's own account: nobody else may change one or see its policy.
fn own_layer(gateway: &Gateway, call: &Call, text: &str, action: &str) -> Result<LayerName, ApiError> {
    let layer = gateway.control.layer_name(&call.account, text)?;
    if layer.account == call.account {
        return Ok(layer);
    }
    let message = format!(
        "User: arn:aws:iam::{}:root is not authorized to perform: lambda:{action} on resource: {text}",
        call.account
    );
    Err(ApiError::new("AccessDeniedException", message))
}

fn number(version: i64) -> Result<u64, ApiError> {
    let positive = u64::try_from(version).ok().filter(|version| *version > 0);
    positive.ok_or_else(|| ApiError::new("InvalidParameterValueException", "Layer Version Cannot be less than 1"))
}

/// What lists and single answers have in common.
fn list_item(version: &LayerVersion) -> Map<String, Value> {
    let description = &version.description;
    let mut item = Map::new();
    item.insert("LayerVersionArn".to_owned(), version.arn().into());
    item.insert("Version".to_owned(), version.version.into());
    item.insert("Description".to_owned(), description.text.as_str().into());
    item.insert("CreatedDate".to_owned(), milliseconds(version.created_ms).into());
    if let Some(runtimes) = &description.runtimes {
        item.insert("CompatibleRuntimes".to_owned(), runtimes.as_slice().into());
    }
    if let Some(architectures) = &description.architectures {
        item.insert("CompatibleArchitectures".to_owned(), architectures.as_slice().into());
    }
    if let Some(license) = &description.license_info {
        item.insert("LicenseInfo".to_owned(), license.as_str().into());
    }
    item
}

fn with_content(gateway: &Gateway, call: &Call, version: &LayerVersion) -> Value {
    let mut answer = list_item(version);
    answer.insert("LayerArn".to_owned(), version.layer_arn.as_str().into());
    let token = gateway.control.zip_token(&call.account, &version.code);
    let content = json!({
        "Location": format!("http://{}/_lambent/code/{token}", call.host),
        "CodeSha256": version.code.sha256_base64,
        "CodeSize": version.code.bytes,
    });
    answer.insert("Content".to_owned(), content);
    Value::Object(answer)
}
