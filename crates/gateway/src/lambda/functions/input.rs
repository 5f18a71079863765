//! What clients send about a function, and what control is asked for in its place.

use crate::lambda::ApiError;
use api::LogFormat;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control::{
    CapacityConfig, CodeSource, FileSystemReference, ImageConfig, LoggingSettings, Settings, Variables, VpcConfig,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Members of CreateFunction and UpdateFunctionConfiguration that change what Lambent does not do.
const UNSUPPORTED: &[&str] = &[
    "AcceleratorConfig",
    "CodeSigningConfigArn",
    "DurableConfig",
    "PublishTo",
    "RuntimeConfig",
    "TenancyConfig",
];

/// The members that CreateFunction and UpdateFunctionConfiguration share.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SettingsInput {
    description: Option<String>,
    role: Option<String>,
    runtime: Option<String>,
    handler: Option<String>,
    timeout: Option<u32>,
    memory_size: Option<u32>,
    ephemeral_storage: Option<EphemeralStorageInput>,
    environment: Option<EnvironmentInput>,
    layers: Option<Vec<String>>,
    image_config: Option<ImageConfigInput>,
    dead_letter_config: Option<DeadLetterInput>,
    #[serde(rename = "KMSKeyArn")]
    kms_key: Option<String>,
    tracing_config: Option<TracingInput>,
    snap_start: Option<SnapStartInput>,
    logging_config: Option<LoggingInput>,
    vpc_config: Option<VpcInput>,
    file_system_configs: Option<Vec<FileSystemInput>>,
    capacity_provider_config: Option<CapacityInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CapacityInput {
    lambda_managed_instances_capacity_provider_config: ManagedInstancesInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManagedInstancesInput {
    capacity_provider_arn: String,
    per_execution_environment_max_concurrency: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileSystemInput {
    arn: String,
    local_mount_path: String,
}

/// FunctionCode, and the same members of UpdateFunctionCode.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CodeInput {
    zip_file: Option<String>,
    #[serde(rename = "S3Bucket")]
    bucket: Option<String>,
    #[serde(rename = "S3Key")]
    key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    version: Option<String>,
    image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorageInput {
    size: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnvironmentInput {
    variables: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfigInput {
    entry_point: Option<Vec<String>>,
    command: Option<Vec<String>>,
    working_directory: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterInput {
    target_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TracingInput {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStartInput {
    apply_on: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingInput {
    log_format: Option<String>,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
    log_group: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VpcInput {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
    ipv6_allowed_for_dual_stack: Option<bool>,
}

impl SettingsInput {
    pub(super) fn settings(self) -> Settings {
        Settings {
            description: self.description,
            role: self.role,
            runtime: self.runtime,
            handler: self.handler,
            timeout_s: self.timeout,
            memory_mb: self.memory_size,
            tmp_mb: self.ephemeral_storage.map(|storage| storage.size),
            environment: self
                .environment
                .and_then(|environment| environment.variables)
                .map(Variables),
            layers: self.layers,
            image_config: self.image_config.map(ImageConfigInput::overrides),
            dead_letter_target: self.dead_letter_config.and_then(|target| target.target_arn),
            kms_key: self.kms_key,
            tracing: self.tracing_config.and_then(|tracing| tracing.mode),
            snap_start: self.snap_start.and_then(|snap_start| snap_start.apply_on),
            logging: self.logging_config.map(LoggingInput::changes),
            vpc: self.vpc_config.map(VpcInput::network),
            file_systems: self
                .file_system_configs
                .map(|configs| configs.into_iter().map(FileSystemInput::reference).collect()),
            capacity: self.capacity_provider_config.map(CapacityInput::capacity),
        }
    }
}

impl CodeInput {
    /// The one source that is named.
    pub(super) fn source(self) -> Result<CodeSource, ApiError> {
        match (self.zip_file, self.bucket, self.key, self.image_uri) {
            (Some(zip), None, None, None) => Ok(CodeSource::Zip(decode_zip(&zip)?.into())),
            (None, Some(bucket), Some(key), None) => Ok(CodeSource::S3 {
                bucket,
                key,
                version: self.version,
            }),
            (None, None, None, Some(uri)) => Ok(CodeSource::Image(uri)),
            (None, None, None, None) => Err(invalid("Please provide a source for function code.")),
            (None, _, _, None) => Err(invalid("Please provide both S3Bucket and S3Key.")),
            (Some(_), _, _, None) => Err(invalid(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )),
            (_, _, _, Some(_)) => Err(invalid(
                "Please do not provide other FunctionCode parameters when providing an ImageUri.",
            )),
        }
    }
}

impl CapacityInput {
    fn capacity(self) -> CapacityConfig {
        let instances = self.lambda_managed_instances_capacity_provider_config;
        CapacityConfig {
            provider: instances.capacity_provider_arn,
            invocations_max: instances.per_execution_environment_max_concurrency,
        }
    }
}

impl ImageConfigInput {
    fn overrides(self) -> ImageConfig {
        ImageConfig {
            entrypoint: self.entry_point.unwrap_or_default(),
            command: self.command.unwrap_or_default(),
            working_directory: self.working_directory.filter(|directory| !directory.is_empty()),
        }
    }
}

impl LoggingInput {
    fn changes(self) -> LoggingSettings {
        let format = |text: String| {
            if text == "JSON" {
                LogFormat::Json
            } else {
                LogFormat::Text
            }
        };
        LoggingSettings {
            format: self.log_format.map(format),
            application_level: self.application_log_level,
            system_level: self.system_log_level,
            group: self.log_group,
        }
    }
}

impl FileSystemInput {
    fn reference(self) -> FileSystemReference {
        FileSystemReference {
            arn: self.arn,
            local_mount_path: self.local_mount_path,
        }
    }
}

impl VpcInput {
    fn network(self) -> VpcConfig {
        VpcConfig {
            subnets: self.subnet_ids.unwrap_or_default(),
            security_groups: self.security_group_ids.unwrap_or_default(),
            ipv6: self.ipv6_allowed_for_dual_stack.unwrap_or(false),
        }
    }
}

/// Refuses what would otherwise be ignored: a function must not be less than it was asked to be.
pub(super) fn check_supported(input: &Map<String, Value>) -> Result<(), ApiError> {
    let given = |name: &str| input.get(name).is_some_and(|value| !value.is_null());
    if let Some(name) = UNSUPPORTED.iter().find(|name| given(name)) {
        return Err(invalid(&format!(
            "Lambent does not implement {name}. Remove it from the request."
        )));
    }
    let file_systems = input.get("FileSystemConfigs").and_then(Value::as_array);
    let of_s3 = |config: &Value| config.get("S3FilesConfig").is_some_and(|value| !value.is_null());
    if file_systems.is_some_and(|list| list.iter().any(of_s3)) {
        return Err(invalid(
            "Lambent does not implement S3FilesConfig. Remove it from the request.",
        ));
    }
    let instances = input
        .get("CapacityProviderConfig")
        .and_then(|config| config.get("LambdaManagedInstancesCapacityProviderConfig"));
    let memory = instances.and_then(|config| config.get("ExecutionEnvironmentMemoryGiBPerVCpu"));
    if memory.is_some_and(|value| !value.is_null()) {
        return Err(invalid(
            "Lambent does not implement ExecutionEnvironmentMemoryGiBPerVCpu: processors are in proportion to MemorySize. \
             Remove it from the request.",
        ));
    }
    Ok(())
}

fn decode_zip(text: &str) -> Result<Vec<u8>, ApiError> {
    let broken = "Could not unzip uploaded file. Please check your file, then try to upload again.";
    STANDARD.decode(text).map_err(|_| invalid(broken))
}

fn invalid(message: &str) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_code(input: Value, expected: Result<&str, &str>) {
        let named = input.to_string();
        let source = serde_json::from_value::<CodeInput>(input).unwrap().source();
        match (source, expected) {
            (Ok(source), Ok(shown)) => assert_eq!(format!("{source:?}"), shown, "{named}"),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{named}: {}", error.message),
            (other, _) => panic!("{named}: {other:?}"),
        }
    }

    #[test]
    fn one_source_of_code() {
        check_code(json!({ "ZipFile": "UEs=" }), Ok("Zip(2 bytes)"));
        check_code(json!({ "S3Bucket": "b", "S3Key": "k" }), Ok("S3(b/k, None)"));
        check_code(
            json!({ "S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v" }),
            Ok("S3(b/k, Some(\"v\"))"),
        );
        check_code(
            json!({ "ImageUri": "localhost:9000/hello" }),
            Ok("Image(localhost:9000/hello)"),
        );
        check_code(json!({}), Err("Please provide a source for function code."));
        check_code(json!({ "S3Bucket": "b" }), Err("S3Key"));
        check_code(
            json!({ "ZipFile": "UEs=", "S3Bucket": "b", "S3Key": "k" }),
            Err("ZipFile"),
        );
        check_code(json!({ "ZipFile": "UEs=", "ImageUri": "x" }), Err("ImageUri"));
        check_code(json!({ "ZipFile": "%%%" }), Err("Could not unzip"));
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let check = |input: Value| check_supported(input.as_object().unwrap()).map_err(|error| error.message);
        assert!(check(json!({ "FileSystemConfigs": [], "DurableConfig": null })).is_ok());
        assert!(
            check(json!({ "FileSystemConfigs": [{ "S3FilesConfig": {} }] }))
                .unwrap_err()
                .contains("S3FilesConfig")
        );
        assert!(
            check(json!({ "TenancyConfig": {} }))
                .unwrap_err()
                .contains("TenancyConfig")
        );
    }
}
