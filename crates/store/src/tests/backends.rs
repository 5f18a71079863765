//! The stores that the tests run on.

use super::moto::Moto;
use super::s3_server::S3Server;
use crate::backend::Backend;
use crate::{AwsOptions, Settings, Store};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::any::Any;
use std::sync::Arc;

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
    let server = S3Server::start(0, |files| files).await;
    let backend = open(&server.url("/pre/fix"));
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
