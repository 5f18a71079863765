//! From paths to calls.

use super::body::Answer;
use super::refusal::Refusal;
use super::shared::Shared;
use super::telemetry::Interface;
use super::{extension_calls, function_response, invocation_calls, restore_calls};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request};
use std::sync::Arc;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Ping,
    Next,
    Response(&'a str),
    Error(&'a str),
    InitError,
    RestoreNext,
    RestoreError,
    Register,
    ExtensionNext,
    ExtensionInitError,
    ExtensionExitError,
    Subscribe(Interface),
}

/// Answers one request.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    // The path is needed beside the request, whose body the calls read.
    let path = request.uri().path().to_owned();
    let route = match find(request.method(), &path) {
        Ok(route) => route,
        Err(refusal) => return refusal.into(),
    };
    let answered = match route {
        Route::Ping => Ok(Answer::new(Full::new(Bytes::from_static(b"pong")))),
        Route::Next => invocation_calls::next(shared).await,
        Route::Response(id) => function_response::response(shared, id, request).await,
        Route::Error(id) => invocation_calls::error(shared, id, request).await,
        Route::InitError => invocation_calls::init_error(shared, request).await,
        Route::RestoreNext => restore_calls::next(shared).await,
        Route::RestoreError => restore_calls::error(shared, request).await,
        Route::Register => extension_calls::register(shared, request).await,
        Route::ExtensionNext => extension_calls::next(shared, request.headers()).await,
        Route::ExtensionInitError => extension_calls::init_error(shared, request).await,
        Route::ExtensionExitError => extension_calls::exit_error(shared, request).await,
        Route::Subscribe(interface) => extension_calls::subscribe(shared, interface, request).await,
    };
    answered.unwrap_or_else(Answer::from)
}

/// Which call it is. A slash at the end is overlooked: Lambda's own documentation writes one.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, Refusal> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (wanted, route) = match path {
        "/2018-06-01/runtime/invocation/next" => (Method::GET, Route::Next),
        "/2018-06-01/runtime/init/error" => (Method::POST, Route::InitError),
        "/2018-06-01/runtime/restore/next" => (Method::GET, Route::RestoreNext),
        "/2018-06-01/runtime/restore/error" => (Method::POST, Route::RestoreError),
        "/2018-06-01/ping" => (Method::GET, Route::Ping),
        "/2020-01-01/extension/event/next" => (Method::GET, Route::ExtensionNext),
        "/2020-01-01/extension/register" => (Method::POST, Route::Register),
        "/2020-01-01/extension/init/error" => (Method::POST, Route::ExtensionInitError),
        "/2020-01-01/extension/exit/error" => (Method::POST, Route::ExtensionExitError),
        "/2022-07-01/telemetry" => (Method::PUT, Route::Subscribe(Interface::Telemetry)),
        "/2020-08-15/logs" => (Method::PUT, Route::Subscribe(Interface::Logs)),
        _ => (Method::POST, answer_of(path).ok_or(Refusal::PathUnknown)?),
    };
    if *method == wanted {
        Ok(route)
    } else {
        Err(Refusal::MethodUnknown)
    }
}

fn answer_of(path: &str) -> Option<Route<'_>> {
    let (id, call) = path.strip_prefix("/2018-06-01/runtime/invocation/")?.split_once('/')?;
    match call {
        "response" => Some(Route::Response(id)),
        "error" => Some(Route::Error(id)),
        _ => None,
    }
}
