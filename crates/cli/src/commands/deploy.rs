//! `lambent deploy`: from a directory to a running function.

use crate::arguments::{DeployArguments, GlobalArguments};
use crate::commands::runtimes;
use crate::deploy::{Language, Project, stage, zip_directory};
use crate::environment::{self, Places};
use crate::lambda_client::{LambdaClient, function_path};
use crate::output;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks at a function that is being made.
const STATE_PAUSE: Duration = Duration::from_millis(100);

/// A function of a zip is made within seconds; a base image that has to come from a registry takes longer.
const STATE_TIMEOUT: Duration = Duration::from_secs(600);

/// Lambda wants a role; who may call what is decided by access keys here.
const ROLE_NAME: &str = "lambent";

pub(crate) fn run(global: &GlobalArguments, arguments: &DeployArguments) -> Result<()> {
    let start = Instant::now();
    let places = environment::places(global)?;
    let client = LambdaClient::open(&places)?;
    let directory = std::fs::canonicalize(&arguments.directory)
        .with_context(|| format!("cannot find {}", arguments.directory.display()))?;
    let project = Project::find(&directory, arguments.handler.as_deref())?;
    let name = name(arguments, &directory)?;
    let tokio = environment::start_runtime()?;
    let runtime = match &arguments.runtime {
        Some(runtime) => runtime.clone(),
        None => tokio.block_on(choose_runtime(global, &places, project.language))?,
    };
    let staging = tempfile::tempdir_in(environment::scratch_directory(&places.data)?)?;
    stage(&directory, staging.path(), project.language, &runtime)?;
    let zip = zip_directory(staging.path())?;
    let zip_bytes = zip.len();
    let settings = settings(arguments, &runtime, &project.handler)?;
    let function = tokio.block_on(put(&client, &name, settings, zip))?;
    let took = start.elapsed();
    if global.json {
        return output::print_json(&function);
    }
    println!(
        "{name} is ready: {runtime}, {}, {} of zip, in {}\n\nInvoke it with\n  lambent invoke {name} '{{}}'",
        project.handler,
        output::bytes(zip_bytes as u64),
        output::seconds(took),
    );
    Ok(())
}

fn name(arguments: &DeployArguments, directory: &Path) -> Result<String> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || !name.chars().all(is_allowed) {
        bail!("`{name}`, the directory's name, cannot be a function's: say one with --name (letters, digits, - and _)");
    }
    Ok(name)
}

/// The newest runtime of the language that the operator added.
async fn choose_runtime(global: &GlobalArguments, places: &Places, language: Language) -> Result<String> {
    let prefix = match language {
        Language::Bootstrap => return Ok("provided.al2023".to_owned()),
        Language::Python => "python",
        Language::Node => "nodejs",
    };
    let known = runtimes::names(global, places).await?;
    let newest = known
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .max_by_key(|name| version(name));
    newest.with_context(|| {
        format!(
            "no {prefix} runtime is there yet: add a base image, such as\n  lambent runtime add {}",
            if language == Language::Python {
                "python3.13 public.ecr.aws/lambda/python:3.13"
            } else {
                "nodejs22.x public.ecr.aws/lambda/nodejs:22"
            }
        )
    })
}

/// The numbers in a runtime's name, to be compared.
fn version(name: &str) -> Vec<u32> {
    let numbers = name.split(|letter: char| !letter.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn settings(arguments: &DeployArguments, runtime: &str, handler: &str) -> Result<Map<String, Value>> {
    let mut settings = Map::new();
    settings.insert("Runtime".to_owned(), runtime.into());
    settings.insert("Handler".to_owned(), handler.into());
    if let Some(memory) = arguments.memory {
        settings.insert("MemorySize".to_owned(), memory.into());
    }
    if let Some(timeout) = arguments.timeout {
        settings.insert("Timeout".to_owned(), timeout.into());
    }
    if !arguments.environment.is_empty() {
        let mut variables = Map::new();
        for pair in &arguments.environment {
            let (name, value) = pair
                .split_once('=')
                .with_context(|| format!("--env {pair} has no `=`: say --env NAME=VALUE"))?;
            variables.insert(name.to_owned(), value.into());
        }
        settings.insert("Environment".to_owned(), json!({ "Variables": variables }));
    }
    Ok(settings)
}

/// Creates the function, or brings the one that is there to this code and these settings.
async fn put(client: &LambdaClient, name: &str, settings: Map<String, Value>, zip: Bytes) -> Result<Value> {
    let zip = BASE64_STANDARD.encode(zip);
    if client.find(function_path(name, "/configuration")).await?.is_some() {
        client
            .lambda("PUT", function_path(name, "/configuration"), Some(&settings.into()))
            .await
            .with_context(|| format!("cannot change the configuration of {name}"))?;
        settled(client, name).await?;
        client
            .lambda("PUT", function_path(name, "/code"), Some(&json!({ "ZipFile": zip })))
            .await
            .with_context(|| format!("cannot change the code of {name}"))?;
    } else {
        let mut input = settings;
        input.insert("FunctionName".to_owned(), name.into());
        input.insert(
            "Role".to_owned(),
            format!("arn:aws:iam::000000000000:role/{ROLE_NAME}").into(),
        );
        input.insert("Code".to_owned(), json!({ "ZipFile": zip }));
        client
            .lambda("POST", "/2015-03-31/functions".to_owned(), Some(&input.into()))
            .await
            .with_context(|| format!("cannot create {name}"))?;
    }
    settled(client, name).await
}

/// Waits until the function is as it was asked for, or says why it will not be.
async fn settled(client: &LambdaClient, name: &str) -> Result<Value> {
    let deadline = Instant::now() + STATE_TIMEOUT;
    loop {
        let found = client
            .lambda("GET", function_path(name, "/configuration"), None)
            .await?;
        let state = |key: &str| found[key].as_str().unwrap_or_default();
        match (state("State"), state("LastUpdateStatus")) {
            ("Failed", _) => bail!("{name} cannot be made: {}", state("StateReason")),
            (_, "Failed") => bail!("{name} cannot be changed: {}", state("LastUpdateStatusReason")),
            ("Pending", _) | (_, "InProgress") if Instant::now() < deadline => {
                tokio::time::sleep(STATE_PAUSE).await;
            }
            ("Pending", _) | (_, "InProgress") => bail!(
                "{name} is still being made after {} s: look at the log of `lambent up`",
                STATE_TIMEOUT.as_secs()
            ),
            _ => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_runtime_is_the_one_with_the_largest_numbers() {
        let mut names = ["python3.9", "python3.13", "python3.11", "nodejs20.x", "nodejs8.10"];
        names.sort_by_key(|name| version(name));
        assert_eq!(
            names,
            ["python3.9", "python3.11", "python3.13", "nodejs8.10", "nodejs20.x"]
        );
    }
}
