//! S3 over HTTP on this machine: s3s-fs behind a real socket, with signatures checked. Tests of other crates include
//! this file.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::S3;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server with one bucket, `bucket`, for the key `key` with the secret `secret`. It honours `If-None-Match: *`, but looks
/// and writes in two steps: of two that create one key at the same moment both may win.
pub(super) struct S3Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl S3Server {
    /// `connections_dropped` are closed without an answer before the first is served; `service` may come between s3s and
    /// the files.
    pub(super) async fn start<S: S3>(connections_dropped: usize, service: impl FnOnce(FileSystem) -> S) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut builder = S3ServiceBuilder::new(service(FileSystem::new(folder.path()).unwrap()));
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

    /// A store's location; `prefix` is empty or begins with a slash.
    pub(super) fn url(&self, prefix: &str) -> String {
        format!("s3://bucket{prefix}?endpoint=http://{}&allow_http=true", self.address)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
