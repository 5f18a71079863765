//! A gateway with a real record and a real store, of which the registry's paths are served.

use crate::{Gateway, GatewayParts, GatewaySettings};
use api::{Invocation, InvokeError, Lease, ProvisionReport, ProvisionTarget, Reply, Worker, WorkerReport};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chunk::Account;
use control::packages::Blob;
use control::{AccessKey, Control, ControlParts, Packages, PackagesParts};
use keys::{KeyProvider, Keyring};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{AwsOptions, Settings, Store, StoreLocation};
use tempfile::TempDir;

pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Nobody invokes anything here.
#[derive(Debug)]
struct NoWorker;

#[async_trait]
impl Worker for NoWorker {
    async fn invoke(&self, _lease: Arc<Lease>, _invocation: Invocation) -> Result<Reply, InvokeError> {
        Err(InvokeError::ShuttingDown)
    }

    async fn retire(&self, _arn: &str, _revisions_kept: &[String]) {}

    async fn provision(&self, _arn: &str, _targets: Vec<ProvisionTarget>) {}

    fn provisioned(&self, _arn: Option<&str>) -> Vec<ProvisionReport> {
        Vec::new()
    }

    async fn provisioned_changed(&self, seen: u64) -> u64 {
        if seen != 0 {
            std::future::pending::<()>().await;
        }
        1
    }

    fn report(&self) -> WorkerReport {
        WorkerReport::default()
    }
}

/// A server that ends with the test's runtime, and an account that may use it.
pub(super) struct Registry {
    pub(super) gateway: Gateway,
    pub(super) key: AccessKey,
    pub(super) address: SocketAddr,
    pub(super) directory: TempDir,
}

impl Registry {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = open_control(directory.path(), address).await;
        let account: Account = "123456789012".parse().unwrap();
        let key = new_key(&control, &account).await;
        let parts = GatewayParts {
            control,
            worker: Arc::new(NoWorker),
            messaging: crate::Messaging::connect("us-east-1", crate::MessagingSettings::default())
                .await
                .unwrap(),
            region: "us-east-1".to_owned(),
            shared_answers: None,
            settings: GatewaySettings::default(),
        };
        let gateway = Gateway::new(parts).unwrap();
        let served = gateway.clone();
        let router = Router::new().fallback(move |request: Request<Body>| {
            let gateway = served.clone();
            async move { super::super::serve(&gateway, request).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            gateway,
            key,
            address,
            directory,
        }
    }

    /// A key of another account.
    pub(super) async fn stranger(&self) -> AccessKey {
        new_key(&self.gateway.control, &"210987654321".parse().unwrap()).await
    }

    pub(super) fn credentials(&self) -> String {
        login(&self.key)
    }

    /// `docker://HOST/REPOSITORY` as skopeo and buildah write it.
    pub(super) fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub(super) fn login(key: &AccessKey) -> String {
    format!("{}:{}", key.id, key.secret.as_str())
}

/// Runs a client on a thread that may block, and gives its output, whatever it is.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap()
}

/// The same for a client that must succeed; gives what it printed.
pub(super) async fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// An image layout with one image of two layers, tagged `latest`.
pub(super) fn sample_layout() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let blobs = directory.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let store = |media_type: &str, bytes: &[u8]| {
        let blob = Blob::of(bytes);
        fs::write(blobs.join(blob.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": blob.to_string(), "size": bytes.len() })
    };
    // Several frames and chunks, of bytes that do not shrink much.
    let noise: Vec<u8> = (0_u32..3_000_000)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let layers = [tar_of("app", b"program"), tar_of("data", &noise)];
    let digests: Vec<String> = layers.iter().map(|layer| Blob::of(layer).to_string()).collect();
    let config = json!({
        "os": "linux",
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "config": { "Entrypoint": ["/app"] },
        "rootfs": { "type": "layers", "diff_ids": digests },
    });
    let config = store(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let layers: Vec<_> = layers.iter().map(|layer| store(LAYER, layer)).collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let mut manifest = store(media_type, manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    directory
}

fn tar_of(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}

async fn new_key(control: &Control, account: &Account) -> AccessKey {
    control.create_account(Some(account)).await.unwrap();
    control.create_access_key(account).await.unwrap()
}

async fn open_control(directory: &Path, address: SocketAddr) -> Control {
    let location = StoreLocation::Directory(directory.join("store"));
    let packages = Packages::new(PackagesParts {
        store: Store::open(&location, Settings::default(), &AwsOptions::default()).unwrap(),
        keys: KeyProvider::Local(Keyring::open_or_create(directory.join("keyring.json")).unwrap()),
        runtime: tokio::runtime::Handle::current(),
        directory: directory.join("packages"),
        scratch_directory: directory.join("scratch"),
        region: "us-east-1".to_owned(),
        registry_hosts: vec![address.to_string()],
        docker_config: None,
        plain_http: Vec::new(),
        s3: None,
    });
    let parts = ControlParts {
        database: format!("sqlite://{}", directory.join("record.db").display()),
        region: "us-east-1".to_owned(),
        packages,
        network: api::Network::Off,
        clock: || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64,
    };
    Control::open(parts).await.unwrap()
}
