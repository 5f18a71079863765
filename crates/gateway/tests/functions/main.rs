//! Functions, versions and aliases as boto3 sees them: the record is the real one on SQLite, zips become real devices.

#[path = "../endpoint/worker.rs"]
mod worker;

use api::Worker;
use control::packages::PackagesParts;
use control::{AccessKey, Control, ControlParts, Packages};
use gateway::{Gateway, GatewayParts, GatewaySettings};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::process::Command;
use worker::{PlayingWorker, python};

/// A scenario takes seconds; a machine that is busy building needs more.
const SCRIPT_WAIT: Duration = Duration::from_secs(120);

async fn open(directory: &Path, address: &str) -> Control {
    let location = store::StoreLocation::Directory(directory.join("store"));
    let store = store::Store::open(&location, store::Settings::default(), &store::AwsOptions::default())
        .expect("a directory of our own can be a store");
    let keyring = keys::Keyring::open_or_create(directory.join("keyring.json")).expect("a keyring can be made");
    let packages = Packages::new(PackagesParts {
        store,
        keys: keys::KeyProvider::Local(keyring),
        runtime: tokio::runtime::Handle::current(),
        directory: directory.join("packages"),
        scratch_directory: directory.join("scratch"),
        region: "us-east-1".into(),
        registry_hosts: vec![address.to_owned()],
        docker_config: None,
        plain_http: Vec::new(),
        s3: None,
    });
    let database = format!("sqlite://{}", directory.join("record.db").display());
    let parts = ControlParts {
        database,
        region: "us-east-1".into(),
        packages,
        network: api::Network::Off,
        clock: now_ms,
    };
    Control::open(parts).await.expect("the record opens")
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("and not yet for 292 million years")
}

/// Runs one scenario of `client.py` as an account of its own; it fails loudly.
async fn play(scenario: &str, address: &str, key: &AccessKey) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/functions/client.py");
    let script = Command::new(python())
        .arg(script)
        .arg(scenario)
        .env("ENDPOINT", address)
        .env("ACCOUNT", key.account.as_str())
        .env("KEY_ID", &key.id)
        .env("KEY_SECRET", key.secret.as_str())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SCRIPT_WAIT, script)
        .await
        .expect("the script ends")
        .expect("python3 is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{scenario}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

async fn run(scenario: &str) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let control = open(directory.path(), &address).await;
    let account = control
        .create_account(None)
        .await
        .expect("an account can be made")
        .account;
    let key = control.create_access_key(&account).await.expect("a key can be made");
    let worker: Arc<dyn Worker> = Arc::new(PlayingWorker::new(false));
    let settings = GatewaySettings {
        drain: Duration::from_secs(5),
        ..GatewaySettings::default()
    };
    let parts = GatewayParts {
        control,
        worker,
        messaging: gateway::Messaging::connect("us-east-1", gateway::MessagingSettings::default())
            .await
            .expect("HTTPS can be prepared"),
        region: "us-east-1".into(),
        shared_answers: None,
        settings,
    };
    let gateway = Gateway::new(parts).expect("the model is sound");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended = async { drop(stopped.await) };
    let served = tokio::spawn(async move { gateway.serve(listener, ended).await });
    play(scenario, &address, &key).await;
    drop(stop);
    served
        .await
        .expect("the server does not panic")
        .expect("the server serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_through_boto3() {
    run("functions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_aliases_through_boto3() {
    run("versions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_through_boto3() {
    run("snapshots").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_through_boto3() {
    run("refusals").await;
}
