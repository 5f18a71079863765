//! The stores that the tests run on.

use super::moto::Moto;
use crate::backend::Backend;
use crate::{AwsOptions, Settings, Store};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A store, and the objects below it for tests that look or tamper.
pub(super) struct TestStore {
    pub(super) store: Store,
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Bytes of the longest key that the server takes, where that is fewer than S3's 1,024.
    pub(super) key_bytes_max: usize,
    _keep: Box<dyn Any + Send + Sync>,
}

pub(super) fn memory() -> TestStore {
    over(Arc::new(InMemory::new()), Settings::default())
}

pub(super) fn over(objects: Arc<dyn ObjectStore>, settings: Settings) -> TestStore {
    TestStore {
        store: Store::over(Backend::over(Arc::clone(&objects), "memory"), settings),
        objects,
        key_bytes_max: 1024,
        _keep: Box::new(()),
    }
}

pub(super) fn directory() -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path().to_str().unwrap());
    TestStore {
        objects: Arc::clone(&backend.objects),
        store: Store::over(backend, Settings::default()),
        key_bytes_max: 1024,
        _keep: Box::new(folder),
    }
}

/// S3 over HTTP on this machine, under a prefix, with signatures checked.
pub(super) async fn s3s() -> TestStore {
    let server = S3Server::start(0).await;
    let backend = open(&server.url());
    TestStore {
        objects: Arc::clone(&backend.objects),
        store: Store::over(backend, Settings::default()),
        // s3s-fs keeps a file beside each object, named by the key's encoding.
        key_bytes_max: 128,
        _keep: Box::new(server),
    }
}

/// Another S3 over HTTP, without a prefix and with keys of any length; moto checks no signature.
pub(super) fn moto() -> TestStore {
    let server = Moto::start();
    server.create_bucket("bucket");
    let backend = open(&format!("s3://bucket?endpoint={}&allow_http=true", server.url()));
    TestStore {
        objects: Arc::clone(&backend.objects),
        store: Store::over(backend, Settings::default()),
        key_bytes_max: 1024,
        _keep: Box::new(server),
    }
}

pub(super) fn open(location: &str) -> Backend {
    Backend::open(&location.parse().unwrap(), &Settings::default(), &aws_options()).unwrap()
}

pub(super) fn aws_options() -> AwsOptions {
    let pairs = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    AwsOptions::from_variables(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// s3s-fs behind a real socket, with signatures checked. It honours `If-None-Match: *`, but looks and writes in two
/// steps: of two that create one key at the same moment both may win.
pub(super) struct S3Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl S3Server {
    /// `connections_dropped` are closed without an answer before the first is served.
    pub(super) async fn start(connections_dropped: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let task = tokio::spawn(async move {
            for _ in 0..connections_dropped {
                drop(listener.accept().await.unwrap());
            }
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let connection = Builder::new(TokioExecutor::new());
                    // A client that goes away is its own business.
                    connection.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self {
            address,
            task,
            _folder: folder,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("s3://bucket/pre/fix?endpoint=http://{}&allow_http=true", self.address)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
