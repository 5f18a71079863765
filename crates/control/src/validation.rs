//! What the API's model does not say about a configuration: limits of ordinary functions, parameters that exclude each
//! other, reserved names. Texts are Lambda's where it has one.

use crate::configuration::{Configuration, PackageType, Settings, Variables};
use crate::{ControlError, State};
use api::LogFormat;
use std::ops::RangeInclusive;

/// Longest invocation, s. Lambda's quota; the model's 5,400 is for functions with a capacity provider.
const TIMEOUT_S: RangeInclusive<u32> = 1..=900;
/// MB. Lambda's quota; the model's 32,768 is for functions with a capacity provider.
const MEMORY_MB: RangeInclusive<u32> = 128..=10_240;
/// MB. Lambda's quota; the model's 32,768 is for functions with a capacity provider.
const TMP_MB: RangeInclusive<u32> = 512..=10_240;
/// Bytes of all variables as compact JSON: Lambda's 4 KB.
const ENVIRONMENT_BYTES_MAX: usize = 4096;
/// Characters of a bare name: FunctionName in CreateFunction's reference.
const NAME_CHARACTERS_MAX: usize = 64;

/// Names that Lambda sets itself. Source: "Defined runtime environment variables" of Lambda's guide, the reserved ones.
const RESERVED_VARIABLES: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Checks what a request sets, before it is joined with what was there.
pub(crate) fn check_settings(package_type: PackageType, settings: &Settings) -> Result<(), ControlError> {
    check_range("timeout", settings.timeout_s, &TIMEOUT_S)?;
    check_range("memorySize", settings.memory_mb, &MEMORY_MB)?;
    check_range("ephemeralStorage.size", settings.tmp_mb, &TMP_MB)?;
    if let Some(environment) = &settings.environment {
        check_environment(environment)?;
    }
    if let Some(runtime) = &settings.runtime {
        check_runtime(runtime)?;
    }
    check_package_type(package_type, settings)
}

/// Checks the whole: what may have come from different requests.
pub(crate) fn check_configuration(configuration: &Configuration) -> Result<(), ControlError> {
    let zip = configuration.package_type == PackageType::Zip;
    if zip && (configuration.runtime.is_none() || configuration.handler.is_none()) {
        let message = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
        return Err(ControlError::invalid(message));
    }
    Ok(())
}

/// Log levels go with JSON alone. `format` is the one after the request.
pub(crate) fn check_log_levels(format: LogFormat, settings: &Settings) -> Result<(), ControlError> {
    let levels = settings
        .logging
        .as_ref()
        .is_some_and(|logging| logging.application_level.is_some() || logging.system_level.is_some());
    if levels && format == LogFormat::Text {
        let message = "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request \
                       or change the LogFormat to \"JSON\" and try again.";
        return Err(ControlError::invalid(message));
    }
    Ok(())
}

/// This machine runs programs of its own architecture only.
pub(crate) fn check_architecture(architecture: &str) -> Result<(), ControlError> {
    let ours = own_architecture();
    if architecture == ours {
        return Ok(());
    }
    let message = format!("Architecture {architecture} cannot be run here: this machine is {ours}. Use [{ours}].");
    Err(ControlError::invalid(message))
}

/// Lambda's word for this machine's architecture.
pub(crate) fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// Names have a limit of their own, below the one of the model, which lets ARNs stand for names.
pub(crate) fn check_name(name: &str) -> Result<(), ControlError> {
    if name.len() <= NAME_CHARACTERS_MAX {
        return Ok(());
    }
    Err(ControlError::invalid(format!(
        "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have \
         length less than or equal to {NAME_CHARACTERS_MAX}"
    )))
}

/// What Lambda says to changes and invocations of a version that is not ready.
pub(crate) fn not_in_state(state: State) -> ControlError {
    ControlError::conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {}",
        state.as_str()
    ))
}

/// What Lambda says to changes while another is under way.
pub(crate) fn update_in_progress(arn: &str) -> ControlError {
    ControlError::conflict(format!(
        "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
    ))
}

fn check_range(name: &str, value: Option<u32>, range: &RangeInclusive<u32>) -> Result<(), ControlError> {
    let Some(value) = value.filter(|value| !range.contains(value)) else {
        return Ok(());
    };
    let bound = if value < *range.start() {
        format!("greater than or equal to {}", range.start())
    } else {
        format!("less than or equal to {}", range.end())
    };
    Err(ControlError::invalid(format!(
        "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must have value \
         {bound}"
    )))
}

fn check_environment(variables: &Variables) -> Result<(), ControlError> {
    let reserved: Vec<&str> = variables
        .0
        .keys()
        .map(String::as_str)
        .filter(|name| RESERVED_VARIABLES.contains(name))
        .collect();
    if !reserved.is_empty() {
        return Err(ControlError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            reserved.join(", ")
        )));
    }
    if variables
        .0
        .iter()
        .any(|(name, value)| name.contains(['=', '\0']) || value.contains('\0'))
    {
        return Err(ControlError::invalid(
            "Environment variables must not hold NUL bytes, nor their names `=`.",
        ));
    }
    let text = serde_json::Value::from_iter(variables.0.clone()).to_string();
    if text.len() > ENVIRONMENT_BYTES_MAX {
        return Err(ControlError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided exceeded the 4KB limit. String measured: {text}"
        )));
    }
    Ok(())
}

fn check_package_type(package_type: PackageType, settings: &Settings) -> Result<(), ControlError> {
    let of_zip = settings.runtime.is_some()
        || settings.handler.is_some()
        || settings.layers.as_ref().is_some_and(|layers| !layers.is_empty());
    match package_type {
        PackageType::Image if of_zip => Err(ControlError::invalid(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        )),
        PackageType::Zip if settings.image_config.is_some() => Err(ControlError::invalid(
            "Please don't provide ImageConfig when the intended function PackageType is Zip.",
        )),
        _ => Ok(()),
    }
}

fn check_runtime(runtime: &str) -> Result<(), ControlError> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let python = runtime.strip_prefix("python3.").is_some_and(digits);
    let node = runtime
        .strip_prefix("nodejs2")
        .and_then(|rest| rest.strip_suffix(".x"))
        .is_some_and(digits);
    if python || node || matches!(runtime, "provided.al2" | "provided.al2023") {
        return Ok(());
    }
    Err(ControlError::invalid(format!(
        "The runtime parameter of {runtime} is not supported: Lambent runs python3.x, nodejs2x.x, provided.al2 and \
         provided.al2023. Bring other languages as a container image, or as a `bootstrap` for provided.al2023."
    )))
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
