//! Connections of one environment.

use super::kept::{Keeper, Resumed};
use super::route;
use super::shared::Shared;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections at once. A runtime uses one or two, each extension two; beyond this they wait in the listener's backlog.
pub(super) const CONNECTIONS_MAX: usize = 128;

/// Bytes of a request's head, and of one piece of a body. awslambdaric sends a stack trace in a header
/// (`Lambda-Runtime-Function-XRay-Error-Cause`) of up to 1 MiB; 64 KiB are for all the others.
const BUFFER_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Pause after a failed accept: the process may be out of descriptors, and trying at once would burn a processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts connections until it is dropped; they end with it.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let connections_max = shared.connections_max();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < connections_max => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_new(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_new(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are small and each is waited for; without this the kernel may hold them back.
    let _ = stream.set_nodelay(true);
    match shared.keeper.clone() {
        None => serve(stream, shared).await,
        // What cannot be watched cannot be written, and is not served.
        Some(keeper) => {
            if let Ok(stream) = Keeper::watch(&keeper, stream) {
                serve(stream, shared).await;
            }
        }
    }
}

/// Serves a connection on which something has come before.
pub(super) async fn resume(stream: TcpStream, come: Vec<u8>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    serve(Resumed::new(stream, come), shared).await;
}

/// Serves one connection. There is no time limit on purpose: a runtime is silent while it works, and a frozen one for
/// as long as nobody needs it. When the other end hangs up, hyper drops the call that waits, and its poll with it.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(route::answer(&shared, request).await) }
    });
    // A broken connection is the environment's own affair; what it meant for its calls, their guards have said.
    let _ = http1::Builder::new()
        .title_case_headers(true)
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
