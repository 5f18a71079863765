//! The listener, its connections, and which part of the gateway answers a request.
//!
//! HTTP/1.1. Requests go, in this order, to: health and metrics, the registry (`/v2`), links to code, function URLs, the
//! JSON services (`X-Amz-Target`), STS (a form posted to `/`), and the Lambda API.

use crate::answer::{self, Response};
use crate::body::BodyError;
use crate::sigv4::{Authorization, SignatureFailure};
use crate::{
    Gateway, GatewayError, asynchronous, autoscaling, destinations, event_sources, function_urls, json_services,
    lambda, provisioned, registry, snapshots, sts,
};
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

/// Open connections; further ones wait to be accepted. Each costs tens of KiB and a file descriptor.
const CONNECTIONS_MAX: usize = 8192;
/// How long a client may take for a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// Largest head of a request: hyper's buffer, bytes. A client context has 3.5 KiB, a presigned query about 1 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Largest form posted to STS, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// How often measurements are sorted into their histograms' buckets.
const METRICS_EVERY: Duration = Duration::from_secs(5);
/// Wait after the system refused a connection (no file descriptors): trying at once again would only burn a processor.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What is known of every request before it is looked at.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// A UUID as text.
    pub(crate) request_id: String,
    /// Who connected.
    pub(crate) peer: SocketAddr,
}

impl RequestContext {
    /// The id of the key that a request was signed with, for a function's eyes.
    pub(crate) fn access_key_of(&self, parts: &Parts) -> Option<String> {
        let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
        Some(Authorization::parse(header).ok()?.key_id.to_owned())
    }
}

impl Gateway {
    /// Serves until `shutdown` is ready, then drains: no new connections, requests under way are answered, invocations
    /// that nobody waits for come to their end; all within the setting `drain`.
    ///
    /// One call for each gateway: it also runs asynchronous events and writes cold starts to the record.
    ///
    /// # Errors
    /// None so far: a failing listener is tried again.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), GatewayError> {
        let stop = CancellationToken::new();
        let background = [
            tokio::spawn(write_starts(self.clone())),
            tokio::spawn(settle_metrics(self.clone())),
            tokio::spawn(start_ahead(self.clone(), stop.clone())),
            tokio::spawn(scale(self.clone(), stop.clone())),
            tokio::spawn(take_snapshots(self.clone(), stop.clone())),
        ];
        let dispatcher = tokio::spawn(dispatch_all(self.clone(), stop.clone()));
        let graceful = GracefulShutdown::new();
        tokio::select! {
            () = accept(self, &listener, &graceful) => {}
            () = shutdown => {}
        }
        drop(listener);
        stop.cancel();
        self.drain(graceful, dispatcher).await;
        for task in background {
            task.abort();
        }
        self.starts.write_rest().await;
        Ok(())
    }

    async fn drain(&self, graceful: GracefulShutdown, dispatcher: tokio::task::JoinHandle<()>) {
        let all = async {
            graceful.shutdown().await;
            // It stops at its next step; what it has claimed runs in the tasks.
            let _ = dispatcher.await;
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(self.settings.drain, all).await.is_err() {
            warn!(
                "requests or asynchronous events were still under way after {:?}",
                self.settings.drain
            );
        }
    }
}

async fn write_starts(gateway: Gateway) {
    gateway.starts.write_all(&gateway.metrics).await;
}

/// Asynchronous events, what is told of them, and what comes from queues.
async fn dispatch_all(gateway: Gateway, stop: CancellationToken) {
    tokio::join!(
        asynchronous::dispatch(&gateway, &stop),
        destinations::dispatch(&gateway, &stop),
        event_sources::supervise(&gateway, &stop),
    );
}

async fn start_ahead(gateway: Gateway, stop: CancellationToken) {
    provisioned::reconcile(&gateway, &stop).await;
}

async fn scale(gateway: Gateway, stop: CancellationToken) {
    autoscaling::keep(&gateway, &stop).await;
}

async fn take_snapshots(gateway: Gateway, stop: CancellationToken) {
    snapshots::take(&gateway, &stop).await;
}

async fn settle_metrics(gateway: Gateway) {
    let mut ticks = tokio::time::interval(METRICS_EVERY);
    loop {
        ticks.tick().await;
        gateway.metrics.settle();
        let bytes = gateway.responses.sweep(std::time::Instant::now());
        gateway.metrics.response_cache_bytes(bytes);
    }
}

async fn accept(gateway: &Gateway, listener: &TcpListener, graceful: &GracefulShutdown) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and complete when they are written: nothing is gained by holding them back.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!("cannot set TCP_NODELAY for {peer}: {error}");
                }
                tokio::spawn(connection(gateway.clone(), stream, peer, graceful.watcher(), permit));
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_WAIT).await;
            }
        }
    }
}

async fn connection(
    gateway: Gateway,
    stream: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(handle(&gateway, peer, request.map(Body::new)).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        debug!("the connection of {peer} broke: {error}");
    }
    drop(permit);
}

/// Answers one request.
pub(crate) async fn handle(gateway: &Gateway, peer: SocketAddr, request: Request<Body>) -> Response {
    let context = RequestContext {
        request_id: Uuid::new_v4().to_string(),
        peer,
    };
    let (operation, mut response) = route(gateway, &context, request).await;
    gateway.metrics.request(operation, response.status().as_u16());
    if let Ok(id) = HeaderValue::try_from(context.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn route(gateway: &Gateway, context: &RequestContext, request: Request<Body>) -> (&'static str, Response) {
    let path = request.uri().path();
    if path == "/v2" || path.starts_with("/v2/") {
        return ("registry", Box::pin(registry::serve(gateway, request)).await);
    }
    let (parts, body) = request.into_parts();
    if let Some(address) = function_urls::find(&parts) {
        let response = function_urls::serve(gateway, context, &address, &parts, body);
        return ("function-url", Box::pin(response).await);
    }
    let path = parts.uri.path();
    if let Some(path) = path.strip_prefix("/_lambent/") {
        return Box::pin(own(gateway, &parts.method, path)).await;
    }
    if path == "/metrics" && parts.method == Method::GET {
        let mut text = gateway.metrics.render(gateway.worker.report());
        // These name functions, which is for the operator's eyes.
        if context.peer.ip().is_loopback() {
            text.push_str(&provisioned::metrics_text(&gateway.worker.provisioned(None)));
        }
        return (
            "metrics",
            answer::text(StatusCode::OK, "text/plain; version=0.0.4", text),
        );
    }
    if parts.headers.contains_key("x-amz-target") {
        return Box::pin(json_services::serve(gateway, context, &parts, body)).await;
    }
    if path == "/" && parts.method == Method::POST {
        return (
            "GetCallerIdentity",
            Box::pin(form(gateway, context, &parts, body)).await,
        );
    }
    lambda::serve(gateway, context, &parts, body).await
}

/// What is Lambent's own and no service of AWS: `/_lambent/health`, `/_lambent/code/TOKEN`.
async fn own(gateway: &Gateway, method: &Method, path: &str) -> (&'static str, Response) {
    let not_found = || answer::text(StatusCode::NOT_FOUND, "text/plain", "not found\n");
    match path.strip_prefix("code/") {
        _ if method != Method::GET => ("unknown", not_found()),
        Some(token) => {
            let found = gateway.control.code_by_token(token).await;
            let response = found.map(|zip| answer::text(StatusCode::OK, "application/zip", zip));
            ("code", response.unwrap_or_else(|error| refuse_code(&error)))
        }
        None if path == "health" => ("health", answer::text(StatusCode::OK, "text/plain", "ok\n")),
        None => ("unknown", not_found()),
    }
}

fn refuse_code(error: &control::ControlError) -> Response {
    match error {
        control::ControlError::NotFound { what } => {
            answer::text(StatusCode::FORBIDDEN, "text/plain", format!("{what}\n"))
        }
        error => {
            warn!("a function's code cannot be given out: {error}");
            answer::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                "the server's log says why this failed\n",
            )
        }
    }
}

/// A form posted to `/`: STS.
async fn form(gateway: &Gateway, context: &RequestContext, parts: &Parts, body: Body) -> Response {
    let refuse = |failure: SignatureFailure| sts::refusal(&failure, &context.request_id);
    let claim = match gateway.identify(parts, "sts") {
        Ok(claim) => claim,
        Err(failure) => return refuse(failure),
    };
    let body = match gateway.bodies.read(&parts.headers, body, FORM_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => {
            let status = if matches!(error, BodyError::TooLarge { .. }) {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            return sts::error(status, "MalformedInput", &error.to_string(), &context.request_id);
        }
    };
    match claim.verify(parts, &body.bytes, &gateway.signing_keys) {
        Ok(caller) => sts::answer(&caller, &body.bytes, &context.request_id),
        Err(failure) => refuse(failure),
    }
}
