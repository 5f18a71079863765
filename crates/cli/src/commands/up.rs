//! `lambent up`: gateway and worker in one process.
//!
//! ```text
//! first start: account, access key, DIR/aws/{config,credentials}
//! spawner of sandboxes ─> record ─> functions ─> gateway ─> listening; log lines flow functions ─> record
//! SIGTERM, SIGINT: no new requests ─> running ones end or time out ─> environments end ─> record closes
//! ```

use crate::arguments::{GlobalArguments, UpArguments};
use crate::client_files::{self, ClientFiles, PROFILE};
use crate::commands::{daemon, store as store_commands};
use crate::environment::{self, EndpointFacts, Places};
use crate::file_systems;
use anyhow::{Context, Result, bail};
use api::{LogBatch, Worker};
use cache::ValueTier;
use control::Control;
use gateway::{Gateway, GatewayParts, GatewaySettings, Messaging, MessagingSettings, SharedAnswers};
use sandbox::SpawnerSettings;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{GcProgress, GcSettings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use worker::{Client, DaemonMounts, FunctionSettings, Functions, FunctionsParts};

/// Batches of log lines between functions and the record. When the record is slower, lines are dropped and counted.
const LOG_BATCHES_MAX: usize = 1024;

/// Batches that are written in one transaction.
const LOG_BATCHES_AT_ONCE: usize = 128;

/// How often log lines beyond their retention are removed. Retention counts in days.
const LOG_TRIM_PAUSE: Duration = Duration::from_secs(3600);

/// How often blobs that nothing names are looked for. They stay for a day, so an hour is soon enough.
const RECLAIM_PAUSE: Duration = Duration::from_secs(3600);

/// Most of the machine's memory that environments may be promised, in percent: the rest is the page cache, this process
/// and the daemon. Limits are promises: the environments of a small Rust function use some hundredth of theirs, and a
/// thousand of them, at 128 MB each, are to fit on a machine of 8 GiB. Each is held to its own limit by its group.
const MEMORY_SHARE_PERCENT: u64 = 1600;

/// Chunks that a collection copies in a second while functions run: under a tenth of what a local disk did
/// (3,726, by hand), and 128 MB/s at most of a bucket's own copying.
const GC_RATE: NonZeroU32 = NonZeroU32::new(250).expect("it is not 0");

/// Shortest time between two decisions of target tracking.
const SCALING_PERIOD_MIN: Duration = Duration::from_secs(1);

/// The first collection comes this long after the start, also where it is wanted once in days: machines restart.
const GC_FIRST: Duration = Duration::from_secs(3600);

/// How long environments may take to end: extensions have 2 s of it by Lambda's rule.
const ENVIRONMENTS_END: Duration = Duration::from_secs(5);

pub(crate) fn run(global: &GlobalArguments, arguments: &UpArguments) -> Result<()> {
    let start = Instant::now();
    let places = environment::places(global)?;
    let _lock = lock(&places)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")?;
    runtime.block_on(serve(global, arguments, &places, start))
}

/// One `up` for each data directory.
fn lock(places: &Places) -> Result<std::fs::File> {
    let path = places.data.join("up.lock");
    let file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another `lambent up` serves {}: end it, or choose another directory with --data",
            places.data.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// How the process that makes sandboxes is started.
fn spawner(places: &Places) -> Result<SpawnerSettings> {
    Ok(SpawnerSettings {
        program: std::env::current_exe().context("cannot find this program")?,
        arguments: vec!["sandboxes".to_owned()],
        cgroup: format!("lambent-{}", short_hash(places)),
    })
}

/// A name for what must not be shared between data directories.
fn short_hash(places: &Places) -> String {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&places.data);
    format!("{:08x}", hash as u32)
}

async fn serve(global: &GlobalArguments, arguments: &UpArguments, places: &Places, start: Instant) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| {
        format!(
            "cannot listen on {}: choose another address with --listen",
            arguments.listen
        )
    })?;
    let listen = listener.local_addr()?;
    let region = region(arguments, places)?;
    let facts = EndpointFacts {
        registry_hosts: registry_hosts(listen),
        s3_endpoint: arguments.s3_endpoint.clone(),
    };
    let keys = environment::key_provider(global, &places.data).await?;
    let packages = environment::packages(places, keys, &tokio::runtime::Handle::current(), (&region, facts))?;
    let network = arguments.network.into();
    let control = environment::control(&region, places, packages, network).await?;
    let is_first = ensure_key(global, &control, places, (&region, listen)).await?;
    let shared = file_systems::open(&arguments.file_systems, &region, &global.account)?;
    control.offer_file_systems(shared.keys().cloned().collect());
    control.resume_preparations().await?;
    control.release_events().await?;

    let (logs, inbox) = mpsc::channel(LOG_BATCHES_MAX);
    let mut parts = functions_parts(global, arguments, places, logs)?;
    parts.settings.file_systems = shared;
    parts.settings.criu = environment::criu_places();
    let functions = Functions::start(parts).await;
    let functions = Arc::new(functions.context("cannot start the worker's functions")?);
    let collector = tokio::spawn(collect_garbage(
        environment::open_store(places)?,
        arguments.gc_every.time,
    ));
    let writer = tokio::spawn(write_logs(control.clone(), inbox));
    let watcher = tokio::spawn(retire_replaced(control.clone(), functions.clone()));
    let reclaimer = tokio::spawn(reclaim_blobs(control.clone()));
    let worker: Arc<dyn Worker> = functions.clone();
    let notes = file_systems::lines(&arguments.file_systems, &region, &global.account);
    let messaging = Messaging::connect(&region, messaging_settings(arguments)).await?;
    let gateway = Gateway::new(GatewayParts {
        control: control.clone(),
        worker,
        messaging,
        region,
        shared_answers: shared_answers(arguments, &control).await?,
        settings: gateway_settings(arguments),
    })?;
    greet(places, listen, is_first, start.elapsed());
    notes.iter().for_each(|line| println!("{line}"));

    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("ending: waiting for running requests");
    };
    let served = gateway.serve(listener, ended).await;
    watcher.abort();
    collector.abort();
    reclaimer.abort();
    // They end by being aborted; what a collection had not done is done by the next one.
    let _ = tokio::join!(watcher, collector, reclaimer);
    functions.shutdown(ENVIRONMENTS_END).await;
    // The gateway holds the functions, too. Its senders are gone with the environments, so it ends when it has written all.
    drop((gateway, functions));
    let _ = tokio::time::timeout(Duration::from_secs(5), writer).await;
    control.close().await;
    served.context("the server failed")
}

/// The region that the directory was made for; another one would make other ARNs of the same functions.
fn region(arguments: &UpArguments, places: &Places) -> Result<String> {
    let known = client_files::read(&places.data).ok().map(|files| files.region);
    match (known, &arguments.region) {
        (Some(known), Some(wanted)) if known != *wanted => bail!(
            "{} belongs to region {known}: leave --region out, or choose another directory with --data",
            places.data.display()
        ),
        (Some(known), _) => Ok(known),
        (None, Some(wanted)) => Ok(wanted.clone()),
        (None, None) => Ok(client_files::REGION_DEFAULT.to_owned()),
    }
}

/// How clients on this machine and others name the registry.
fn registry_hosts(listen: SocketAddr) -> Vec<String> {
    let endpoint = client_files::endpoint(listen);
    let host = endpoint.trim_start_matches("http://").to_owned();
    vec![
        host,
        format!("localhost:{}", listen.port()),
        format!("127.0.0.1:{}", listen.port()),
    ]
}

/// Makes sure that there is a key which the files name, and that they name this address. True at the first start.
async fn ensure_key(
    global: &GlobalArguments,
    control: &Control,
    places: &Places,
    (region, listen): (&str, SocketAddr),
) -> Result<bool> {
    let endpoint = client_files::endpoint(listen);
    let known = client_files::read(&places.data).ok();
    let good = known.filter(|files| control.access_key(&files.access_key_id).is_some());
    let (is_first, id, secret) = match good {
        Some(files) => (false, files.access_key_id, files.secret_access_key),
        None => {
            let is_first = control.account(&global.account).await?.is_none();
            if is_first {
                control.create_account(Some(&global.account)).await?;
            }
            let key = control.create_access_key(&global.account).await?;
            (is_first, key.id.clone(), key.secret.as_str().to_owned())
        }
    };
    client_files::write(
        &places.data,
        &ClientFiles {
            endpoint,
            region: region.to_owned(),
            access_key_id: id,
            secret_access_key: secret,
        },
    )?;
    Ok(is_first)
}

fn functions_parts(
    global: &GlobalArguments,
    arguments: &UpArguments,
    places: &Places,
    logs: mpsc::Sender<LogBatch>,
) -> Result<FunctionsParts> {
    let (worker, store) = (places.worker(), places.store.to_string());
    let (global, owned) = (global.clone(), places.clone());
    let connect = move || Client::connect_or_start(&worker, &store, || daemon::command(&global, &owned));
    Ok(FunctionsParts {
        mounts_directory: places.data.join("functions"),
        mounts: Arc::new(DaemonMounts::new(Box::new(connect))),
        spawner: spawner(places)?,
        settings: FunctionSettings {
            idle: Duration::from_secs(arguments.idle_seconds),
            memory_mb_max: memory_mb() * MEMORY_SHARE_PERCENT / 100,
            ..FunctionSettings::default()
        },
        logs,
    })
}

fn messaging_settings(arguments: &UpArguments) -> MessagingSettings {
    MessagingSettings {
        sqs_endpoint: arguments.sqs_endpoint.clone(),
        sns_endpoint: arguments.sns_endpoint.clone(),
        http_destinations: arguments.http_destination.iter().cloned().collect(),
        message_access: arguments.message_access.clone(),
    }
}

/// What its answers are sealed by, in the record: every gateway of it has the same.
const ANSWERS_SECRET: &str = "response cache";

async fn shared_answers(arguments: &UpArguments, control: &Control) -> Result<Option<SharedAnswers>> {
    let Some(fleet) = &arguments.response_cache_fleet else {
        return Ok(None);
    };
    let secret = control.shared_secret(ANSWERS_SECRET).await?;
    Ok(Some(SharedAnswers::new(ValueTier::open(fleet), secret)))
}

fn gateway_settings(arguments: &UpArguments) -> GatewaySettings {
    GatewaySettings {
        retry_waits: arguments.retry_waits.map(|wait| wait.time),
        deliver_for: arguments.deliver_for.time,
        scaling_period: arguments.scaling_period.time.max(SCALING_PERIOD_MIN),
        response_cache_bytes_max: arguments.response_cache.bytes,
        ..GatewaySettings::default()
    }
}

/// The machine's memory.
fn memory_mb() -> u64 {
    rustix::system::sysinfo().totalram >> 20
}

/// Log lines, a transaction for all that have gathered meanwhile; what is too old goes, also where nothing is written.
async fn write_logs(control: Control, mut inbox: mpsc::Receiver<LogBatch>) {
    let mut batches = Vec::with_capacity(LOG_BATCHES_AT_ONCE);
    let mut trim = tokio::time::interval(LOG_TRIM_PAUSE);
    loop {
        tokio::select! {
            taken = inbox.recv_many(&mut batches, LOG_BATCHES_AT_ONCE) => {
                if taken == 0 {
                    return;
                }
                if let Err(error) = control.append_logs(std::mem::take(&mut batches)).await {
                    tracing::error!("lines of functions' logs are lost: {error}");
                }
            }
            _ = trim.tick() => {
                if let Err(error) = control.trim_logs().await {
                    tracing::warn!("old lines of functions' logs stay for now: {error}");
                }
            }
        }
    }
}

/// Collects garbage now and then, at a rate that leaves the store to functions.
async fn collect_garbage(store: store::Store, every: Duration) {
    if every.is_zero() {
        return;
    }
    let settings = GcSettings {
        rate_per_second: Some(GC_RATE),
        ..GcSettings::default()
    };
    let mut due = tokio::time::interval_at((Instant::now() + every.min(GC_FIRST)).into(), every);
    loop {
        due.tick().await;
        match store_commands::collect(&store, &settings, &GcProgress::default()).await {
            Ok(report) if report.alarms.is_empty() && report.faults.is_empty() => {
                tracing::info!(changes = ?report.changes, deleted_bytes = report.bytes_deleted, "garbage was collected");
            }
            Ok(report) => {
                tracing::error!(alarms = ?report.alarms, faults = ?report.faults, "somebody should look at the store");
            }
            Err(error) => tracing::error!("garbage was not collected, which is tried again in {every:?}: {error}"),
        }
    }
}

/// Frees what deleted functions and images have left, at the start and then now and then.
async fn reclaim_blobs(control: Control) {
    let mut pause = tokio::time::interval(RECLAIM_PAUSE);
    loop {
        pause.tick().await;
        if let Err(error) = control.reclaim_blobs().await {
            tracing::warn!("blobs that nothing names stay for now: {error}");
        }
    }
}

/// Ends environments whose code or configuration has been replaced.
async fn retire_replaced(control: Control, functions: Arc<Functions>) {
    let mut changes = control.changes();
    loop {
        match changes.recv().await {
            Ok(change) => match control.revisions_in_use(&change.account, &change.name).await {
                Ok(kept) => {
                    let arn = control.function_arn(&change.account, &change.name);
                    functions.retire(&arn, &kept).await;
                }
                Err(error) => tracing::warn!(function = change.name, "cannot end replaced environments: {error}"),
            },
            // Those that were missed end when they have been idle for long enough.
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "changes of functions were missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Says where it listens, and what to type next.
fn greet(places: &Places, listen: SocketAddr, is_first: bool, took: Duration) {
    let (data, endpoint) = (&places.data, client_files::endpoint(listen));
    println!(
        "Lambent serves the Lambda API at {endpoint}, ready in {} ms.",
        took.as_millis()
    );
    if !listen.ip().is_loopback() {
        println!(
            "Others can reach it without encryption: put a proxy with TLS before it on any network that you do not trust."
        );
    }
    if is_first {
        println!(
            "Made an account and an access key for you; the secret is in {}.",
            client_files::credentials_path(data).display()
        );
    }
    println!(
        "\nIn another terminal, for boto3, the aws command line and Terraform:\n\n  \
         export AWS_CONFIG_FILE={}\n  export AWS_SHARED_CREDENTIALS_FILE={}\n  export AWS_PROFILE={PROFILE}\n  \
         aws lambda list-functions\n\nor, without them:\n\n  lambent deploy DIR --data {}\n",
        client_files::config_path(data).display(),
        client_files::credentials_path(data).display(),
        data.display(),
    );
}
