//! What the process environment says, read here and nowhere else.

use crate::arguments::GlobalArguments;
use anyhow::{Context, Result, bail};
use image::images::Images;
use keys::{AwsKms, KeyProvider, Keyring};
use std::env;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use store::{AwsOptions, Settings, Store, StoreLocation};
use tokio::runtime::Runtime;
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

/// Opens store and keys as the arguments say.
pub(crate) fn open(arguments: &GlobalArguments) -> Result<Parts> {
    let data = arguments.data.clone().map_or_else(default_data, Ok)?;
    create_private_directory(&data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")?;
    let location = arguments
        .store
        .clone()
        .unwrap_or_else(|| StoreLocation::Directory(data.join("store")));
    let aws = AwsOptions::from_variables(env::vars_os().filter_map(|(name, value)| {
        // Names and values that are not UTF-8 are not AWS's.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }));
    let store = Store::open(&location, Settings::default(), &aws)?;
    let keys = runtime.block_on(key_provider(arguments, &data))?;
    let images = Images {
        store,
        keys,
        account: arguments.account.clone(),
        runtime: runtime.handle().clone(),
    };
    Ok(Parts { data, images, runtime })
}

async fn key_provider(arguments: &GlobalArguments, data: &Path) -> Result<KeyProvider> {
    Ok(match &arguments.kms_key {
        Some(key) => {
            let (region, endpoint) = (arguments.kms_region.as_deref(), arguments.kms_endpoint.as_deref());
            KeyProvider::AwsKms(AwsKms::connect(key, region, endpoint).await)
        }
        None => KeyProvider::Local(Keyring::open_or_create(data.join("keyring.json"))?),
    })
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

/// Logs go to standard error; RUST_LOG chooses what.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
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
