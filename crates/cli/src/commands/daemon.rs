//! `lambent daemon`: the worker's daemon and its keeper.
//!
//! The command is started by `image mount` and by its own keeper. Without a keeper it becomes one: it leaves the
//! terminal's session and spawns itself with `--child`, whose standard input is the line between the two; the child
//! spawns itself with `--mounter`, which touches what the child serves in its place.

use crate::arguments::{DaemonArguments, GlobalArguments};
use crate::environment::{self, Places};
use crate::output;
use crate::worker_settings;
use anyhow::{Context, Result};
use api::ImageAddress;
use block::keeper::{self, KeeperSettings, Link};
use block::kernel::clean_left_over;
use block::mounter::{self, Mounter};
use cache::ChunkAddress;
use chunk::Account;
use image::record::Record;
use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use store::Store;
use tokio::runtime::Handle;
use worker::{Daemon, DaemonParts, Ending, FindImage, FoundImage, WorkerError};

/// A log that has grown beyond this is begun anew when a daemon starts.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How a daemon tells its keeper that a successor is wanted: not 0, and none of the usual codes.
const HANDOVER: u8 = 75;

/// The command that starts a daemon for these places. It answers one line on its standard output.
pub(crate) fn command(global: &GlobalArguments, places: &Places) -> io::Result<Command> {
    let directory = places.worker();
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("log");
    let long = std::fs::metadata(&path).is_ok_and(|file| file.len() > LOG_BYTES_MAX);
    let log = File::options().create(true).append(true).mode(0o600).open(path)?;
    if long {
        log.set_len(0)?;
    }
    let mut command = Command::new(env::current_exe()?);
    command.arg("daemon").arg("--data").arg(&places.data);
    if global.store.is_some() {
        command.arg("--store").arg(places.store.to_argument());
    }
    for (flag, value) in [
        ("--kms-key", &global.kms_key),
        ("--kms-endpoint", &global.kms_endpoint),
        ("--kms-region", &global.kms_region),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    for key in &global.kms_previous_key {
        command.arg("--kms-previous-key").arg(key);
    }
    if let Some(vault) = environment::vault_settings(global).map_err(io::Error::other)? {
        command.args(["--vault-key", &vault.key, "--vault-address", &vault.address]);
        command
            .args(["--vault-mount", &vault.mount])
            .arg("--vault-token-file")
            .arg(&vault.token_file);
        if let Some(namespace) = &vault.namespace {
            command.arg("--vault-namespace").arg(namespace);
        }
        if let Some(file) = &vault.ca_file {
            command.arg("--vault-ca").arg(file);
        }
    }
    command.current_dir("/").stderr(Stdio::from(log));
    Ok(command)
}

/// Serves, or keeps a child that serves.
pub(crate) fn run(global: &GlobalArguments, arguments: &DaemonArguments) -> Result<ExitCode> {
    let places = environment::places(global)?;
    if arguments.mounter {
        mounter::serve(&places.worker().join("mounter")).context("the process that mounts ended")?;
        Ok(ExitCode::SUCCESS)
    } else if arguments.child {
        serve(global, &places)
    } else {
        keep(global, &places)
    }
}

fn keep(global: &GlobalArguments, places: &Places) -> Result<ExitCode> {
    // Its own session: what happens to the terminal of whoever mounted first does not happen to the daemon. It fails
    // for the leader of a process group, which a shell made for it, and then it is alone already.
    let _ = rustix::process::setsid();
    let mut child = command(global, places).context("cannot prepare the daemon's process")?;
    child.arg("--child");
    match keeper::run(&mut child, KeeperSettings::default()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            tracing::error!("reads of what is mounted fail from now on: {error}");
            let cleaned = clean_left_over(&worker::devices_directory(&places.worker()))?;
            tracing::error!(?cleaned, "cleaned up");
            Err(error).context("the daemon's keeper ended")
        }
    }
}

fn serve(global: &GlobalArguments, places: &Places) -> Result<ExitCode> {
    let (link, kept) = Link::from_stdin().context("cannot take over from the keeper")?;
    let is_first = kept.is_empty();
    let runtime = environment::start_runtime()?;
    let prepare = || -> Result<_> {
        let store = environment::open_store(places)?;
        let parts = DaemonParts {
            find: find_image(store.clone(), runtime.handle().clone()),
            store,
            store_name: places.store.to_string(),
            mounter: mounter_of(places),
            keys: runtime.block_on(environment::key_provider(global, &places.data))?,
            runtime: runtime.handle().clone(),
        };
        Ok((parts, worker_settings::read(places)?))
    };
    let ending =
        prepare().and_then(|(parts, settings)| Ok(Daemon::run(parts, settings, (link, kept), || say("ready"))?));
    match ending {
        Ok(Ending::Idle) => Ok(ExitCode::SUCCESS),
        Ok(Ending::Handover) => Ok(ExitCode::from(HANDOVER)),
        // Whoever started the first daemon reads why it did not come up, and trying again would change nothing.
        Err(error) if is_first => {
            let is_busy = matches!(error.downcast_ref(), Some(WorkerError::Busy { .. }));
            say(&if is_busy {
                "busy".to_owned()
            } else {
                output::error_chain(&error).replace('\n', " ")
            });
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// Who mounts for a daemon: the file that this process was started from, whatever is at its path now.
fn mounter_of(places: &Places) -> Mounter {
    let data = places.data.clone();
    Mounter::new(move || {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(env::current_exe()?)
            .args(["daemon", "--mounter", "--data"])
            .arg(&data);
        Ok(command)
    })
}

/// Reads the record of a name, for mounts.
fn find_image(store: Store, runtime: Handle) -> FindImage {
    FindImage(Arc::new(move |account, name| {
        let found = runtime
            .block_on(store.get_record(account, name))
            .map_err(anyhow::Error::from)
            .and_then(|bytes| found(account, name, &bytes).with_context(|| format!("image {name}")));
        found.map_err(|error| output::error_chain(&error).into())
    }))
}

fn found(account: &Account, name: &str, record: &[u8]) -> Result<FoundImage> {
    let summary = Record::decode(name, record)?.summary;
    let generation = summary.generation;
    let metadata = summary.metadata_chunks()?.into_iter();
    let metadata = metadata.map(|(id, stored_bytes)| ChunkAddress {
        generation,
        id,
        stored_bytes,
    });
    Ok(FoundImage {
        metadata: metadata.collect(),
        address: ImageAddress {
            name: name.to_owned(),
            account: account.clone(),
            generation,
            manifest: summary.manifest_id()?,
        },
    })
}

/// One line to whoever started the daemon, who may be gone.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
