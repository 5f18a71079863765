//! `lambent up`, two images pushed to its registry, and functions made of them with boto3.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use super::stage::Stage;
use crate::cache::Cache;
use crate::endpoint::Endpoint;
use crate::lambent::workspace;

/// The name of the image in the corpus, and in the endpoint's registry.
const IMAGES: [(&str, &str); 2] = [("sklearn-function", "scorer:v1"), ("onnx-function", "embedder:v1")];

/// Shows it all, and leaves nothing.
pub(super) fn show(stage: &Stage, cache: &Cache) -> Result<()> {
    stage.say("Functions: the endpoint that boto3, the aws command line and docker speak to.");
    let mut endpoint = Endpoint::start(
        &mut stage.spawned(&["up", "--listen", "127.0.0.1:0"]),
        &stage.path("lambent"),
    )?;
    println!(
        "    serving http://{} after {:.0} ms",
        endpoint.host,
        endpoint.started.as_secs_f64() * 1000.0
    );
    stage.say("Two images into its registry, by skopeo; they become chunks as they arrive.");
    for (image, name) in IMAGES {
        let to = format!("docker://{}/{name}", endpoint.host);
        let key = endpoint.credentials();
        let from = format!("oci:{image}:latest");
        let words = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            &from,
            &to,
        ];
        stage.in_corpus_hiding(&words, ("--dest-creds", &key))?;
    }
    stage.say("Functions of both, made and invoked by boto3: a model scored, sentences embedded; cold, then warm.");
    boto3(&endpoint, stage, cache, "score")?;
    stage.say("What the cold starts were made of, and what they read.");
    stage.lambent(&["function", "starts", "scorer"])?;
    stage.lambent(&["function", "starts", "embedder"])?;
    stage.say("A tenth of an alias's traffic to a new version.");
    boto3(&endpoint, stage, cache, "split")?;
    stage.say("An answer as a stream of events.");
    boto3(&endpoint, stage, cache, "stream")?;
    stage.say("The end of the log.");
    boto3(&endpoint, stage, cache, "tail")?;
    stage.say("The end, without a trace.");
    println!("  $ kill -TERM %1");
    endpoint.end()?;
    nothing_is_left(stage)
}

/// One step of the script, shown.
fn boto3(endpoint: &Endpoint, stage: &Stage, cache: &Cache, step: &str) -> Result<()> {
    let assets = workspace().join("xtask/assets");
    let mut command = Command::new(cache.venv().join("bin/python"));
    command
        .arg(assets.join("demo/functions.py"))
        .arg(&endpoint.host)
        .arg(assets.join("sklearn/app"))
        .arg(step);
    println!("  $ python functions.py {} {step}", endpoint.host);
    stage.run(endpoint.with_client_files(&mut command)).map(drop)
}

/// No mount and no control group of the endpoint's is there any more.
fn nothing_is_left(stage: &Stage) -> Result<()> {
    let folder = stage.path("lambent/functions").display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&folder)).collect();
    if !left.is_empty() {
        bail!("mounts are left: {left:?}");
    }
    println!("    no mount, no environment, no process is left");
    Ok(())
}
