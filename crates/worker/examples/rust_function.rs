//! A function on the official Rust runtime that echoes, fails or streams, as its event says. Tests run it.

use lambda_runtime::streaming::{Body, channel};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, StreamResponse, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(answer)).await
}

/// `{"fail": MESSAGE}` fails, `{"stream": COUNT}` streams that many lines, all else comes back with the request's id.
async fn answer(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    let (payload, context) = event.into_parts();
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
