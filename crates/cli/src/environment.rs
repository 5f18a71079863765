//! What the process environment says, read here and nowhere else.

use crate::arguments::{Command, GlobalArguments};
use crate::client_files;
use anyhow::{Context, Result, bail};
use api::Network;
use control::packages::{S3Access, S3Credentials};
use control::{Control, ControlParts, Packages, PackagesParts};
use image::images::Images;
use keys::{AwsKms, KeyProvider, Keyring, VaultSettings, VaultTransit};
use std::env;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{AwsOptions, S3Location, Settings, Store, StoreLocation, UserObject};
use tokio::runtime::{Handle, Runtime};
use tracing_subscriber::EnvFilter;

/// Threads for waiting on store and registry; sealing has threads of its own.
const RUNTIME_THREADS: usize = 2;

/// The parts that every command needs.
pub(crate) struct Parts {
    /// Where data lives on this machine.
    pub(crate) data: PathBuf,
    pub(crate) images: Images,
    /// Dropped last: `images` waits on it.
    pub(crate) runtime: Runtime,
}

/// Where things are, before anything is opened.
#[derive(Clone)]
pub(crate) struct Places {
    /// Where data lives on this machine.
    pub(crate) data: PathBuf,
    pub(crate) store: StoreLocation,
}

impl Places {
    /// The directory of the worker's daemon.
    pub(crate) fn worker(&self) -> PathBuf {
        self.data.join("worker")
    }

    /// The region of ARNs: as `lambent up` wrote it down.
    pub(crate) fn region(&self) -> String {
        client_files::read(&self.data).map_or_else(|_| client_files::REGION_DEFAULT.to_owned(), |files| files.region)
    }

    /// The file with the daemon's settings.
    pub(crate) fn worker_settings(&self) -> PathBuf {
        self.data.join("worker.toml")
    }
}

/// Decides where things are, and makes the data directory.
pub(crate) fn places(arguments: &GlobalArguments) -> Result<Places> {
    let data = arguments.data.clone().map_or_else(default_data, Ok)?;
    create_private_directory(&data)?;
    // A daemon outlives the directory that its first client was called in.
    let data = std::fs::canonicalize(&data).with_context(|| format!("cannot find {}", data.display()))?;
    let store = match arguments.store.clone() {
        None => StoreLocation::Directory(data.join("store")),
        Some(StoreLocation::Directory(directory)) => StoreLocation::Directory(
            std::path::absolute(&directory).with_context(|| format!("cannot find {}", directory.display()))?,
        ),
        Some(remote) => remote,
    };
    Ok(Places { data, store })
}

/// Threads for waiting.
pub(crate) fn start_runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(RUNTIME_THREADS).enable_all();
    builder.build().context("cannot start the runtime's threads")
}

/// Opens the store alone, for commands that need no key.
pub(crate) fn open_store(places: &Places) -> Result<Store> {
    Ok(Store::open(&places.store, Settings::default(), &aws_options())?)
}

/// An object of the user's own in a bucket.
pub(crate) fn user_object(location: &S3Location) -> Result<UserObject> {
    Ok(UserObject::new(location, &Settings::default(), &aws_options())?)
}

fn aws_options() -> AwsOptions {
    AwsOptions::from_variables(env::vars_os().filter_map(|(name, value)| {
        // Names and values that are not UTF-8 are not AWS's.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }))
}

/// Opens store and keys as the arguments say.
pub(crate) fn open(arguments: &GlobalArguments) -> Result<Parts> {
    let places = places(arguments)?;
    let runtime = start_runtime()?;
    let store = open_store(&places)?;
    let keys = runtime.block_on(key_provider(arguments, &places.data))?;
    let images = Images {
        store,
        keys,
        account: arguments.account.clone(),
        runtime: runtime.handle().clone(),
    };
    let data = places.data;
    Ok(Parts { data, images, runtime })
}

/// Opens the keyring, or connects to the KMS or to Vault.
pub(crate) async fn key_provider(arguments: &GlobalArguments, data: &Path) -> Result<KeyProvider> {
    if let Some(key) = &arguments.kms_key {
        let (region, endpoint) = (arguments.kms_region.as_deref(), arguments.kms_endpoint.as_deref());
        let kms = AwsKms::connect(key, region, endpoint).await;
        return Ok(KeyProvider::AwsKms(kms.with_previous(&arguments.kms_previous_key)));
    }
    if let Some(settings) = vault_settings(arguments)? {
        return Ok(KeyProvider::Vault(VaultTransit::new(settings)?));
    }
    Ok(KeyProvider::Local(Keyring::open_or_create(data.join("keyring.json"))?))
}

/// Where Vault is, if it is to wrap keys. Paths are made absolute: a daemon is somewhere else.
pub(crate) fn vault_settings(arguments: &GlobalArguments) -> Result<Option<VaultSettings>> {
    let (Some(key), Some(address), Some(token_file)) = (
        &arguments.vault_key,
        &arguments.vault_address,
        &arguments.vault_token_file,
    ) else {
        return Ok(None);
    };
    let absolute =
        |file: &PathBuf| std::path::absolute(file).with_context(|| format!("cannot find {}", file.display()));
    Ok(Some(VaultSettings {
        address: address.clone(),
        key: key.clone(),
        mount: arguments.vault_mount.clone(),
        namespace: arguments.vault_namespace.clone(),
        token_file: absolute(token_file)?,
        ca_file: arguments.vault_ca.as_ref().map(absolute).transpose()?,
    }))
}

/// What the function side needs to know of the endpoint, where it matters.
#[derive(Default)]
pub(crate) struct EndpointFacts {
    /// `HOST:PORT`s under which the gateway is spoken to: images named so come from its own registry.
    pub(crate) registry_hosts: Vec<String>,
    /// Of another S3 than AWS's, for zips.
    pub(crate) s3_endpoint: Option<String>,
}

/// Zips, images and runtimes, kept below the data directory and in the store.
pub(crate) fn packages(
    places: &Places,
    keys: KeyProvider,
    runtime: &Handle,
    (region, facts): (&str, EndpointFacts),
) -> Result<Packages> {
    Ok(Packages::new(PackagesParts {
        store: open_store(places)?,
        keys,
        runtime: runtime.clone(),
        directory: places.data.join("packages"),
        scratch_directory: scratch_directory(&places.data)?,
        region: region.to_owned(),
        registry_hosts: facts.registry_hosts,
        docker_config: docker_config(),
        plain_http: Vec::new(),
        s3: s3_access(region, facts.s3_endpoint),
    }))
}

/// S3 for zips, when the environment has a key for it.
fn s3_access(region: &str, endpoint: Option<String>) -> Option<S3Access> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let credentials = S3Credentials {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?.into(),
        session_token: variable("AWS_SESSION_TOKEN").map(Into::into),
    };
    Some(S3Access {
        endpoint: endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3")),
        region: variable("AWS_REGION").unwrap_or_else(|| region.to_owned()),
        credentials: Some(credentials),
    })
}

/// The record of functions, for a command beside `lambent up`.
pub(crate) async fn record(global: &GlobalArguments, places: &Places) -> Result<Control> {
    let keys = key_provider(global, &places.data).await?;
    let region = places.region();
    let packages = packages(places, keys, &Handle::current(), (&region, EndpointFacts::default()))?;
    // It starts no function.
    control(&region, places, packages, Network::Off).await
}

/// The record of functions in `DIR/control.db`.
pub(crate) async fn control(region: &str, places: &Places, packages: Packages, network: Network) -> Result<Control> {
    let path = places.data.join("control.db");
    let parts = ControlParts {
        database: format!("sqlite://{}", path.display()),
        region: region.to_owned(),
        packages,
        network,
        clock: now_ms,
    };
    Control::open(parts)
        .await
        .with_context(|| format!("cannot open the record in {}", path.display()))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A directory for unlinked scratch files. Beside the store and not in /tmp, which is memory on many machines.
pub(crate) fn scratch_directory(data: &Path) -> Result<PathBuf> {
    let directory = data.join("scratch");
    create_private_directory(&directory)?;
    Ok(directory)
}

/// docker's configuration, for logins to registries.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    Some(directory.or_else(home)?.join("config.json"))
}

/// What a command logs unless RUST_LOG says otherwise: it has a person's attention, and prints its own result.
const COMMAND_LOG: &str = "error";

/// What the daemon logs: nobody sees it at work, so its file has each device's life, too.
const DAEMON_LOG: &str = "warn,block=info,cache=info,worker=info,lambent=info";

/// What `lambent up` logs beside what it prints.
const UP_LOG: &str = "warn,gateway=info,control=info,worker=info,lambent=info";

/// Logs go to standard error, which is a file for a daemon; RUST_LOG chooses what.
pub(crate) fn start_logging(command: &Command) {
    let default = match command {
        Command::Daemon(_) => DAEMON_LOG,
        Command::Up(_) => UP_LOG,
        Command::Sandboxes => "warn",
        _ => COMMAND_LOG,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Trees that may hold a CRIU, best first: the operator's, the one of `cargo xtask setup`, this machine's own.
pub(crate) fn criu_places() -> Vec<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("LAMBENT_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("lambent")))
        .or_else(|| Some(folder("HOME")?.join(".cache/lambent")));
    [
        Some(PathBuf::from("/usr/lib/lambent/criu")),
        cache.map(|cache| cache.join("criu")),
        Some(PathBuf::from("/")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn default_data() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share"))) {
        Some(directory) => Ok(directory.join("lambent")),
        None => bail!("neither XDG_DATA_HOME nor HOME is set: say where data goes with --data DIR"),
    }
}

/// For the owner alone: keys, and files from images, lie in it.
fn create_private_directory(directory: &Path) -> Result<()> {
    let create = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    create.with_context(|| format!("cannot create the directory {}", directory.display()))
}
