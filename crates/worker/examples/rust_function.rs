//! A function on the official Rust runtime that echoes, fails or streams, as its event says. Tests run it.

use lambda_runtime::streaming::{Body, channel};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, StreamResponse, service_fn};
use serde_json::{Value, json};
use std::sync::OnceLock;
use tokio::sync::Barrier;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("AWS_LAMBDA_MAX_CONCURRENCY").is_some() {
        return lambda_runtime::run_concurrent(service_fn(answer)).await;
    }
    lambda_runtime::run(service_fn(answer)).await
}

/// Where events with `{"together": COUNT}` wait for each other.
static GATE: OnceLock<Barrier> = OnceLock::new();

/// `{"together": COUNT}` waits until so many are being answered, `{"fail": MESSAGE}` fails, `{"stream": COUNT}` streams that many lines, all else comes back with the request's id.
async fn answer(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    let (payload, context) = event.into_parts();
    if let Some(count) = payload["together"].as_u64() {
        let count = usize::try_from(count)?;
        GATE.get_or_init(|| Barrier::new(count)).wait().await;
    }
    if let Some(message) = payload["fail"].as_str() {
        return Err(message.into());
    }
    let Some(lines) = payload["stream"].as_u64() else {
        let echo = json!({ "echo": payload, "id": context.request_id, "arn": context.invoked_function_arn });
        return Ok(FunctionResponse::BufferedResponse(echo));
    };
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        for line in 0..lines {
            if sender.send_data(format!("line {line}\n").into()).await.is_err() {
                break;
            }
        }
    });
    Ok(FunctionResponse::StreamingResponse(StreamResponse::from(body)))
}
