//! The gateway over the wire: botocore and boto3 talk to it, the record is the real one on SQLite, and the worker does
//! what the events say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]

mod worker;

use api::Worker;
use chunk::Account;
use control::packages::PackagesParts;
use control::{Control, ControlParts, Packages};
use gateway::{Gateway, GatewayParts, GatewaySettings};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;
use worker::{PlayingWorker, python};

/// A script needs seconds; a machine that is busy building needs more.
const SCRIPT_WAIT: Duration = Duration::from_secs(120);

/// A running gateway.
struct Endpoint {
    control: Control,
    address: String,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

/// How a gateway is to be.
struct Wish {
    settings: GatewaySettings,
    /// Whether the worker's `hold` waits.
    holds: bool,
}

impl Wish {
    fn quick() -> Self {
        let settings = GatewaySettings {
            retry_waits: [Duration::from_millis(50), Duration::from_millis(100)],
            backoff_first: Duration::from_millis(20),
            backoff_max: Duration::from_millis(100),
            drain: Duration::from_secs(5),
            ..GatewaySettings::default()
        };
        Self { settings, holds: true }
    }
}

impl Endpoint {
    async fn start(directory: &Path, wish: Wish) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let control = open(directory, &address).await;
        control.resume_preparations().await.unwrap();
        control.release_events().await.unwrap();
        let worker: Arc<dyn Worker> = Arc::new(PlayingWorker::new(wish.holds));
        let parts = GatewayParts {
            control: control.clone(),
            worker,
            messaging: gateway::Messaging::connect("us-east-1", gateway::MessagingSettings::default())
                .await
                .unwrap(),
            region: "us-east-1".into(),
            shared_answers: None,
            settings: wish.settings,
        };
        let gateway = Gateway::new(parts).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            gateway.serve(listener, stopped).await.unwrap();
        });
        Self {
            control,
            address,
            stop: Some(stop),
            served,
        }
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        (&mut self.served).await.unwrap();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn open(directory: &Path, address: &str) -> Control {
    let location = store::StoreLocation::Directory(directory.join("store"));
    let store = store::Store::open(&location, store::Settings::default(), &store::AwsOptions::default()).unwrap();
    let keyring = keys::Keyring::open_or_create(directory.join("keyring.json")).unwrap();
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
    Control::open(ControlParts {
        database,
        region: "us-east-1".into(),
        packages,
        network: api::Network::Off,
        clock: now_ms,
    })
    .await
    .unwrap()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Keys of an account, one of them revoked.
struct Keys {
    account: Account,
    id: String,
    secret: String,
    revoked: (String, String),
}

impl Keys {
    async fn make(control: &Control) -> Self {
        let account = control.create_account(None).await.unwrap().account;
        let key = control.create_access_key(&account).await.unwrap();
        let revoked = control.create_access_key(&account).await.unwrap();
        control.revoke_access_key(&revoked.id).await.unwrap();
        let secret = key.secret.as_str().to_owned();
        Self {
            account,
            id: key.id,
            secret,
            revoked: (revoked.id, revoked.secret.as_str().to_owned()),
        }
    }
}

/// Runs one scenario of `client.py`; it fails loudly.
async fn play(endpoint: &Endpoint, keys: &Keys, scenario: &str) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/client.py");
    let script = Command::new(python())
        .arg(script)
        .arg(scenario)
        .env("ENDPOINT", &endpoint.address)
        .env("ACCOUNT", keys.account.as_str())
        .env("KEY_ID", &keys.id)
        .env("KEY_SECRET", &keys.secret)
        .env("REVOKED_ID", &keys.revoked.0)
        .env("REVOKED_SECRET", &keys.revoked.1)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SCRIPT_WAIT, script)
        .await
        .expect("the script ends")
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(
        output.status.success(),
        "{scenario}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

async fn run(scenario: &str, wish: Wish) {
    let directory = TempDir::new().unwrap();
    let endpoint = Endpoint::start(directory.path(), wish).await;
    let keys = Keys::make(&endpoint.control).await;
    play(&endpoint, &keys, scenario).await;
    endpoint.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_botocore_good_and_bad() {
    run("signatures", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong_get_lambdas_answers() {
    run("bad_requests", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_invoke() {
    run("invoke", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_decoded_by_botocore() {
    run("streams", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_events_are_retried() {
    run("events", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn function_urls_speak_http() {
    run("urls", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_has_limits() {
    let mut wish = Wish::quick();
    wish.settings.account_concurrency_max = 2;
    // What is held when the script leaves is never released.
    wish.settings.drain = Duration::from_millis(100);
    run("concurrency", wish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_ask_is_answered() {
    run("operators", Wish::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_survives_its_gateway() {
    let directory = TempDir::new().unwrap();
    let first = Endpoint::start(directory.path(), Wish::quick()).await;
    let keys = Keys::make(&first.control).await;
    play(&first, &keys, "leave_event").await;
    // As after kill -9: nothing is drained, nothing is said good-bye to.
    drop(first);
    let second = Endpoint::start(
        directory.path(),
        Wish {
            holds: false,
            ..Wish::quick()
        },
    )
    .await;
    let deadline = tokio::time::Instant::now() + SCRIPT_WAIT;
    while second.control.next_event_due().await.unwrap().is_some() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the event of the first gateway never ran"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    play(&second, &keys, "count_left_event").await;
    second.stop().await;
}
