//! Commands that ask the endpoint about functions: `invoke`, `logs`, `ls`, `rm`.

use crate::arguments::{FunctionArgument, GlobalArguments, InvokeArguments, LogsArguments};
use crate::environment;
use crate::lambda_client::{Call, LambdaClient, escape, function_path};
use crate::output;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks for new lines.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

/// How far back a following look reaches again: lines are written in batches, and not in the order of their times.
const FOLLOW_OVERLAP_MS: u64 = 5_000;

/// Invokes; the function's error is printed as its answer is, and is a failure.
pub(crate) fn invoke(global: &GlobalArguments, arguments: &InvokeArguments) -> Result<ExitCode> {
    let client = LambdaClient::open(&environment::places(global)?)?;
    let query = arguments.qualifier.as_ref();
    let query = query.map_or_else(String::new, |qualifier| format!("?Qualifier={}", escape(qualifier)));
    let call = Call {
        method: "POST",
        path: function_path(&arguments.name, &format!("/invocations{query}")),
        headers: vec![("x-amz-log-type", if arguments.log { "Tail" } else { "None" })],
        body: payload(&arguments.payload)?,
        service: "lambda",
    };
    let response = environment::start_runtime()?.block_on(client.send(call))?;
    if response.status >= 300 {
        bail!("cannot invoke {}: {}", arguments.name, response.error());
    }
    if let Some(log) = response.header("x-amz-log-result") {
        let log = BASE64_STANDARD.decode(log).context("the log is not base64")?;
        std::io::stderr().write_all(&log)?;
    }
    std::io::stdout().write_all(&response.body)?;
    println!();
    Ok(match response.header("x-amz-function-error") {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

fn payload(text: &str) -> Result<Bytes> {
    if text == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes.into());
    }
    match text.strip_prefix('@') {
        Some(path) => Ok(std::fs::read(path)
            .with_context(|| format!("cannot read {path}"))?
            .into()),
        None => Ok(text.to_owned().into()),
    }
}

pub(crate) fn logs(global: &GlobalArguments, arguments: &LogsArguments) -> Result<()> {
    let client = LambdaClient::open(&environment::places(global)?)?;
    environment::start_runtime()?.block_on(follow(&client, arguments))
}

async fn follow(client: &LambdaClient, arguments: &LogsArguments) -> Result<()> {
    let configuration = client
        .lambda("GET", function_path(&arguments.name, "/configuration"), None)
        .await
        .with_context(|| format!("cannot read the log of {}", arguments.name))?;
    let group = configuration["LoggingConfig"]["LogGroup"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let mut since = now_ms().saturating_sub(arguments.since.saturating_mul(60_000));
    // Ids of lines that the next look will find again.
    let mut seen: Vec<(u64, String)> = Vec::new();
    loop {
        for event in events(client, &group, since).await? {
            let (time, id) = (event["timestamp"].as_u64().unwrap_or(0), event["eventId"].to_string());
            if seen.iter().any(|(_, known)| *known == id) {
                continue;
            }
            println!("{}", event["message"].as_str().unwrap_or_default().trim_end());
            seen.push((time, id));
        }
        if !arguments.follow {
            return Ok(());
        }
        since = since.max(now_ms().saturating_sub(FOLLOW_OVERLAP_MS));
        seen.retain(|(time, _)| *time >= since);
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// All lines of a group since a time; a group that is not there has none yet.
async fn events(client: &LambdaClient, group: &str, since: u64) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut input = json!({"logGroupName": group, "startTime": since});
    loop {
        let mut answer = match client.logs("FilterLogEvents", &input).await {
            Err(error) if error.to_string().contains("ResourceNotFoundException") => return Ok(found),
            answer => answer?,
        };
        if let Some(Value::Array(events)) = answer.get_mut("events").map(Value::take) {
            found.extend(events);
        }
        match answer["nextToken"].take() {
            token @ Value::String(_) => input["nextToken"] = token,
            _ => return Ok(found),
        }
    }
}

pub(crate) fn list(global: &GlobalArguments) -> Result<()> {
    let client = LambdaClient::open(&environment::places(global)?)?;
    let functions = environment::start_runtime()?.block_on(all(&client))?;
    if global.json {
        return output::print_json(&functions);
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = functions.iter().map(|function| {
        [
            text(&function["FunctionName"]),
            function["Runtime"].as_str().unwrap_or("image").to_owned(),
            format!("{} MB", function["MemorySize"]),
            format!("{} s", function["Timeout"]),
            text(&function["LastModified"]),
        ]
    });
    println!(
        "{}",
        output::table(["function", "runtime", "memory", "timeout", "modified"], rows)
    );
    Ok(())
}

async fn all(client: &LambdaClient) -> Result<Vec<Value>> {
    let mut functions = Vec::new();
    let mut marker = String::new();
    loop {
        let mut page = client
            .lambda("GET", format!("/2015-03-31/functions{marker}"), None)
            .await?;
        if let Some(Value::Array(found)) = page.get_mut("Functions").map(Value::take) {
            functions.extend(found);
        }
        match page["NextMarker"].as_str() {
            Some(next) => marker = format!("?Marker={}", escape(next)),
            None => return Ok(functions),
        }
    }
}

pub(crate) fn remove(global: &GlobalArguments, arguments: &FunctionArgument) -> Result<()> {
    let client = LambdaClient::open(&environment::places(global)?)?;
    let asked = client.lambda("DELETE", function_path(&arguments.name, ""), None);
    environment::start_runtime()?
        .block_on(asked)
        .with_context(|| format!("cannot remove {}", arguments.name))?;
    if global.json {
        return output::print_json(&json!({ "removed": arguments.name }));
    }
    println!("{} is removed", arguments.name);
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
