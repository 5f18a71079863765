//! What a function is configured with.

use crate::{CapacityConfig, ZipCode};
use api::LogFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// All settings of one version. This is how the database keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Zip or image; never changes.
    pub package_type: PackageType,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// At most 256 characters.
    pub description: String,
    /// Of a version that was published with a description of its own: the one that it would have had.
    #[serde(default)]
    pub description_before: Option<String>,
    /// ARN of a role. Kept and answered; nothing is decided by it.
    pub role: String,
    /// For zips.
    pub runtime: Option<String>,
    /// For zips.
    pub handler: Option<String>,
    /// 1 to 900 s.
    pub timeout_s: u32,
    /// 128 to 10,240 MB of 2^20 bytes.
    pub memory_mb: u32,
    /// 512 to 10,240 MB of 2^20 bytes.
    pub tmp_mb: u32,
    /// None where none were ever set.
    pub environment: Option<Variables>,
    /// Lowest first; at most five.
    pub layers: Vec<LayerReference>,
    /// For images.
    pub image_config: ImageConfig,
    /// ARN.
    pub dead_letter_target: Option<String>,
    /// ARN. Kept and answered.
    pub kms_key: Option<String>,
    /// `PassThrough` or `Active`.
    pub tracing: String,
    /// `None` or `PublishedVersions`.
    pub snap_start: String,
    /// Where lines go.
    pub logging: LoggingConfig,
    /// Kept and answered; none where none was ever set.
    pub vpc: Option<VpcConfig>,
    /// Directories of the operator's that functions share; at most one.
    #[serde(default)]
    pub file_systems: Vec<FileSystemReference>,
    /// For functions whose environments take several invocations.
    #[serde(default)]
    pub capacity: Option<CapacityConfig>,
}

/// A directory of the operator's, as a function names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemReference {
    /// ARN of an access point.
    pub arn: String,
    /// `/mnt/…`: where the function sees it.
    pub local_mount_path: String,
}

/// How code is packaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackageType {
    /// Code and layers on a runtime.
    Zip,
    /// A container image.
    Image,
}

/// Environment variables: their values may be secrets and are not in the `Debug` form.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(pub BTreeMap<String, String>);

/// A layer version that a function uses. It keeps working when the layer version is deleted, as in Lambda.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReference {
    /// ARN with its version.
    pub arn: String,
    /// Its content.
    pub code: ZipCode,
}

/// What replaces parts of an image's own configuration; empty parts replace nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Instead of ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// Instead of CMD.
    pub command: Vec<String>,
    /// Instead of WORKDIR.
    pub working_directory: Option<String>,
}

/// Where lines go, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingConfig {
    /// Text or JSON.
    pub format: LogFormat,
    /// For JSON alone.
    pub application_level: Option<String>,
    /// For JSON alone.
    pub system_level: Option<String>,
    /// Name of the log group.
    pub group: String,
}

/// A network that Lambent does not make: functions are answered what they were created with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcConfig {
    /// Identifiers.
    pub subnets: Vec<String>,
    /// Identifiers.
    pub security_groups: Vec<String>,
    /// As asked.
    pub ipv6: bool,
}

/// What a request sets; what it leaves out stays, or is Lambda's default in a new function.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// At most 256 characters.
    pub description: Option<String>,
    /// ARN of a role.
    pub role: Option<String>,
    /// Such as `python3.12`.
    pub runtime: Option<String>,
    /// Such as `app.handler`.
    pub handler: Option<String>,
    /// 1 to 900 s.
    pub timeout_s: Option<u32>,
    /// 128 to 10,240 MB.
    pub memory_mb: Option<u32>,
    /// 512 to 10,240 MB.
    pub tmp_mb: Option<u32>,
    /// Replaces all variables.
    pub environment: Option<Variables>,
    /// ARNs of layer versions; replaces all layers.
    pub layers: Option<Vec<String>>,
    /// Replaces all overrides.
    pub image_config: Option<ImageConfig>,
    /// ARN; empty for none.
    pub dead_letter_target: Option<String>,
    /// ARN; empty for none.
    pub kms_key: Option<String>,
    /// `PassThrough` or `Active`.
    pub tracing: Option<String>,
    /// `None` or `PublishedVersions`.
    pub snap_start: Option<String>,
    /// Changes those parts that it names.
    pub logging: Option<LoggingSettings>,
    /// Replaces all.
    pub vpc: Option<VpcConfig>,
    /// Replaces all.
    pub file_systems: Option<Vec<FileSystemReference>>,
    /// Replaces all.
    pub capacity: Option<CapacityConfig>,
}

/// Changes to a [`LoggingConfig`].
#[derive(Clone, Debug, Default)]
pub struct LoggingSettings {
    /// Text or JSON.
    pub format: Option<LogFormat>,
    /// For JSON alone.
    pub application_level: Option<String>,
    /// For JSON alone.
    pub system_level: Option<String>,
    /// Name of the log group.
    pub group: Option<String>,
}

/// Level of lines that JSON logging starts with. Source: "Configuring JSON and plain text log formats" of Lambda's guide.
const LEVEL_DEFAULT: &str = "INFO";

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl PackageType {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "Zip",
            Self::Image => "Image",
        }
    }
}

impl Configuration {
    /// Lambda's defaults, as CreateFunction's reference gives them.
    pub(crate) fn new(name: &str, package_type: PackageType, architecture: &str) -> Self {
        Self {
            package_type,
            architecture: architecture.to_owned(),
            description: String::new(),
            description_before: None,
            role: String::new(),
            runtime: None,
            handler: None,
            timeout_s: 3,
            memory_mb: 128,
            tmp_mb: 512,
            environment: None,
            layers: Vec::new(),
            image_config: ImageConfig::default(),
            dead_letter_target: None,
            kms_key: None,
            tracing: "PassThrough".to_owned(),
            snap_start: "None".to_owned(),
            logging: LoggingConfig {
                format: LogFormat::Text,
                application_level: None,
                system_level: None,
                group: format!("/aws/lambda/{name}"),
            },
            vpc: None,
            file_systems: Vec::new(),
            capacity: None,
        }
    }

    /// The configuration after a request. `layers` are those that the settings name.
    pub(crate) fn with(self, settings: Settings, layers: Option<Vec<LayerReference>>) -> Self {
        let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            package_type: self.package_type,
            architecture: self.architecture,
            description: settings.description.unwrap_or(self.description),
            description_before: None,
            role: settings.role.unwrap_or(self.role),
            runtime: settings.runtime.or(self.runtime),
            handler: settings.handler.or(self.handler),
            timeout_s: settings.timeout_s.unwrap_or(self.timeout_s),
            memory_mb: settings.memory_mb.unwrap_or(self.memory_mb),
            tmp_mb: settings.tmp_mb.unwrap_or(self.tmp_mb),
            environment: settings.environment.or(self.environment),
            layers: layers.unwrap_or(self.layers),
            image_config: settings.image_config.unwrap_or(self.image_config),
            dead_letter_target: settings.dead_letter_target.map_or(self.dead_letter_target, non_empty),
            kms_key: settings.kms_key.map_or(self.kms_key, non_empty),
            tracing: settings.tracing.unwrap_or(self.tracing),
            snap_start: settings.snap_start.unwrap_or(self.snap_start),
            logging: match settings.logging {
                Some(changes) => self.logging.with(changes),
                None => self.logging,
            },
            vpc: settings.vpc.or(self.vpc),
            file_systems: settings.file_systems.unwrap_or(self.file_systems),
            capacity: settings.capacity.or(self.capacity),
        }
    }
}

impl LoggingConfig {
    /// JSON without levels has the default ones; text has none.
    fn with(self, changes: LoggingSettings) -> Self {
        let format = changes.format.unwrap_or(self.format);
        let level = |asked: Option<String>, had: Option<String>| match format {
            LogFormat::Json => asked.or(had).or_else(|| Some(LEVEL_DEFAULT.to_owned())),
            LogFormat::Text => None,
        };
        Self {
            format,
            application_level: level(changes.application_level, self.application_level),
            system_level: level(changes.system_level, self.system_level),
            group: changes.group.unwrap_or(self.group),
        }
    }
}
