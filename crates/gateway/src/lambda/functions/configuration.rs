//! A function's configuration as the API writes it.

use crate::lambda::date;
use api::LogFormat;
use control::{CapacityConfig, CodeRecord, Configuration, FunctionRecord, Optimization, PackageType, Reason};
use serde_json::{Map, Value, json};

/// Members that lists leave out. Source: ListFunctions in the API reference.
const NOT_IN_LISTS: &[&str] = &[
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "RuntimeVersionConfig",
];

/// FunctionConfiguration, under the ARN that the caller knows the version by.
pub(crate) fn configuration(region: &str, record: &FunctionRecord, arn: &str) -> Map<String, Value> {
    let mut members = Map::new();
    put_identity(&mut members, record, arn);
    put_settings(&mut members, &record.configuration);
    put_snap_start(&mut members, record);
    put_package(&mut members, region, &record.configuration);
    put_states(&mut members, record);
    members
}

/// The same as lists have it.
pub(crate) fn listed(region: &str, record: &FunctionRecord, arn: &str) -> Value {
    let mut members = configuration(region, record, arn);
    for name in NOT_IN_LISTS {
        members.remove(*name);
    }
    Value::Object(members)
}

/// FunctionCodeLocation. `link` is where a zip can be fetched.
pub(crate) fn code_location(record: &FunctionRecord, link: Option<&str>) -> Value {
    match &record.code {
        CodeRecord::Zip(_) => json!({ "RepositoryType": "S3", "Location": link }),
        CodeRecord::Image { uri, .. } => {
            json!({ "RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": record.code.resolved_uri() })
        }
    }
}

fn put_identity(members: &mut Map<String, Value>, record: &FunctionRecord, arn: &str) {
    put(members, "FunctionName", record.name.as_str());
    put(members, "FunctionArn", arn);
    put(members, "Version", record.version.as_str());
    put(members, "RevisionId", record.revision_id.as_str());
    put(members, "LastModified", date::milliseconds(record.last_modified_ms));
    put(members, "CodeSha256", record.code.sha256());
    put(members, "CodeSize", record.code.bytes());
}

fn put_settings(members: &mut Map<String, Value>, settings: &Configuration) {
    put(members, "Description", settings.description.as_str());
    put(members, "Role", settings.role.as_str());
    put(members, "Timeout", settings.timeout_s);
    put(members, "MemorySize", settings.memory_mb);
    put(members, "EphemeralStorage", json!({ "Size": settings.tmp_mb }));
    put(members, "Architectures", json!([settings.architecture]));
    put(members, "TracingConfig", json!({ "Mode": settings.tracing }));
    put(members, "LoggingConfig", logging(settings));
    put_some(members, "KMSKeyArn", settings.kms_key.as_deref());
    let target = settings.dead_letter_target.as_ref();
    put_some(
        members,
        "DeadLetterConfig",
        target.map(|target| json!({ "TargetArn": target })),
    );
    let variables = settings.environment.as_ref();
    put_some(
        members,
        "Environment",
        variables.map(|variables| json!({ "Variables": variables.0 })),
    );
    let vpc = settings.vpc.as_ref().map(|vpc| {
        json!({
            "SubnetIds": vpc.subnets,
            "SecurityGroupIds": vpc.security_groups,
            "VpcId": "",
            "Ipv6AllowedForDualStack": vpc.ipv6,
        })
    });
    put_some(members, "VpcConfig", vpc);
    if !settings.file_systems.is_empty() {
        let systems = settings.file_systems.iter();
        let systems = systems.map(|system| json!({ "Arn": system.arn, "LocalMountPath": system.local_mount_path }));
        put(members, "FileSystemConfigs", systems.collect::<Vec<_>>());
    }
    put_some(
        members,
        "CapacityProviderConfig",
        settings.capacity.as_ref().map(capacity),
    );
}

fn put_snap_start(members: &mut Map<String, Value>, record: &FunctionRecord) {
    let (asked, status) = (&record.configuration.snap_start, record.optimization.status());
    put(
        members,
        "SnapStart",
        json!({ "ApplyOn": asked, "OptimizationStatus": status }),
    );
}

fn put_package(members: &mut Map<String, Value>, region: &str, settings: &Configuration) {
    put(members, "PackageType", settings.package_type.as_str());
    put_some(members, "Runtime", settings.runtime.as_deref());
    put_some(members, "Handler", settings.handler.as_deref());
    if !settings.layers.is_empty() {
        let layers = settings
            .layers
            .iter()
            .map(|layer| json!({ "Arn": layer.arn, "CodeSize": layer.code.bytes }));
        put(members, "Layers", layers.collect::<Vec<_>>());
    }
    match (settings.package_type, &settings.runtime) {
        (PackageType::Zip, Some(runtime)) => {
            let arn = format!("arn:aws:lambda:{region}::runtime:{runtime}");
            put(members, "RuntimeVersionConfig", json!({ "RuntimeVersionArn": arn }));
        }
        (PackageType::Zip, None) => {}
        (PackageType::Image, _) => put_some(members, "ImageConfigResponse", image_config(settings)),
    }
}

fn put_states(members: &mut Map<String, Value>, record: &FunctionRecord) {
    let lifecycle = &record.lifecycle;
    put(members, "State", lifecycle.state.as_str());
    put_reason(
        members,
        ["StateReason", "StateReasonCode"],
        lifecycle.state_reason.as_ref(),
    );
    // An Active version has no reason in Lambda. One without the snapshot that was asked for says here why.
    if let (true, Optimization::Off { reason }) = (record.is_active(), &record.optimization) {
        put(
            members,
            "StateReason",
            format!("The function has no snapshot and starts as an ordinary one: {reason}"),
        );
    }
    put(members, "LastUpdateStatus", lifecycle.last_update.as_str());
    let names = ["LastUpdateStatusReason", "LastUpdateStatusReasonCode"];
    put_reason(members, names, lifecycle.last_update_reason.as_ref());
}

fn put_reason(members: &mut Map<String, Value>, [text, code]: [&str; 2], reason: Option<&Reason>) {
    put_some(members, text, reason.map(|reason| reason.text.as_str()));
    put_some(members, code, reason.map(|reason| reason.code.as_str()));
}

fn capacity(config: &CapacityConfig) -> Value {
    let mut members = Map::new();
    put(&mut members, "CapacityProviderArn", config.provider.as_str());
    put_some(
        &mut members,
        "PerExecutionEnvironmentMaxConcurrency",
        config.invocations_max,
    );
    json!({ "LambdaManagedInstancesCapacityProviderConfig": members })
}

fn logging(settings: &Configuration) -> Value {
    let logging = &settings.logging;
    let mut members = Map::new();
    put(
        &mut members,
        "LogFormat",
        if logging.format == LogFormat::Json {
            "JSON"
        } else {
            "Text"
        },
    );
    put_some(
        &mut members,
        "ApplicationLogLevel",
        logging.application_level.as_deref(),
    );
    put_some(&mut members, "SystemLogLevel", logging.system_level.as_deref());
    put(&mut members, "LogGroup", logging.group.as_str());
    Value::Object(members)
}

/// None where nothing is overridden.
fn image_config(settings: &Configuration) -> Option<Value> {
    let overrides = &settings.image_config;
    let mut members = Map::new();
    put_some(
        &mut members,
        "EntryPoint",
        Some(&overrides.entrypoint).filter(|items| !items.is_empty()).cloned(),
    );
    put_some(
        &mut members,
        "Command",
        Some(&overrides.command).filter(|items| !items.is_empty()).cloned(),
    );
    put_some(&mut members, "WorkingDirectory", overrides.working_directory.as_deref());
    (!members.is_empty()).then(|| json!({ "ImageConfig": members }))
}

fn put(members: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    members.insert(name.to_owned(), value.into());
}

fn put_some(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(members, name, value);
    }
}
