//! Runtimes: the roots on which zips run.
//!
//! ```text
//! DIRECTORY/runtimes.json   { "version": 1, "runtimes": [ { name, source, image, arguments, environment, added_ms } ] }
//! ```
//! The operator adds one for each language. `provided.*` needs none: its base is then a root of empty directories,
//! which suffices for a static program.

use super::base_layer::{self, base_layer, minimal_root};
use super::error::PackageError;
use super::push::{of_source, root_name};
use super::start_command::{start_command, tree_of};
use super::{Packages, blobs};
use api::ImageAddress;
use chunk::Account;
use image::source::plain::{self, Progress, UnpackOptions};
use image::source::platform::Platform;
use image::source::spec::SourceSpec;
use image::source::{self, ImageSource, Limits};
use image::tree::TreeLimits;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const VERSION: u32 = 1;

/// Runtimes in the file; AWS has some twenty.
const RUNTIMES_MAX: usize = 100;

/// Whose key seals what belongs to no account. A number that AWS gives nobody.
const OWN_ACCOUNT: &str = "000000000000";

/// Plain bytes and entries of a runtime's image that are looked at.
const LIMITS: TreeLimits = TreeLimits {
    unpacked_bytes_max: 10 * 1024 * 1024 * 1024,
    entries_max: 500_000,
};

/// What a zip function of a runtime starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeBase {
    /// The root.
    pub address: ImageAddress,
    /// The program. For python and node the handler follows; for `provided.*` it is `/var/task/bootstrap`.
    pub arguments: Vec<String>,
    /// Variables of the image.
    pub environment: Vec<(String, String)>,
}

/// A runtime that the operator added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredRuntime {
    /// Such as `python3.11`.
    pub name: String,
    /// The image, as the operator named it.
    pub source: String,
    /// Its root.
    pub image: ImageAddress,
    /// How it starts a function.
    pub arguments: Vec<String>,
    /// Variables of the image.
    pub environment: Vec<(String, String)>,
    /// When, milliseconds since 1970.
    pub added_ms: u64,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimesFile {
    version: u32,
    runtimes: Vec<RegisteredRuntime>,
}

pub(super) async fn runtime(packages: &Packages, name: &str) -> Result<RuntimeBase, PackageError> {
    let registered = list(packages).await?.into_iter().find(|runtime| runtime.name == name);
    if let Some(runtime) = registered {
        return Ok(RuntimeBase {
            address: runtime.image,
            arguments: runtime.arguments,
            environment: runtime.environment,
        });
    }
    if !matches!(name, "provided.al2023" | "provided.al2") {
        return Err(PackageError::new("InvalidRuntime", no_base(name)));
    }
    Ok(RuntimeBase {
        address: minimal(packages).await?,
        arguments: vec!["/var/task/bootstrap".to_owned()],
        environment: Vec::new(),
    })
}

pub(super) async fn add(
    packages: &Packages,
    name: &str,
    source: SourceSpec,
) -> Result<RegisteredRuntime, PackageError> {
    check_name(name)?;
    let (runtime, text) = (name.to_owned(), source.to_string());
    let (image, arguments, environment) = packages
        .blocking(move |packages| {
            let image = open(packages, &source)?;
            let environment = environment(&image);
            let arguments = inspect(packages, &runtime, &image, &environment)?;
            Ok((image, arguments, environment))
        })
        .await?;
    let named_by = image.manifest_digest.as_ref().unwrap_or(&image.config_digest);
    let device = root_name(named_by.hex());
    let address = packages
        .ensure(&own_account(), device, move |packages| {
            Ok(image.with_base_layer(base_layer(packages.scratch()?)?))
        })
        .await?;
    let added = RegisteredRuntime {
        name: name.to_owned(),
        source: text,
        image: address,
        arguments,
        environment,
        added_ms: now_ms(),
    };
    let runtime = added.clone();
    change(packages, move |runtimes| {
        runtimes.retain(|other| other.name != runtime.name);
        if runtimes.len() >= RUNTIMES_MAX {
            return Err(PackageError::request(format!(
                "there are {RUNTIMES_MAX} runtimes, the most there can be: remove one first"
            )));
        }
        runtimes.push(runtime);
        runtimes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(true)
    })
    .await?;
    Ok(added)
}

pub(super) async fn list(packages: &Packages) -> Result<Vec<RegisteredRuntime>, PackageError> {
    packages.blocking(read).await
}

pub(super) async fn remove(packages: &Packages, name: &str) -> Result<bool, PackageError> {
    let name = name.to_owned();
    change(packages, move |runtimes| {
        let before = runtimes.len();
        runtimes.retain(|runtime| runtime.name != name);
        Ok(runtimes.len() < before)
    })
    .await
}

/// Reads the file, changes it and writes it if there was a change. One at a time in this process.
async fn change(
    packages: &Packages,
    act: impl FnOnce(&mut Vec<RegisteredRuntime>) -> Result<bool, PackageError> + Send + 'static,
) -> Result<bool, PackageError> {
    let turn = packages.shared.turns.take("runtimes.json".to_owned()).await;
    packages
        .blocking(move |packages| {
            let _turn = turn;
            let mut runtimes = read(packages)?;
            if !act(&mut runtimes)? {
                return Ok(false);
            }
            let file = RuntimesFile {
                version: VERSION,
                runtimes,
            };
            let text = serde_json::to_vec_pretty(&file).expect("strings and numbers are always valid JSON");
            blobs::write_file(&path(packages), &text)?;
            Ok(true)
        })
        .await
}

fn read(packages: &Packages) -> Result<Vec<RegisteredRuntime>, PackageError> {
    let path = path(packages);
    let Some(text) = blobs::read_file(&path)? else {
        return Ok(Vec::new());
    };
    let corrupt = |reason: String| {
        PackageError::internal(format!(
            "{} is not a list of runtimes: {reason}; move it away and add the runtimes again",
            path.display()
        ))
    };
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if any.get("version").and_then(serde_json::Value::as_u64) != Some(u64::from(VERSION)) {
        return Err(corrupt(format!("this build reads version {VERSION} only")));
    }
    let file: RuntimesFile = serde_json::from_value(any).map_err(|error| corrupt(error.to_string()))?;
    Ok(file.runtimes)
}

fn path(packages: &Packages) -> PathBuf {
    packages.shared.parts.directory.join("runtimes.json")
}

fn open(packages: &Packages, source: &SourceSpec) -> Result<ImageSource, PackageError> {
    let options = packages.open_options(Platform::host())?;
    let image = source::open(source, &options, &packages.shared.parts.runtime);
    image.map_err(|error| of_source(&error))
}

/// Unpacks the image once to look at its files. The push unpacks it again: adding a runtime is rare, and nothing is
/// stored of an image that cannot be one.
fn inspect(
    packages: &Packages,
    runtime: &str,
    image: &ImageSource,
    environment: &[(String, String)],
) -> Result<Vec<String>, PackageError> {
    let options = UnpackOptions {
        scratch_dir: packages.scratch()?.to_owned(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        limits: Limits {
            unpacked_bytes_max: LIMITS.unpacked_bytes_max,
        },
    };
    let layers = plain::plain_layers(image, &options, &Progress::default()).map_err(|error| of_source(&error))?;
    let ranges: Vec<_> = layers.iter().map(plain::PlainLayer::range).collect();
    let tree = tree_of(&ranges, LIMITS);
    let tree = tree.map_err(|error| PackageError::new("InvalidImage", format!("{}: {error}", image.reference)))?;
    let path = environment.iter().rev().find(|(name, _)| name == "PATH");
    start_command(runtime, &tree, path.map(|(_, value)| value.as_str())).map_err(|lack| {
        PackageError::new(
            "InvalidRuntime",
            format!("{} cannot be the base of {runtime}: {lack}", image.reference),
        )
    })
}

fn environment(image: &ImageSource) -> Vec<(String, String)> {
    let config = image.config.parsed.config().as_ref();
    let lines = config.and_then(|config| config.env().as_ref());
    let pairs = lines.into_iter().flatten().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The root of `provided.*` where the operator gave none.
async fn minimal(packages: &Packages) -> Result<ImageAddress, PackageError> {
    let layer = packages.blocking(|packages| minimal_root(packages.scratch()?)).await?;
    // Named by its content, since that depends on this machine's certificate authorities.
    let name = format!(
        "lambda-base-{}-{}",
        base_layer::BASE_LAYER_VERSION,
        layer.digest().hex()
    );
    let reference = name.clone();
    packages
        .ensure(&own_account(), name, move |_| {
            let source = ImageSource::of_layers(reference, Platform::host(), vec![layer]);
            source.map_err(|error| PackageError::internal(error.to_string()))
        })
        .await
}

/// Whose devices belong to no account.
pub(super) fn own_account() -> Account {
    OWN_ACCOUNT.parse().expect("twelve digits are an account")
}

fn check_name(name: &str) -> Result<(), PackageError> {
    let is_name = (2..=40).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.');
    if is_name {
        return Ok(());
    }
    Err(PackageError::request(format!(
        "`{}` is not a runtime's name: expected something like python3.11, nodejs22.x or provided.al2023",
        name.chars().take(60).collect::<String>().escape_debug()
    )))
}

fn no_base(name: &str) -> String {
    let name = name.chars().take(60).collect::<String>();
    format!(
        "The runtime {} has no base image on this server: the operator adds one with `lambent runtime add {0} SOURCE`.",
        name.escape_debug()
    )
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
